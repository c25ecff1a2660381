"""Settings that are edited while a run goes on: the next stage is refused, and nothing that was made is lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from agentprm_dagster.resources.artifacts import ArtifactsResource

from agentprm_dagster.commands.run import failures, run_iteration
from agentprm_dagster.config.catalog import load_experiment
from agentprm_dagster.iterations import add_iterations
from agentprm_dagster.reports.targets_report import targets_report
from agentprm_dagster.stages.pinned import EditedSettingsError, pin_compute, pin_settings
from toy import TOY


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with its records on the disk, as other processes see them."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        add_iterations(instance, "toy", 1)
        yield instance


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return tmp_path / "experiments" / "toy.yaml"


def test_an_edit_stops_the_next_stage_and_the_next_run_goes_on(
    toy: dg.Definitions, instance: dg.DagsterInstance, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(targets: pd.DataFrame) -> object:
        settings.write_text(TOY + "prm: {epochs: 7}\nimprovement: {beta: 0.7}\n", encoding="utf-8")
        return targets_report(targets)

    with monkeypatch.context() as patch:
        patch.setattr("agentprm_dagster.reports.targets_report.targets_report", meanwhile)
        stopped = run_iteration(toy, instance, "toy", 1)
    (told,) = (line for line in failures(stopped) if "EditedSettingsError" in line)
    assert told.startswith("prm failed: EditedSettingsError: improvement, prm of toy was edited since this run began")
    assert str(settings) in told
    store = ArtifactsResource().store()
    before = {artifact.version.partition: artifact.digest for artifact in store.artifacts("toy")}
    assert {made.asset for made in before} == {"demonstrations", "initial_policy", "rollouts", "mc_value_targets"}
    again = run_iteration(toy, instance, "toy", 1)
    assert again.success, list(failures(again))
    after = {artifact.version.partition: artifact.digest for artifact in store.artifacts("toy")}
    assert before.items() <= after.items()
    config: dict[str, Any] = store.current("toy", "prm", 1).manifest.config
    assert config["prm"]["epochs"] == 7


def test_a_file_that_says_the_same_is_no_edit(
    toy: dg.Definitions, instance: dg.DagsterInstance, settings: Path
) -> None:
    run = instance.create_run_for_job(toy.resolve_job_def("toy"))
    pin_settings(instance, run.run_id, load_experiment("toy"))
    settings.write_text(f"# a comment\n{TOY}seed: 0\n", encoding="utf-8")
    pin_settings(instance, run.run_id, load_experiment("toy"))
    settings.write_text(f"{TOY}seed: 1\n", encoding="utf-8")
    with pytest.raises(EditedSettingsError, match=r"^seed of toy was edited"):
        pin_settings(instance, run.run_id, load_experiment("toy"))


def test_a_run_that_is_executed_again_has_the_settings_of_its_own_start(
    toy: dg.Definitions, instance: dg.DagsterInstance, settings: Path
) -> None:
    job = toy.resolve_job_def("toy")
    first = instance.create_run_for_job(job)
    pin_settings(instance, first.run_id, load_experiment("toy"))
    settings.write_text(f"{TOY}seed: 1\n", encoding="utf-8")
    tags = instance.get_run_by_id(first.run_id).tags  # which Dagster copies
    again = instance.create_run_for_job(job, tags=tags)
    pin_settings(instance, again.run_id, load_experiment("toy"))


def test_experiments_of_one_run_are_pinned_apart(toy: dg.Definitions, instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(toy.resolve_job_def("toy"))
    for _ in range(2):
        for name in ("toy", "smoke"):
            pin_settings(instance, run.run_id, load_experiment(name))


def test_a_compute_that_is_edited_changes_nothing_for_a_run_that_has_begun(
    toy: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    job, file = toy.resolve_job_def("toy"), tmp_path / "mine.yaml"
    file.write_text("engine: {kind: transformers}\n", encoding="utf-8")
    run = instance.create_run_for_job(job)
    first = pin_compute(instance, run.run_id, str(file))
    assert (first.name, first.engine.kind) == ("mine", "transformers")
    file.write_text("engine: {kind: nonsense}\n", encoding="utf-8")
    assert pin_compute(instance, run.run_id, str(file)) == first
    file.unlink()
    assert pin_compute(instance, run.run_id, str(file)) == first
    tags = instance.get_run_by_id(run.run_id).tags
    file.write_text("training: {device: cpu}\n", encoding="utf-8")
    again = instance.create_run_for_job(job, tags=tags)
    assert pin_compute(instance, again.run_id, str(file)).training.device == "cpu"
