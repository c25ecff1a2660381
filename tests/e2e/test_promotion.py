"""Promotion in the loop: `agentprm run` and `agentprm promote` with the toy."""

import re
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from agentprm_dagster.cli import app
from agentprm_dagster.commands.run import run_experiment
from agentprm_dagster.home import games_folder
from agentprm_dagster.provenance.lineage import with_ancestors
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.decisions import current_decision
from toy import TOY, toy_definitions

STRICT = "promotion: {min_gain: 0.99, attempts: 2}\n"


@pytest.fixture
def strict(toy: dg.Definitions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    """The toy with a gain that no policy reaches, as the command line knows it; its store."""
    write(tmp_path, "toy", STRICT)

    def definitions(experiments: dict[str, object], bound: object = None) -> dg.Definitions:
        (name,) = experiments
        return toy_definitions(name)

    for module in ("run", "promote"):
        monkeypatch.setattr(f"agentprm_dagster.commands.{module}.build_definitions", definitions)
    return ArtifactsResource().store()


def write(tmp_path: Path, name: str, settings: str) -> None:
    (tmp_path / "experiments" / f"{name}.yaml").write_text(TOY + settings, encoding="utf-8")


def promote(*arguments: str) -> str:
    answer = CliRunner().invoke(app, ["promote", "toy", "-i", "1", *arguments])
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_it_is_repeated_with_another_seed_and_then_stops(
    strict: ArtifactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    run_experiment("toy", None)
    told = capsys.readouterr().err
    assert "iteration 1 is tried again: pi_1 wins" in told
    assert "toy stops at iteration 1: pi_1 wins" in told
    decision = current_decision(strict, "toy", 1)
    assert decision is not None
    assert (decision.verdict, decision.attempt) == ("stop", 1)
    assert strict.current("toy", "rollouts", 1).manifest.seeds["attempt"] == 1
    assert not strict.has("toy", "rollouts", 2)


def test_running_again_makes_nothing_new(strict: ArtifactStore) -> None:
    run_experiment("toy", None)
    before = set(strict.heads("toy"))
    run_experiment("toy", None)
    assert set(strict.heads("toy")) == before


def test_a_person_overrules_once_and_for_all(strict: ArtifactStore) -> None:
    run_experiment("toy", None)
    told = promote("--why", "the games were broken", "--who", "ada")
    assert told == "toy, iteration 1: promote (ada: the games were broken)\n"
    (announced,) = strict.announcements("toy", 2)
    assert (announced.by, announced.why) == ("ada", "ada: the games were broken")
    assert announced.policy.version == strict.current("toy", "improved_policy", 1).version
    run_experiment("toy", 1)
    decision = current_decision(strict, "toy", 1)
    assert decision is not None
    assert decision.verdict == "promote", "an ordinary run does not undo it"


def test_a_promoted_policy_is_announced_with_its_reasons(strict: ArtifactStore, tmp_path: Path) -> None:
    write(tmp_path, "toy", "promotion: {min_gain: -0.99}\n")
    run_experiment("toy", 2)
    (announced,) = strict.announcements("toy", 2)
    assert announced.by == "promotion"
    assert announced.why is not None
    assert announced.why.startswith("pi_1 wins")
    made = strict.current("toy", "rollouts", 2).manifest
    assert "behaviour_policy" in {read.role for read in made.inputs}


def test_hours_that_are_used_up_end_it(
    strict: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "toy", "promotion: {max_hours: 0.000001}\n")
    run_experiment("toy", None)
    assert "toy stops at iteration 1: the hours are used up (promotion.max_hours)" in capsys.readouterr().err
    assert strict.announcements("toy", 2) == ()


def test_a_branch_begins_from_the_others_policy(strict: ArtifactStore, tmp_path: Path) -> None:
    write(tmp_path, "toy", "")
    run_experiment("toy", 1)
    write(tmp_path, "branch", "from: {experiment: toy, iteration: 1}\n")
    run_experiment("branch", 1)
    begun, theirs = strict.current("branch", "initial_policy", 0), strict.current("toy", "improved_policy", 1)
    assert (begun.path / "policy.json").read_bytes() == (theirs.path / "policy.json").read_bytes()
    assert [read.role for read in begun.manifest.inputs] == ["branched_from"]
    made_from = {made.version for made in with_ancestors(strict, strict.current("branch", "prm", 1).version)}
    assert theirs.version in made_from


def test_another_dialogue_is_refused(strict: ArtifactStore, tmp_path: Path) -> None:
    write(tmp_path, "toy", "")
    run_experiment("toy", 1)
    write(tmp_path, "branch", "from: {experiment: toy, iteration: 1}\ndialogue: {format: restated}\n")
    answer = CliRunner().invoke(app, ["run", "branch", "--iterations", "1"])
    assert answer.exit_code == 1
    assert "set `dialogue` to the same" in answer.output
    assert not strict.has("branch", "initial_policy", 0)


def test_a_policy_that_learnt_from_games_to_judge_in_is_refused(
    strict: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "toy", "")
    run_experiment("toy", 1)
    (root,) = {path.parents[4] for path in games_folder().glob("**/train/*/*/game.tw-pddl")}
    monkeypatch.setenv("ALFWORLD_DATA", str(root))
    real = "{source: alfworld, train: null, valid_seen: null, valid_unseen: 0, held_out_rooms: 0.3}"
    own = f"extends: toy\nfrom: {{experiment: toy, iteration: 1}}\nenvironment: {real}\nrollouts: {{games: null}}\n"
    (tmp_path / "experiments" / "judged.yaml").write_text(f"{own}evaluation: {{splits: train_held_out}}\n")
    answer = CliRunner().invoke(app, ["run", "judged", "--iterations", "1"])
    assert answer.exit_code == 1
    words = " ".join(answer.output.split())
    assert re.search(
        r"has learnt from games of train_held_out, \d of the \d games to be judged in, among them train/", words
    )
    assert not strict.has("judged", "initial_policy", 0)
    (tmp_path / "experiments" / "seen.yaml").write_text(f"{own}evaluation: {{splits: valid_seen}}\n")
    run_experiment("seen", 1)
    assert strict.has("seen", "initial_policy", 0)
