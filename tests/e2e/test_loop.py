"""The loop in Dagster over a toy whose policies are numbers: order, announcements, resuming, gates, lineage."""

from math import nan

import dagster as dg
import pytest
from agentprm_dagster.resources.artifacts import ArtifactsResource

from agentprm_dagster.commands.run import failures, run_iteration
from agentprm_dagster.episodes.stage import Gate, StageReport
from agentprm_dagster.iterations import add_iterations
from agentprm_dagster.provenance.costs import costs, current_artifacts
from agentprm_dagster.provenance.lineage import lineage
from agentprm_dagster.provenance.verify import verify
from agentprm_dagster.stages.evaluations import current_rows

STAGES = ["demonstrations", "initial_policy", "rollouts", "mc_value_targets", "prm", "improved_policy", "eval_report"]


@pytest.fixture
def instance() -> dg.DagsterInstance:
    """An instance where iteration 1 can be launched."""
    instance = dg.DagsterInstance.ephemeral()
    add_iterations(instance, "toy", 1)
    return instance


def materialized(instance: dg.DagsterInstance, asset: str) -> set[str]:
    return set(instance.get_materialized_partitions(dg.AssetKey(["toy", asset])))


def test_two_iterations_improve_and_can_be_traced(toy: dg.Definitions, instance: dg.DagsterInstance) -> None:
    for iteration in (1, 2):
        result = run_iteration(toy, instance, "toy", iteration)
        assert result.success, list(failures(result))
    store = ArtifactsResource().store()
    rows = current_rows(store, "toy")
    greedy = [row["success_rate"] for row in rows if row["split"] == "valid_seen" and row["best_of"] == 1]
    assert len(greedy) == 3
    assert greedy[0] < greedy[-1]
    assert [row["iteration"] for row in rows if row["split"] == "valid_unseen"] == [0, 0, 1, 1, 2, 2]
    assert materialized(instance, "behaviour_policy") == {"1", "2", "3"}
    made_from = {str(version.partition) for version in lineage(store, "toy", "prm", 2).versions()}
    assert {"toy/rollouts[2]", "toy/improved_policy[1]", "toy/prm[1]", "toy/initial_policy[0]"} <= made_from
    assert verify(store).sound


def test_what_is_committed_is_not_made_again(toy: dg.Definitions, instance: dg.DagsterInstance) -> None:
    first = run_iteration(toy, instance, "toy", 1)
    store = ArtifactsResource().store()
    made = {artifact.digest: artifact.manifest.started for artifact in store.artifacts("toy")}
    again = run_iteration(toy, instance, "toy", 1)
    assert first.success
    assert again.success
    assert {artifact.digest: artifact.manifest.started for artifact in store.artifacts("toy")} == made
    assert versions(first) == versions(again)


def test_another_home_gives_the_same_digests(
    toy: dg.Definitions,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    first = run_iteration(toy, instance, "toy", 1)
    monkeypatch.setenv("AGENTPRM_HOME", str(tmp_path_factory.mktemp("other")))
    other = dg.DagsterInstance.ephemeral()
    again = run_iteration(toy, other, "toy", 1)
    assert len(versions(first)) == 10
    assert versions(again) == versions(first)


def test_a_gate_that_fails_stops_what_is_downstream(
    toy: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentprm_dagster.reports.targets_report.targets_report", refuse)
    result = run_iteration(toy, instance, "toy", 1)
    assert list(failures(result)) == ["mc_value_targets did not pass its gate targets_differ: all alike"]
    assert materialized(instance, "mc_value_targets") == {"1"}
    assert not materialized(instance, "prm")
    by_hand = toy.resolve_job_def("toy").execute_in_process(
        instance=instance, partition_key="1", asset_selection=[dg.AssetKey(["toy", "prm"])], raise_on_error=False
    )
    assert "did not pass its gates, so prm must not use it: all alike" in "".join(failures(by_hand))


def refuse(targets: object) -> StageReport:
    gates = (Gate("targets_in_unit_interval", True, "fine"), Gate("targets_differ", False, "all alike"))
    return StageReport({}, gates, "Nothing to learn from.")


def test_a_number_that_is_not_finite_fails_its_gate_and_not_the_stage(
    toy: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentprm_dagster.reports.targets_report.targets_report", diverge)
    result = run_iteration(toy, instance, "toy", 1)
    assert list(failures(result)) == ["mc_value_targets did not pass its gate targets_differ: the spread is nan"]
    store = ArtifactsResource().store()
    assert store.current("toy", "mc_value_targets", 1).manifest.metrics == {"spread": None}
    (event,) = instance.fetch_materializations(dg.AssetKey(["toy", "mc_value_targets"]), limit=1).records
    assert event.asset_materialization
    assert event.asset_materialization.metadata["spread"] == dg.MetadataValue.text("not a finite number")
    assert [row.stage for row in costs(current_artifacts(store, "toy"))][-1] == "mc_value_targets[1]"


def diverge(targets: object) -> StageReport:
    gates = (Gate("targets_in_unit_interval", True, "fine"), Gate("targets_differ", False, "the spread is nan", nan))
    return StageReport({"spread": nan}, gates, "Nothing to learn from.")


def test_an_iteration_needs_its_announcement(toy: dg.Definitions, instance: dg.DagsterInstance) -> None:
    add_iterations(instance, "toy", 7)
    result = toy.resolve_job_def("toy").execute_in_process(
        instance=instance, partition_key="7", asset_selection=[dg.AssetKey(["toy", "rollouts"])], raise_on_error=False
    )
    assert "toy/behaviour_policy[7] was not announced" in "".join(failures(result))


def test_iterations_beyond_the_plan_are_announced_on_demand(toy: dg.Definitions, instance: dg.DagsterInstance) -> None:
    assert all(run_iteration(toy, instance, "toy", iteration).success for iteration in (1, 2, 3))
    assert materialized(instance, "behaviour_policy") == {"1", "2", "3"}
    assert run_iteration(toy, instance, "toy", 4).success
    assert materialized(instance, "eval_report") == {"1", "2", "3", "4"}


def versions(result: dg.ExecuteInProcessResult) -> dict[str, str | None]:
    """Data versions by asset."""
    return {
        event.asset_key.path[-1]: (event.step_materialization_data.materialization.tags or {}).get(
            "dagster/data_version"
        )
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
