"""A loop that was run, after a change: of its settings, its code, other experiments, Dagster's own records."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from agentprm_dagster.resources.artifacts import ArtifactsResource

from agentprm_dagster.commands.compare import print_comparison
from agentprm_dagster.commands.report import print_report
from agentprm_dagster.commands.run import failures, run_iteration
from agentprm_dagster.iterations import add_iterations
from agentprm_dagster.provenance import code
from agentprm_dagster.stages.evaluations import current_rows, evaluated
from toy import TOY


@pytest.fixture
def instance() -> dg.DagsterInstance:
    instance = dg.DagsterInstance.ephemeral()
    add_iterations(instance, "toy", 1)
    return instance


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The toy's file of settings."""
    return tmp_path / "experiments" / "toy.yaml"


def run(toy: dg.Definitions, instance: dg.DagsterInstance, *iterations: int) -> None:
    for iteration in iterations:
        result = run_iteration(toy, instance, "toy", iteration)
        assert result.success, list(failures(result))


def read_by(asset: str, iteration: int) -> dict[str, str]:
    made = ArtifactsResource().store().current("toy", asset, iteration)
    return {read.role: read.digest for read in made.manifest.inputs}


def test_a_policy_made_anew_is_gone_on_from_beyond_the_plan(
    toy: dg.Definitions, instance: dg.DagsterInstance, settings: Path
) -> None:
    settings.write_text(TOY.replace("iterations: 3", "iterations: 1"))
    run(toy, instance, 1, 2)
    settings.write_text(TOY.replace("iterations: 3", "iterations: 1") + "improvement: {beta: 0.7}\n")
    run(toy, instance, 1, 2)
    now = ArtifactsResource().store().head("toy", "improved_policy", 1).digest
    assert read_by("rollouts", 2)["behaviour_policy"] == read_by("improved_policy", 2)["behaviour_policy"] == now


def test_a_new_dagster_instance_goes_on_with_an_old_store(toy: dg.Definitions, instance: dg.DagsterInstance) -> None:
    run(toy, instance, 1)
    run(toy, dg.DagsterInstance.ephemeral(), 2)


def test_iterations_of_other_settings_are_left_out_until_they_are_made_again(
    toy: dg.Definitions, instance: dg.DagsterInstance, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(toy, instance, 1, 2)
    store = ArtifactsResource().store()
    assert evaluated(store, "toy").iterations == (1, 2)
    settings.write_text(TOY + "evaluation: {max_steps: 5}\n")
    run(toy, instance, 1)
    found = evaluated(store, "toy")
    assert found.iterations == (1,)
    assert found.left_out == (
        "left out: iteration 2, which was judged under other settings than iteration 1; `agentprm run toy` makes it "
        "again",
    )
    assert {row["max_steps"] for row in current_rows(store, "toy")} == {5}
    assert read_by("results", 0).keys() == {"eval_report_1"}
    for command in (print_report, lambda name, *, as_json: print_comparison(name, None, as_json=as_json)):
        command("toy", as_json=True)
        said = capsys.readouterr()
        assert "pi_2" not in said.out
        assert f"toy: {found.left_out[0]}" in said.err
    run(toy, instance, 2)
    assert evaluated(store, "toy").iterations == (1, 2)
    settings.write_text(TOY + "evaluation: {max_steps: 5}\nimprovement: {beta: 0.7}\n")
    run(toy, instance, 1)
    (why,) = evaluated(store, "toy").left_out
    assert "iteration 2, whose policy does not go on from the current pi_1" in why


def test_what_is_edited_while_a_stage_runs_is_not_committed(
    toy: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentprm_dagster.reports.targets_report import targets_report

    now = code._digest_now

    def meanwhile(targets: Any) -> object:
        edited = {"targets.py": "edited"}
        monkeypatch.setattr(code, "_digest_now", lambda path: edited.get(path.name) or now(path))
        return targets_report(targets)

    monkeypatch.setattr("agentprm_dagster.reports.targets_report.targets_report", meanwhile)
    result = run_iteration(toy, instance, "toy", 1)
    assert "agentprm_dagster.algorithm.targets was edited since this run began" in "".join(failures(result))
    assert not list((ArtifactsResource().store().root / "toy").glob("mc_value_targets/1/*"))


def test_others_in_the_store_are_no_obstacle(toy: dg.Definitions, instance: dg.DagsterInstance) -> None:
    run(toy, instance, 1)
    root = Path(str(ArtifactsResource().store().root))
    (root / "old runs").mkdir()
    shutil.copytree(root / "toy", root / "toy.bak")
    shutil.copytree(root / "toy", root / "copied")
    (manifest,) = (root / "copied").glob("prm/1/*/manifest.json")
    manifest.chmod(0o644)
    manifest.write_text("{}")
    run(toy, instance, 1, 2)
