"""What is told of stages that are made, run, wait or have failed, by real runs of the toy."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from agentprm_dagster.commands.run import run_iteration
from agentprm_dagster.iterations import add_iterations
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.stages.progress import Progress, Stage, progress
from agentprm_dagster.stages.reconcile import owner_tag

STAGES = [Stage("demonstrations", 0), Stage("initial_policy", 0)]
STAGES += [Stage(asset, i) for asset in ("rollouts", "prm") for i in (1, 2)]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        add_iterations(instance, "toy", 1, 2)
        yield instance


def states(home: Path, instance: dg.DagsterInstance | None) -> dict[str, str]:
    found = progress(ArtifactStore(home / "artifacts"), instance, "toy", STAGES)
    return {f"{stage.asset}[{stage.iteration}]": each.state for stage, each in found.items()}


def test_nothing_is_begun(toy: dg.Definitions, home: Path, instance: dg.DagsterInstance) -> None:
    assert {*states(home, None).values()} == {*states(home, instance).values()} == {"waiting"}


def test_what_is_made_is_told_by_the_store_alone(toy: dg.Definitions, home: Path, instance: dg.DagsterInstance) -> None:
    assert run_iteration(toy, instance, "toy", 1).success
    made = {"demonstrations[0]", "initial_policy[0]", "rollouts[1]", "prm[1]"}
    for known in (instance, None):
        assert {stage for stage, state in states(home, known).items() if state == "made"} == made


def test_a_failed_stage_says_why_and_what_follows_waits(
    toy: dg.Definitions, home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **settings: object) -> None:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("agentprm_dagster.rollouts.coverage.coverage", fail)
        patch.setattr("agentprm_dagster.assets.rollouts.coverage", fail)
        run = run_iteration(toy, instance, "toy", 1)
    found = progress(ArtifactStore(home / "artifacts"), instance, "toy", STAGES)
    assert found[Stage("initial_policy", 0)].state == "made"
    assert found[Stage("rollouts", 1)] == Progress("failed", run.run_id, "RuntimeError: the disk is full")
    assert found[Stage("prm", 1)] == Progress("waiting")
    assert run_iteration(toy, instance, "toy", 1).success
    assert states(home, instance)["rollouts[1]"] == "made", "the newest run counts"


@pytest.mark.parametrize(
    ("status", "expected"),
    [("NOT_STARTED", "queued"), ("STARTED", "queued"), ("CANCELED", "waiting"), ("SUCCESS", "waiting")],
)
def test_a_run_that_has_not_come_to_a_stage(
    toy: dg.Definitions, home: Path, instance: dg.DagsterInstance, status: str, expected: str
) -> None:
    job = toy.resolve_job_def("toy")
    run = instance.create_run_for_job(job, tags={"dagster/partition": "1"}, status=dg.DagsterRunStatus(status))
    instance.add_run_tags(run.run_id, owner_tag(run.run_id))
    found = states(home, instance)
    assert found["rollouts[1]"] == found["initial_policy[0]"] == expected
    assert found["rollouts[2]"] == "waiting"


def test_a_stage_that_runs_says_how_far_it_is(
    toy: dg.Definitions, home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def look(episodes: object, *rest: object, **settings: object) -> None:
        seen.update(progress(ArtifactStore(home / "artifacts"), instance, "toy", STAGES))
        raise RuntimeError

    monkeypatch.setattr("agentprm_dagster.assets.rollouts.coverage", look)
    run = run_iteration(toy, instance, "toy", 1)
    running = seen[Stage("rollouts", 1)]
    assert (running.state, running.run) == ("running", run.run_id)
    assert running.words == "episodes: 48 of 48"
    assert seen[Stage("prm", 1)] == Progress("queued", run.run_id)
