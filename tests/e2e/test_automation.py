"""The automation sensor and the nightly schedule carry an experiment to the end of its plan and stop there."""

from pathlib import Path

import dagster as dg

from agentprm_dagster.iterations import add_iterations

GROUP = dg.AssetSelection.groups("toy")


def test_three_iterations_by_themselves(toy: dg.Definitions) -> None:
    instance = dg.DagsterInstance.ephemeral()
    add_iterations(instance, "toy", 1)
    cursor, ticks = None, []
    for _ in range(12):
        tick = dg.evaluate_automation_conditions(toy, instance, asset_selection=GROUP, cursor=cursor)
        cursor = tick.cursor
        ticks.append(launch(toy, instance, tick))
    assert ticks[-1] == set(), "it stops by itself"
    evaluated = instance.get_materialized_partitions(dg.AssetKey(["toy", "eval_report"]))
    assert evaluated == {"1", "2", "3"}
    everything = [step for tick in ticks for step in tick if step[0] != "results"]
    assert len(everything) == len(set(everything)) == 2 + 3 * 5, "each stage of each iteration once"


def launch(
    toy: dg.Definitions, instance: dg.DagsterInstance, tick: dg.EvaluateAutomationConditionsResult
) -> set[tuple[str, str | None]]:
    """Runs what a tick asks for, one run a partition, as the daemon does; (asset, partition) pairs."""
    keys = toy.resolve_asset_graph().executable_asset_keys
    asked = {(key, partition) for key in keys for partition in tick.get_requested_partitions(key)}
    for partition in sorted({partition for _, partition in asked}, key=str):
        selection = [key for key, wanted in asked if wanted == partition]
        job = toy.resolve_job_def("toy") if partition else toy.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, partition_key=partition, asset_selection=selection)
        assert result.success
    return {(key.path[-1], partition) for key, partition in asked}


def test_a_failed_stage_waits_for_a_person(toy: dg.Definitions) -> None:
    instance = dg.DagsterInstance.ephemeral()
    add_iterations(instance, "toy", 1, 7)
    job, rollouts = toy.resolve_job_def("toy"), dg.AssetKey(["toy", "rollouts"])
    instance.report_runless_asset_event(
        dg.AssetMaterialization(dg.AssetKey(["toy", "behaviour_policy"]), partition="7")
    )
    for made in ("demonstrations", "initial_policy"):
        instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(["toy", made])))
    before = dg.evaluate_automation_conditions(toy, instance, asset_selection=GROUP)
    assert before.get_requested_partitions(rollouts) == {"7"}
    job.execute_in_process(instance=instance, partition_key="7", asset_selection=[rollouts], raise_on_error=False)
    after = dg.evaluate_automation_conditions(toy, instance, asset_selection=GROUP, cursor=before.cursor)
    assert after.get_requested_partitions(rollouts) == set()


def test_the_schedule_takes_the_first_iteration_that_is_left(toy: dg.Definitions, tmp_path: Path) -> None:
    schedule = toy.resolve_schedule_def("toy_nightly")
    asked = []
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for _ in range(4):
            context = dg.build_schedule_context(instance, repository_def=toy.get_repository_def())
            asked += [request.partition_key for request in schedule.evaluate_tick(context).run_requests or []]
            event = dg.AssetMaterialization(dg.AssetKey(["toy", "eval_report"]), partition=str(len(asked)))
            instance.report_runless_asset_event(event)
    assert asked == ["1", "2", "3"]
