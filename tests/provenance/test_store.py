"""The store: found by recipe, read by digest, current by choice, never overwritten."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from agentprm_dagster.episodes.stage import Gate
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.manifest import AssetPartition
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import verify
from artifacts import commit, make_recipe


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_committed_artifact_is_found_read_and_current(store: ArtifactStore) -> None:
    recipe = make_recipe()
    assert store.find(recipe) is None
    made = commit(store, recipe, {"data.json": b"{}", "deep/er/page.md": b"hello"})
    assert made.path == Path(str(store.root)) / "smoke/rollouts/1" / made.digest[:16]
    assert (made.path / "deep/er/page.md").read_text() == "hello"
    assert store.find(recipe) == store.current("smoke", "rollouts", 1) == store.resolve(made.as_input("x")) == made
    assert list(store.artifacts()) == list(store.artifacts("smoke")) == [made]
    assert list(store.artifacts("other")) == []
    assert made.manifest.recipe == recipe
    assert made.manifest.environment["torch"]


def test_the_same_recipe_and_files_give_the_same_digest_in_another_home(tmp_path: Path) -> None:
    one, two = (commit(ArtifactStore(tmp_path / home), make_recipe()) for home in ("a", "b"))
    renamed = commit(ArtifactStore(tmp_path / "c"), make_recipe(experiment="another"))
    assert one.digest == two.digest == renamed.digest


def test_committing_the_same_again_writes_nothing(store: ArtifactStore) -> None:
    made = commit(store, make_recipe())
    before = tree(made.path)
    times = {path: path.stat().st_mtime_ns for path in made.path.rglob("*")}
    assert commit(store, make_recipe()) == made
    assert tree(made.path) == before
    assert {path: path.stat().st_mtime_ns for path in made.path.rglob("*")} == times


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), np.float32("nan"), np.float64("inf")])
def test_a_number_that_is_not_finite_costs_no_artifact(store: ArtifactStore, value: float) -> None:
    gate = Gate("finite_loss", False, f"the loss is {value}", value)
    with store.draft(make_recipe()) as draft:
        (draft.path / "data.json").write_text("{}")
        draft.commit(metrics={"loss": value, "accuracy": float(np.float32(0.5)), "steps": 3}, gates=(gate,))
    made = store.current("smoke", "rollouts", 1).manifest
    assert made.metrics == {"loss": None, "accuracy": 0.5, "steps": 3}
    assert made.gates == (replace(gate, value=None),)


def test_other_files_or_another_recipe_make_another_version(store: ArtifactStore) -> None:
    first = commit(store, make_recipe())
    other_files = commit(store, make_recipe(), {"data.json": b"[]"})
    other_seed = commit(store, make_recipe(seed=1))
    assert len({first.digest, other_files.digest, other_seed.digest}) == 3
    assert sorted(store.versions(AssetPartition("smoke", "rollouts", 1)), key=lambda a: a.digest) == sorted(
        [first, other_files, other_seed], key=lambda a: a.digest
    )


def test_current_is_what_was_chosen_last_not_what_is_newest(store: ArtifactStore) -> None:
    old, new = commit(store, make_recipe(seed=0)), commit(store, make_recipe(seed=1))
    assert store.current("smoke", "rollouts", 1) == new
    assert store.find(make_recipe(seed=0)) == old
    assert store.current("smoke", "rollouts", 1) == new
    assert store.reuse(make_recipe(seed=0)) == old
    assert store.current("smoke", "rollouts", 1) == old
    store.select(new)
    assert store.head("smoke", "rollouts", 1) == new.version


def test_of_two_results_of_one_recipe_the_current_one_is_found(store: ArtifactStore) -> None:
    one, two = commit(store, make_recipe()), commit(store, make_recipe(), {"data.json": b"[]"})
    assert store.find(make_recipe()) == two
    store.select(one)
    assert store.find(make_recipe()) == one
    commit(store, make_recipe(seed=1))
    assert store.find(make_recipe()) == min(one, two, key=lambda made: made.digest)


def test_what_another_experiment_made_from_the_same_recipe_is_not_made_again(store: ArtifactStore) -> None:
    made = commit(store, make_recipe(), {"data.json": b"{}", "deep/er/page.md": b"hello"})
    own = store.reuse(make_recipe(experiment="relative"), "run 2")
    assert own == store.current("relative", "rollouts", 1)
    assert own.digest == made.digest
    adopted = own.manifest.adopted
    assert adopted is not None
    assert (adopted.origin, adopted.dagster_run_id) == (made.version, "run 2")
    assert own.manifest == replace(made.manifest, experiment="relative", adopted=adopted)
    third = store.reuse(make_recipe(experiment="third"))
    assert third.manifest.adopted.origin == made.version, "whose it was first"
    assert (own.path / "deep/er/page.md").samefile(made.path / "deep/er/page.md")
    assert store.reuse(make_recipe(experiment="relative", seed=1)) is None
    assert verify(store).sound


def test_adopted_artifacts_name_inputs_of_their_own_experiment(store: ArtifactStore) -> None:
    read = commit(store, make_recipe("rollouts"))
    commit(store, make_recipe("prm", inputs=(read.as_input("rollouts"),)))
    own = store.reuse(make_recipe("rollouts", experiment="relative"))
    prm = store.reuse(make_recipe("prm", inputs=(own.as_input("rollouts"),), experiment="relative"))
    assert [made.experiment for made in prm.manifest.inputs] == ["relative"]
    shutil.rmtree(Path(str(store.root)) / "smoke")
    assert store.resolve(prm.manifest.inputs[0]) == own
    assert verify(store).sound


def test_what_another_experiment_has_damaged_is_made_again(store: ArtifactStore) -> None:
    page = commit(store, make_recipe()).path / "data.json"
    page.chmod(0o644)
    page.write_bytes(b"[]")
    assert store.reuse(make_recipe(experiment="relative")) is None


def test_what_else_lies_in_the_store_is_passed_over(store: ArtifactStore) -> None:
    made = commit(store, make_recipe())
    (Path(str(store.root)) / "old runs").mkdir()
    (Path(str(store.root)) / "smoke" / "prm" / "1").mkdir(parents=True)
    assert store.reuse(make_recipe(experiment="another")).digest == made.digest
    assert list(store.heads("smoke")) == [made.version]


def test_a_draft_that_fails_or_is_not_committed_leaves_nothing(store: ArtifactStore) -> None:
    with store.draft(make_recipe()) as draft:
        (draft.path / "data.json").write_text("{}")
    with pytest.raises(RuntimeError), store.draft(make_recipe()) as draft:
        (draft.path / "data.json").write_text("{}")
        raise RuntimeError
    assert list(store.artifacts()) == []
    assert [path for path in (store.work / "drafts").iterdir() if path.is_dir()] == []


def test_tables_are_counted_and_must_be_whole(store: ArtifactStore) -> None:
    with store.draft(make_recipe()) as draft:
        pd.DataFrame({"a": [1, 2, 3]}).to_parquet(draft.path / "t.parquet")
        (draft.path / "page.md").write_text("hello")
        entries = draft.commit(metrics={}).manifest.files
    assert [(entry.path, entry.rows) for entry in entries] == [("page.md", None), ("t.parquet", 3)]
    with store.draft(make_recipe(seed=1)) as draft:
        pd.DataFrame({"a": [1, 2, 3]}).to_parquet(draft.path / "t.parquet")
        os.truncate(draft.path / "t.parquet", 50)
        with pytest.raises(ArtifactError, match=r"t\.parquet.*whole parquet"):
            draft.commit(metrics={})


@pytest.mark.parametrize("name", ["model.pkl", "model.PT", "a/pytorch_model.bin", "x.pth", "manifest.json"])
def test_files_that_could_run_code_are_refused(store: ArtifactStore, name: str) -> None:
    with pytest.raises(ArtifactError, match=name):
        commit(store, make_recipe(), {name: b"x"})
    assert list(store.artifacts()) == []


@pytest.mark.parametrize("target", ["data.json", "/etc/passwd", "missing", "."])
def test_links_are_refused(store: ArtifactStore, target: str) -> None:
    with store.draft(make_recipe()) as draft, pytest.raises(ArtifactError, match="link"):
        (draft.path / "data.json").write_text("{}")
        (draft.path / "link").symlink_to(target)
        draft.commit(metrics={})


def test_an_empty_draft_is_refused(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match="wrote nothing"):
        commit(store, make_recipe(), {})


def test_a_missing_digest_is_an_error_that_says_where(store: ArtifactStore) -> None:
    made = commit(store, make_recipe())
    with pytest.raises(ArtifactError, match=r"smoke/rollouts/1/0000000000000000.*Materialize"):
        store.get("smoke", "rollouts", 1, "0" * 64)
    with pytest.raises(ArtifactError, match="expected smoke/rollouts"):
        store.get("smoke", "rollouts", 1, made.digest[:16] + "0" * 48)
    with pytest.raises(ArtifactError, match=r"smoke/prm\[1\] has no current version"):
        store.current("smoke", "prm", 1)


def test_where_other_iterations_are_there_they_are_named(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match=r"smoke/rollouts\[0\] has no current version in .*: materialize it first$"):
        store.head("smoke", "rollouts", 0)
    commit(store, make_recipe())
    with pytest.raises(ArtifactError, match=r"\[0\] has no current version in .*: its iterations are: 1\. Choose one"):
        store.head("smoke", "rollouts", 0)


def test_nothing_outside_the_store_can_be_named(store: ArtifactStore) -> None:
    for experiment in ("..", "/etc", "a/b"):
        for ask in (
            lambda name: store.get(name, "prm", 1, "0" * 64),
            lambda name: store.current(name, "prm", 1),
            lambda name: store.announced(name, 1),
            lambda name: store.lock(name, "prm", 1),
        ):
            with pytest.raises(ValidationError):
                ask(experiment)


def flip(path: Path, position: int = 0) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_a_damaged_artifact_is_neither_read_nor_reused(store: ArtifactStore) -> None:
    made = commit(store, make_recipe())
    flip(made.path / "data.json")
    with pytest.raises(ArtifactError, match=r"changed data\.json"):
        store.get("smoke", "rollouts", 1, made.digest)
    (made.path / "data.json").unlink()
    with pytest.raises(ArtifactError, match=r"missing data\.json"):
        store.find(make_recipe())


def test_a_damaged_manifest_is_not_read_and_is_in_nobodys_way(
    store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    made, other = commit(store, make_recipe()), commit(store, make_recipe(seed=1))
    flip(made.path / "manifest.json", 40)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        store.get("smoke", "rollouts", 1, made.digest)
    assert list(store.versions(make_recipe().partition)) == [other]
    assert store.reuse(make_recipe(seed=1)) == other
    assert store.find(make_recipe()) is None
    assert "manifest.json: not a manifest" in caplog.text


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 64])
def test_a_pointer_that_names_nothing_is_an_error_and_is_mended_by_reuse(store: ArtifactStore, content: bytes) -> None:
    made = commit(store, make_recipe())
    (made.path.parent / "HEAD").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"1/HEAD: expected a digest"):
        store.current("smoke", "rollouts", 1)
    assert store.reuse(make_recipe()) == made == store.current("smoke", "rollouts", 1)


def test_a_version_that_was_moved_is_not_taken_for_another(store: ArtifactStore) -> None:
    made = commit(store, make_recipe())
    made.path.rename(made.path.with_name("f" * 16))
    with pytest.raises(ArtifactError, match="wrong place"):
        list(store.artifacts())


def test_committed_files_are_read_only(store: ArtifactStore) -> None:
    made = commit(store, make_recipe())
    assert all(path.stat().st_mode & 0o222 == 0 for path in made.path.rglob("*") if path.is_file())


def test_announcements_grow_and_the_last_counts(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match=r"behaviour_policy\[2\] was not announced"):
        store.announced("smoke", 2)
    first = commit(store, make_recipe("improved_policy", 1))
    second = commit(store, make_recipe("improved_policy", 1, seed=1))
    for policy in (first, first, second):
        store.announce("smoke", 2, policy)
    assert store.announced("smoke", 2) == second.as_input("behaviour_policy")
    assert [one.policy.digest for one in store.announcements("smoke", 2)] == [first.digest, second.digest]
    assert store.resolve(store.announced("smoke", 2)) == second
    store.announce("smoke", 2, first)
    assert len(store.announcements("smoke", 2)) == 3


def test_a_changed_announcement_is_an_error(store: ArtifactStore) -> None:
    store.announce("smoke", 2, commit(store, make_recipe("improved_policy", 1)))
    path = Path(str(store.root)) / "smoke/behaviour_policy/2/ANNOUNCED"
    record = json.loads(path.read_text())
    record["announcements"][0]["policy"]["digest"] = "0" * 64
    path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    with pytest.raises(ArtifactError, match="changed after it was written"):
        store.announced("smoke", 2)
