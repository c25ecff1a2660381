"""Several seeds of one experiment: what stands beside the interval of the games, on the page and in the report."""

import json
from pathlib import Path

import dagster as dg
import pytest

from agentprm_dagster.commands.compare import print_comparison
from agentprm_dagster.commands.report import print_report
from agentprm_dagster.commands.run import failures, run_iteration
from agentprm_dagster.iterations import add_iterations
from agentprm_dagster.provenance.manifest import Manifest
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.scoring.policies import training_of, way_of_policy
from agentprm_dagster.stages.evaluations import current_rows
from toy import toy_definitions

LOWER = "targets: {gamma: 0.5}\n"


@pytest.fixture
def instance() -> dg.DagsterInstance:
    instance = dg.DagsterInstance.ephemeral()
    add_iterations(instance, "toy", 1)
    return instance


def run(instance: dg.DagsterInstance, *names: str) -> None:
    for name in names:
        result = run_iteration(toy_definitions(name), instance, name, 1)
        assert result.success, list(failures(result))


def results_of(name: str) -> tuple[Manifest, str]:
    made = ArtifactsResource().store().current(name, "results", 0)
    return made.manifest, (made.path / "page.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("toy")
def test_experiments_are_compared_over_the_seeds_that_both_have(
    instance: dg.DagsterInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"toy": "", "toy_1": "seed: 1", "toy_2": "seed: 2", "low": LOWER, "low_1": f"{LOWER}seed: 1"}
    for name, text in list(names.items())[1:]:
        (tmp_path / "experiments" / f"{name}.yaml").write_text(f"extends: toy\n{text}\n")
    run(instance, *names)
    capsys.readouterr()
    print_comparison("low", "toy", as_json=True)
    lines = json.loads(capsys.readouterr().out)
    single = {(line["split"], line["policy"]): line["rate"] for line in lines if "seeds" not in line}
    several = {(line["split"], line["policy"]): line for line in lines if "seeds" in line}
    assert single.keys() == several.keys()
    print_comparison("low_1", "toy_1", as_json=True)
    others = [line for line in json.loads(capsys.readouterr().out) if "seeds" not in line]
    for line in others:
        found, one = several[line["split"], line["policy"]], single[line["split"], line["policy"]]
        assert (found["seeds"], found["beside"]) == ([0, 1], "toy")
        assert found["mean"] == pytest.approx((one + line["rate"]) / 2)
    print_comparison("low", "toy", as_json=False)
    assert "toy, seeds 0, 1" in capsys.readouterr().out


@pytest.mark.usefixtures("toy")
def test_a_policy_is_known_under_another_seed(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    for name, text in {"toy_1": "seed: 1", "low": LOWER}.items():
        (tmp_path / "experiments" / f"{name}.yaml").write_text(f"extends: toy\n{text}\n")
    run(instance, "toy", "toy_1", "low")
    assert way_of_policy("toy", 1) == way_of_policy("toy_1", 1)
    assert way_of_policy("toy", 0) == way_of_policy("low", 0), "what pi_0 is made from has no targets"
    assert way_of_policy("toy", 1) != way_of_policy("low", 1)
    assert way_of_policy("toy", 1) != way_of_policy("toy", 0)
    hours = [training_of([(name, 1)]).hours for name in ("toy", "toy_1")]
    assert training_of([("toy", 1), ("toy_1", 1)]).hours == pytest.approx(sum(hours) / 2, abs=1e-4)


@pytest.mark.usefixtures("toy")
def test_seeds_stand_beside_the_interval_of_the_games(
    instance: dg.DagsterInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "experiments"
    (folder / "second.yaml").write_text("extends: toy\nseed: 1\n")
    (folder / "third.yaml").write_text("extends: toy\nseed: 2\n")
    (folder / "again.yaml").write_text("extends: toy\nseed: 1\niterations: 9\n")
    (folder / "other.yaml").write_text("extends: toy\nseed: 3\ntargets: {gamma: 0.5}\n")
    run(instance, "toy")
    made, page = results_of("toy")
    assert {read.role for read in made.inputs} == {"eval_report_1"}
    assert "Seed 0 alone" in page
    run(instance, "second", "again", "other", "third", "toy")
    made, page = results_of("toy")
    # One of the two that have seed 1; not what was made with other settings.
    assert {read.role for read in made.inputs} == {"eval_report_1", "again_eval_report_1", "third_eval_report_1"}
    store = ArtifactsResource().store()
    won = [row["success_rate"] for name in ("toy", "again", "third") for row in current_rows(store, name)[:1]]
    assert f"| valid_seen | pi_0 | 0, 1, 2 | {sum(won) / 3:.1%} |" in page
    (store.current("third", "eval_report", 1).path / "evaluation.json").write_text("[]")
    run(instance, "toy")
    made, page = results_of("toy")
    assert {read.role for read in made.inputs} == {"eval_report_1", "again_eval_report_1"}, "damage is left out"
    capsys.readouterr()
    print_report("toy", as_json=False)
    said = capsys.readouterr().out
    assert "0, 1 " in said
    assert made.environment["processor"] in " ".join(said.split())
    print_report("other", as_json=False)
    assert "Seed 3 alone" in capsys.readouterr().out
