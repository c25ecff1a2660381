"""The sensor and the schedule carry an experiment to the end of its plan, one run an iteration, and stop there."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from agentprm_dagster.automation import ITERATION_TAG
from agentprm_dagster.commands.run import SILENT
from agentprm_dagster.iterations import add_iterations
from agentprm_dagster.provenance.manifest import AssetPartition
from agentprm_dagster.resources.artifacts import ArtifactsResource
from toy import TOY, toy_definitions

PLANNED = 3


def write(tmp_path: Path, settings: str, toy: str = TOY) -> dg.Definitions:
    """The toy with other settings."""
    (tmp_path / "experiments" / "toy.yaml").write_text(toy + settings, encoding="utf-8")
    return toy_definitions()


def ticked(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dg.RunRequest | str:
    """What the sensor of the toy asks for, or says in its place."""
    sensor = definitions.resolve_sensor_def("toy_automation")
    repository, place = definitions.get_repository_def(), instance.get_ref()
    with dg.build_sensor_context(repository_def=repository, instance_ref=place) as context:
        return answer(sensor.evaluate_tick(context))


def answer(tick: object) -> dg.RunRequest | str:
    requests = tick.run_requests  # type: ignore[attr-defined]
    assert len(requests or []) <= 1
    return requests[0] if requests else str(tick.skip_message)  # type: ignore[attr-defined]


def launched(definitions: dg.Definitions, instance: dg.DagsterInstance, request: dg.RunRequest) -> bool:
    """Runs what was asked for, as the daemon does; whether it succeeded."""
    return (
        definitions.resolve_job_def("toy")
        .execute_in_process(
            instance=instance,
            partition_key=request.partition_key,
            asset_selection=list(request.asset_selection or []),
            tags=request.tags,
            run_config=SILENT,
            raise_on_error=False,
        )
        .success
    )


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        add_iterations(instance, "toy", 1)
        yield instance


def test_the_plan_is_made_one_run_an_iteration(toy: dg.Definitions, instance: dg.DagsterInstance) -> None:
    asked = []
    while isinstance(request := ticked(toy, instance), dg.RunRequest):
        asked.append((request.partition_key, request.run_key))
        assert launched(toy, instance, request)
    assert [partition for partition, _ in asked] == ["1", "2", "3"]
    assert len({key for _, key in asked}) == PLANNED
    assert request == "all 3 iterations of toy are made"
    made = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "2"}))
    assert len(made) == 1, "all stages of an iteration in one run"


def test_what_was_announced_before_it_was_switched_on_is_launched_once(
    toy: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    for _ in range(2):
        request = ticked(toy, instance)
        assert isinstance(request, dg.RunRequest)
        assert launched(toy, instance, request)
    first, again = ticked(toy, instance), ticked(toy, instance)
    assert isinstance(first, dg.RunRequest)
    assert isinstance(again, dg.RunRequest)
    assert (first.partition_key, first.run_key) == ("3", again.run_key), "Dagster launches one run a key"


@pytest.mark.parametrize("job", ["toy", "__ASSET_JOB"])
def test_nothing_is_launched_beside_a_run_that_makes_the_same(
    toy: dg.Definitions, instance: dg.DagsterInstance, job: str
) -> None:
    """As `Materialize` does on an asset's page, whose runs belong to no job of ours."""
    made = toy.resolve_job_def("toy") if job == "toy" else toy.resolve_implicit_global_asset_job_def()
    prm = frozenset({dg.AssetKey(["toy", "prm"])})
    run = instance.create_run_for_job(made, status=dg.DagsterRunStatus.STARTED, asset_selection=prm)
    assert ticked(toy, instance) == f"run {run.run_id} of toy is under way"
    instance.report_run_canceled(run)
    assert isinstance(ticked(toy, instance), dg.RunRequest)


def test_a_run_that_failed_waits_for_a_person(
    toy: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    toy = write(tmp_path, "", TOY.replace("gates: {min_wins: 1,", "gates: {min_wins: 47,"))
    request = ticked(toy, instance)
    assert isinstance(request, dg.RunRequest)
    assert not launched(toy, instance, request)
    (run,) = instance.get_runs(dg.RunsFilter(tags={ITERATION_TAG: request.tags[ITERATION_TAG]}))
    assert f"iteration 1 of toy was launched, and its run {run.run_id} ended as FAILURE" in str(ticked(toy, instance))


def test_an_iteration_that_is_repeated_is_launched_again_and_then_stops(
    toy: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    strict = write(tmp_path, "promotion: {min_gain: 0.99, attempts: 2}\n")
    keys = []
    while isinstance(request := ticked(strict, instance), dg.RunRequest):
        keys.append((request.partition_key, request.run_key))
        assert not launched(strict, instance, request), "the check of promotion did not pass"
    assert [partition for partition, _ in keys] == ["1", "1"]
    assert keys[0] != keys[1]
    assert "toy stopped at iteration 1: pi_1 wins" in request
    store = ArtifactsResource().store()
    rollouts = store.versions(AssetPartition("toy", "rollouts", 1))
    assert {made.manifest.seeds.get("attempt", 0) for made in rollouts} == {0, 1}
    assert store.announced_iterations("toy") == [1]


def test_a_schedule_takes_the_place_of_the_sensor(
    toy: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    daily = write(tmp_path, "schedule: {cron: 30 2 * * *, timezone: Europe/Berlin, switched_on: true}\n")
    assert list(daily.get_repository_def().sensor_defs) == []
    schedule = daily.resolve_schedule_def("toy_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 2 * * *", "Europe/Berlin")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    asked = []
    for _ in range(PLANNED + 1):
        with dg.build_schedule_context(instance, repository_def=daily.get_repository_def()) as context:
            request = answer(schedule.evaluate_tick(context))
        asked.append(request if isinstance(request, str) else request.partition_key)
        assert isinstance(request, str) or launched(daily, instance, request)
    assert asked == ["1", "2", "3", "all 3 iterations of toy are made"]
