"""The ledger says what the manifests say, of exactly what an artifact was made from."""

from collections.abc import Sequence
from typing import Any

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.costs import Cost, by_iteration, costs, current_artifacts, total
from agentprm_dagster.provenance.lineage import with_ancestors
from agentprm_dagster.provenance.store import ArtifactStore
from artifacts import make_recipe


def made(
    store: ArtifactStore, asset: str, inputs: Sequence[Artifact] = (), *, seed: int = 0, **metrics: Any
) -> Artifact:
    recipe = make_recipe(asset, 1, tuple(each.as_input(each.manifest.asset) for each in inputs), seed=seed)
    with store.draft(recipe) as draft:
        (draft.path / "data.json").write_bytes(b"{}")
        return draft.commit(metrics=metrics)


PLAYED: dict[str, Any] = {"tokens": 100.0, "decisions": 10.0, "environment_seconds": 0.5}


def test_an_artifact_costs_what_it_was_made_from_as_well(store: ArtifactStore) -> None:
    rollouts = made(store, "rollouts", **PLAYED)
    unread = made(store, "rollouts", seed=1, **PLAYED)
    targets = made(store, "mc_value_targets", [rollouts], decisions=10.0)
    prm = made(store, "prm", [rollouts, targets], tokens=7.0)
    rows = costs(with_ancestors(store, prm.version))
    assert [(row.stage, row.tokens, row.decisions, row.environment_seconds) for row in rows] == [
        ("rollouts[1]", 100, 10, 0.5),
        ("mc_value_targets[1]", None, None, None),
        ("prm[1]", 7, None, None),
    ]
    assert [row.seconds for row in rows] == [each.manifest.seconds for each in (rollouts, targets, prm)]
    assert unread.version not in {each.version for each in with_ancestors(store, prm.version)}


def test_the_sum_leaves_out_what_was_not_counted() -> None:
    rows = [Cost("a", 0, 1.0, 5.0, None, None), Cost("b", 0, 2.5, None, None, 0.25), Cost("c", 0, 0.5, 6.0, None, None)]
    assert total(rows) == Cost("all", 0, 4.0, 11.0, None, 0.25)


def test_seconds_stand_over_the_iterations() -> None:
    rows = [
        Cost("demonstrations", 0, 1.0, None, None, None),
        Cost("rollouts", 1, 2.0, 10.0, 5.0, 0.5),
        Cost("prm", 1, 3.0, 7.0, None, None),
        Cost("rollouts", 2, 4.0, 20.0, 6.0, 1.5),
    ]
    head, lines = by_iteration(rows)
    assert head == ("stage", "once", "iteration 1", "iteration 2", "seconds", "tokens", "decisions")
    assert lines == [
        ("demonstrations", "1.0", "", "", "1.0", "", ""),
        ("rollouts", "", "2.0", "4.0", "6.0", "30", "11"),
        ("prm", "", "3.0", "", "3.0", "7", ""),
        ("all", "1.0", "5.0", "4.0", "10.0", "37", "11"),
    ]


def test_only_current_versions_count(store: ArtifactStore) -> None:
    made(store, "rollouts", **PLAYED)
    again = made(store, "rollouts", seed=1, **PLAYED)
    assert [each.version for each in current_artifacts(store, "smoke")] == [again.version]
    assert current_artifacts(store, "another") == []
