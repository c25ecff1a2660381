"""What differs between the makers of two artifacts, found and nothing else."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.code import changed_files
from agentprm_dagster.provenance.differences import Difference, compare
from agentprm_dagster.provenance.flat import flat
from agentprm_dagster.provenance.lineage import lineage
from agentprm_dagster.provenance.manifest import Code
from agentprm_dagster.provenance.store import ArtifactStore
from artifacts import CODE, make_recipe

MACHINE = {"processor": "a", "torch": "2.0", "training.processes": "1"}


def make(
    store: ArtifactStore,
    asset: str,
    iteration: int,
    *read: Artifact,
    config: dict[str, object] | None = None,
    seed: int = 0,
    code: Code = CODE,
    machine: dict[str, str] = MACHINE,
) -> Artifact:
    inputs = tuple(each.as_input(each.manifest.asset) for each in read)
    recipe = make_recipe(asset, iteration, inputs, config=config, seed=seed)
    with store.draft(replace(recipe, code=code)) as draft:
        (draft.path / "data.json").write_bytes(b"{}")
        return draft.commit(metrics={}, used=machine)


def found(store: ArtifactStore, asset: str = "prm") -> list[Difference]:
    return list(compare(lineage(store, "smoke", asset, 1), lineage(store, "smoke", asset, 2)).found)


def test_every_kind_of_difference(store: ArtifactStore) -> None:
    demos = make(store, "demonstrations", 0)
    for i in (1, 2):
        rollouts = make(store, "rollouts", i, demos, config={"games_digest": str(i) * 64, "slots": 8})
        make(
            store,
            "prm",
            i,
            rollouts,
            config={"prm": {"epochs": i, "loss": "absolute"}},
            seed=i,
            code=replace(CODE, source=str(i) * 64),
            machine={**MACHINE, "torch": f"2.{i}", "training.processes": str(i)},
        )
    stages = {
        name: {(each.kind, each.name): (each.one, each.other) for each in found(store) if each.where == name}
        for name in ("prm[1], prm[2]", "rollouts[1], rollouts[2]")
    }
    prm = stages["prm[1], prm[2]"]
    one, other = prm.pop(("data", "rollouts"))
    assert (one or "").startswith("rollouts[1] ") and (other or "").startswith("rollouts[2] ")
    assert prm == {
        ("settings", "prm.epochs"): ("1", "2"),
        ("seeds", "stage"): ("1", "2"),
        ("code", "source"): ("1" * 16, "2" * 16),
        ("versions", "torch"): ("2.1", "2.2"),
        ("machine", "training.processes"): ("1", "2"),
    }
    assert stages["rollouts[1], rollouts[2]"] == {("data", "games"): ("1" * 16, "2" * 16)}
    assert compare(lineage(store, "smoke", "prm", 1), lineage(store, "smoke", "prm", 2)).same == ("demonstrations",)


def test_what_one_alone_was_made_from_is_named(store: ArtifactStore) -> None:
    demos = make(store, "demonstrations", 0)
    make(store, "prm", 1, demos)
    rollouts = make(store, "rollouts", 2, demos)
    make(store, "prm", 2, demos, rollouts)
    alone = [each for each in found(store) if each.kind == "stage"]
    assert [(each.name, each.one, each.other) for each in alone] == [
        ("rollouts", None, f"smoke/rollouts[2] {rollouts.digest[:16]}")
    ]


def test_nothing_differs_from_itself(store: ArtifactStore) -> None:
    make(store, "prm", 1, make(store, "rollouts", 1))
    once = lineage(store, "smoke", "prm", 1)
    assert compare(once, once).to_dict() == {"found": (), "same": ("prm[1]", "rollouts[1]")}


def test_commits_that_git_does_not_know_name_no_files() -> None:
    assert changed_files("0" * 40, "1" * 40, "agentprm_dagster.assets.prm") == []


NESTED = st.recursive(
    st.integers() | st.text(max_size=3) | st.none(),
    lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, min_size=1, max_size=3),
    max_leaves=8,
)


def leaves(values: object) -> int:
    return sum(map(leaves, values.values())) if isinstance(values, dict) else 1


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), NESTED, max_size=3))
def test_flat_settings_have_a_line_for_every_value(values: dict[str, object]) -> None:
    assert len(flat(values)) == leaves(values)
    assert all(isinstance(line, str) for line in flat(values).values())
