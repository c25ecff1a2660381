"""verify: whatever is not as it was committed is found, with everything that was made from it."""

import os
from ast import literal_eval
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.durable import replace_text
from agentprm_dagster.provenance.errors import LockedError
from agentprm_dagster.provenance.owner import Owner
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.provenance.verify import Verification, sweep, verify
from artifacts import commit, make_recipe

FILES = {"data.json": b'{"value": 1}', "sub/page.md": b"hello"}


@pytest.fixture
def chain(store: ArtifactStore) -> list[Artifact]:
    """demonstrations -> rollouts -> prm, and an eval_report made from nothing."""
    demos = commit(store, make_recipe("demonstrations"), FILES)
    rollouts = commit(store, make_recipe("rollouts", 1, (demos.as_input("demonstrations"),)), FILES)
    prm = commit(store, make_recipe("prm", 1, (rollouts.as_input("rollouts"),)), FILES)
    return [demos, rollouts, prm, commit(store, make_recipe("eval_report"), FILES)]


def said(found: Verification) -> list[tuple[str, str, list[str]]]:
    return [(p.place, p.kind, [version.asset for version in p.downstream]) for p in found.problems]


def test_what_is_whole_is_sound(store: ArtifactStore, chain: list[Artifact]) -> None:
    store.announce("smoke", 2, chain[1])
    found = verify(store)
    assert found == Verification(checked=4, problems=(), leftovers=(), reproducible={"bitwise": 4})
    assert found.sound


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_flipped_bit_anywhere_is_found_with_all_that_was_made_from_it(
    store: ArtifactStore, chain: list[Artifact], data: st.DataObject
) -> None:
    artifact = data.draw(st.sampled_from(chain))
    path = data.draw(st.sampled_from(sorted(path for path in artifact.path.rglob("*") if path.is_file())))
    content = path.read_bytes()
    position, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    flipped = bytearray(content)
    flipped[position] ^= 1 << bit
    path.chmod(0o644)
    path.write_bytes(flipped)
    try:
        found = verify(store)
    finally:
        path.write_bytes(content)
    downstream = [made.manifest.asset for made in sorted(chain[chain.index(artifact) + 1 : 3], key=lambda a: a.version)]
    kind = "manifest" if path.name == "manifest.json" else "changed"
    assert (artifact.version.place, kind, downstream if artifact != chain[3] else []) in said(found)
    assert {place for place, kind, _ in said(found) if kind != "pointer"} == {artifact.version.place}


def test_missing_and_extra_files(store: ArtifactStore, chain: list[Artifact]) -> None:
    (chain[1].path / "data.json").unlink()
    (chain[2].path / "more.json").write_text("{}")
    assert [(p.kind, p.detail) for p in verify(store).problems] == [("extra", "more.json"), ("missing", "data.json")]
    assert {version.asset for p in verify(store).problems if p.kind == "missing" for version in p.downstream} == {"prm"}


def test_a_version_that_is_gone_is_named_with_all_that_was_made_from_it(
    store: ArtifactStore, chain: list[Artifact]
) -> None:
    for path in sorted(chain[0].path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    chain[0].path.rmdir()
    place = chain[0].version.place
    assert said(verify(store)) == [
        (place, "input", ["prm", "rollouts"]),
        ("smoke/demonstrations/1/HEAD", "pointer", []),
    ]


def test_a_version_without_manifest_is_incomplete(store: ArtifactStore, chain: list[Artifact]) -> None:
    (chain[0].path / "manifest.json").unlink()
    assert (chain[0].version.place, "incomplete", ["prm", "rollouts"]) in said(verify(store))


def test_pointers_to_nothing(store: ArtifactStore, chain: list[Artifact]) -> None:
    root = Path(str(store.root))
    store.announce("smoke", 2, chain[1])
    (root / "smoke/prm/1/HEAD").write_text("0" * 64 + "\n")
    announced = root / "smoke/behaviour_policy/2/ANNOUNCED"
    announced.write_text(announced.read_text().replace("rollouts", "rollouta"))
    assert said(verify(store)) == [
        ("smoke/behaviour_policy/2/ANNOUNCED", "pointer", []),
        ("smoke/prm/1/HEAD", "pointer", []),
    ]


def test_pointers_that_are_gone(store: ArtifactStore, chain: list[Artifact]) -> None:
    root = Path(str(store.root))
    store.announce("smoke", 2, chain[1])
    commit(store, make_recipe("rollouts", 2, (chain[1].as_input("behaviour_policy"),)))
    assert verify(store).sound
    (root / "smoke/prm/1/HEAD").unlink()
    (root / "smoke/behaviour_policy/2/ANNOUNCED").unlink()
    assert [(p.place, p.kind, p.detail.split(",")[0].split(":")[0]) for p in verify(store).problems] == [
        ("smoke/prm/1/HEAD", "pointer", "is gone"),
        ("smoke/behaviour_policy/2/ANNOUNCED", "pointer", "is gone"),
    ]


def test_a_pointer_names_the_whole_digest(store: ArtifactStore, chain: list[Artifact]) -> None:
    head = Path(str(store.root)) / "smoke/prm/1/HEAD"
    head.write_text(head.read_text()[:16] + "0" * 48 + "\n")
    assert said(verify(store)) == [("smoke/prm/1/HEAD", "pointer", [])]


def test_looking_changes_nothing(tmp_path: Path) -> None:
    assert verify(ArtifactStore(tmp_path / "nowhere")).sound
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_the_dead_are_swept_and_the_living_left_alone(store: ArtifactStore, chain: list[Artifact]) -> None:
    dead = Owner(pid=1, host=Owner.this_process().host, boot="another", started="0")
    draft, lock = store.work / "drafts" / "abc", store.work / "locks" / "smoke.prm.2.lock"
    replace_text(draft / "owner", dead.to_json())
    (draft / "files").mkdir()
    (store.work / "drafts" / "without_owner").mkdir()
    replace_text(lock, dead.to_json())
    with store.draft(make_recipe()) as alive, store.lock("smoke", "rollouts", 1):
        found = verify(store)
        assert found.sound
        assert found.leftovers == (str(draft), str(draft.with_name("without_owner")), str(lock))
        assert [str(path) for path in sweep(store)] == [*found.leftovers]
        assert alive.path.is_dir()
        with pytest.raises(LockedError):
            store.lock("smoke", "rollouts", 1).__enter__()
    assert verify(store) == Verification(checked=4, problems=(), leftovers=(), reproducible={"bitwise": 4})
    assert sweep(store) == []


def link_to_a_copy(path: Path, outside: Path) -> None:
    """Puts a link to an equal file or folder elsewhere in the place of `path`."""
    path.rename(outside / path.name)
    path.symlink_to(outside / path.name)


def one_more_name(path: Path, outside: Path) -> None:
    os.link(path, outside / path.name)


LINKS: dict[str, tuple[Callable[[Path, Path], None], str, str, str]] = {
    "a file": (link_to_a_copy, "smoke/rollouts/1/{}/data.json", "smoke/rollouts/1/{}", "data.json"),
    "a folder in a version": (link_to_a_copy, "smoke/rollouts/1/{}/sub", "smoke/rollouts/1/{}", "sub"),
    "a manifest": (link_to_a_copy, "smoke/rollouts/1/{}/manifest.json", "smoke/rollouts/1/{}", "manifest.json"),
    "a version": (link_to_a_copy, "smoke/rollouts/1/{}", "smoke/rollouts/1/{}", "is a link"),
    "an iteration": (link_to_a_copy, "smoke/rollouts/1", "smoke/rollouts/1", "is a link"),
    "an asset": (link_to_a_copy, "smoke/rollouts", "smoke/rollouts", "is a link"),
    "an experiment": (link_to_a_copy, "smoke", "smoke", "is a link"),
    "a pointer": (link_to_a_copy, "smoke/rollouts/1/HEAD", "smoke/rollouts/1/HEAD", "is a link"),
    "a second name": (
        one_more_name,
        "smoke/rollouts/1/{}/sub/page.md",
        "smoke/rollouts/1/{}",
        "sub/page.md has another",
    ),
    "a manifest's": (one_more_name, "smoke/rollouts/1/{}/manifest.json", "smoke/rollouts/1/{}", "manifest.json has"),
}


@pytest.mark.parametrize("case", LINKS)
def test_what_can_be_changed_from_outside_is_named(
    store: ArtifactStore, chain: list[Artifact], tmp_path: Path, case: str
) -> None:
    store.reuse(make_recipe("demonstrations", experiment="adopting"))
    assert verify(store).sound, "an adopted file has two names, both in the store"
    link, path, place, detail = LINKS[case]
    outside = tmp_path / "outside"
    outside.mkdir()
    version = chain[1].digest[:16]
    link(Path(str(store.root)) / path.format(version), outside)
    links = [p for p in verify(store).problems if p.kind == "link" and not p.place.startswith("adopting")]
    assert [problem.place for problem in links] == [place.format(version)]
    assert detail in links[0].detail


def test_a_name_outside_is_found_among_those_that_adoption_gave(
    store: ArtifactStore, chain: list[Artifact], tmp_path: Path
) -> None:
    adopted = store.reuse(make_recipe("demonstrations", experiment="adopting"))
    os.link(adopted.path / "data.json", tmp_path / "outside")
    assert {(p.place, p.kind) for p in verify(store).problems} == {
        (chain[0].version.place, "link"),
        (adopted.version.place, "link"),
    }


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_changed_and_is_not_waited_for(store: ArtifactStore, kind: str) -> None:
    made = commit(store, make_recipe(), {"empty.txt": b"", "data.json": b"{}"})
    (made.path / "empty.txt").unlink()
    os.mkfifo(made.path / "empty.txt") if kind == "pipe" else (made.path / "empty.txt").mkdir()
    found = verify(store)
    assert [(p.kind, p.detail) for p in found.problems] == [("changed" if kind == "pipe" else "missing", "empty.txt")]


def by_somebody_else(work: Callable[[], object]) -> Any:
    """What `work` answers in a process without any rights but those that all users have."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        os.write(writer, repr(work()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        answered = answer.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return literal_eval(answered)


@pytest.fixture
def shown() -> Iterator[ArtifactStore]:
    """A store that everybody may read and nobody may write to."""
    with TemporaryDirectory() as folder:
        store = ArtifactStore(Path(folder) / "store")
        commit(store, make_recipe("demonstrations"))
        store.announce("smoke", 1, commit(store, make_recipe()))
        replace_text(store.work / "locks" / "smoke.prm.1.lock", "left")
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield store
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)


def plain(found: Verification) -> tuple[list[tuple[str, str]], list[str]]:
    return [(p.place, p.kind) for p in found.problems], [Path(path).name for path in found.leftovers]


def test_who_may_only_read_may_verify(shown: ArtifactStore) -> None:
    assert by_somebody_else(lambda: plain(verify(shown))) == ([], ["smoke.prm.1.lock"])


UNREADABLE = {
    "smoke/rollouts/1/{}/data.json": "smoke/rollouts/1/{}",
    "smoke/rollouts/1/{}/manifest.json": "smoke/rollouts/1/{}",
    "smoke/rollouts/1/HEAD": "smoke/rollouts/1",
    "smoke/behaviour_policy/1/ANNOUNCED": "smoke/behaviour_policy/1",
    "smoke/rollouts/1/{}": "smoke/rollouts/1/{}",
    "smoke/rollouts/1": "smoke/rollouts/1",
    "smoke/rollouts": "smoke/rollouts",
    "smoke": "smoke",
    ".work/locks/smoke.prm.1.lock": ".work/locks/smoke.prm.1.lock",
}


@pytest.mark.parametrize("path", UNREADABLE)
def test_what_cannot_be_read_is_a_problem_among_the_others(shown: ArtifactStore, path: str) -> None:
    version = shown.current("smoke", "rollouts", 1).digest[:16]
    (Path(str(shown.root)) / path.format(version)).chmod(0)
    problems, _ = by_somebody_else(lambda: plain(verify(shown)))
    assert (UNREADABLE[path].format(version), "unreadable") in problems


def test_an_empty_store_is_sound(store: ArtifactStore) -> None:
    assert verify(store) == Verification(0, (), (), {})


def test_the_report_is_plain_json(store: ArtifactStore, chain: list[Artifact]) -> None:
    (chain[0].path / "more.json").write_text("{}")
    found = verify(store).to_dict()
    assert found["problems"][0]["downstream"][0]["asset"] == "prm"
