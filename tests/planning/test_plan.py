"""`agentprm plan`: what it counts, what it refuses, and what it says to change."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agentprm_dagster import cli
from agentprm_dagster.config.catalog import experiment_files, load_experiment
from agentprm_dagster.planning.assumptions import ABOUT, AssumptionError, assume
from agentprm_dagster.planning.tokens import Dialogues

pytestmark = pytest.mark.usefixtures("home")

IN_PIECES = ("--compute", "gpu")


def plan(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["plan", *(str(argument) for argument in arguments)])


def planned(*arguments: object) -> dict[str, dict[str, Any]]:
    found = json.loads(plan(*arguments, "--json").output)
    return {stage["stage"]: stage for stage in found["stages"]}


@pytest.mark.parametrize("name", sorted(experiment_files()))
def test_every_experiment_can_be_planned(name: str) -> None:
    stages = planned(name)
    assert next(iter(stages)) == "demonstrations" and list(stages)[-1] == "eval_report"
    reward = load_experiment(name).improvement.reward
    assert {"prm", "inverse_prm"} & stages.keys() == ({reward} if reward else set())


@pytest.mark.parametrize("study", ["rft", "outcome_dpo", "dagger", "grpo"])
def test_without_a_reward_model_none_is_planned(study: str) -> None:
    stages = planned("quickstart", "--with", study)
    assert list(stages) == ["demonstrations", "initial_policy", "rollouts", "improved_policy", "eval_report"]
    improved, judged = stages["improved_policy"], stages["eval_report"]
    assert improved["tokens_trained"] > 0
    assert (improved["tokens_read"] > 0) == (study not in ("rft", "dagger"))
    assert judged["tokens_drawn"] * 5 == planned("quickstart")["eval_report"]["tokens_drawn"], "no Best-of-4"


def test_an_implicit_reward_is_trained_in_the_same_stage() -> None:
    stages = planned("quickstart", "--with", "implicit_dpo")
    assert list(stages) == ["demonstrations", "initial_policy", "rollouts", "improved_policy", "eval_report"]
    parts = [planned("quickstart", *more)["improved_policy"] for more in ((), ("--with", "outcome_dpo"))]
    for name in ("tokens_trained", "tokens_read"):
        assert stages["improved_policy"][name] == pytest.approx(sum(part[name] for part in parts))


def test_random_play_is_counted() -> None:
    changes: tuple[dict[str, int], ...] = ({}, {"pretraining.episodes": 0}, {"pretraining.epochs": 4})
    settings = [[part for name, value in each.items() for part in ("--set", f"{name}={value}")] for each in changes]
    usual, without, more = (planned("quickstart", *each)["initial_policy"]["tokens_trained"] for each in settings)
    epochs = load_experiment("quickstart").pretraining.epochs
    assert 0 < without < usual
    assert more - without == pytest.approx(4 / epochs * (usual - without))


def test_a_branch_trains_no_policy_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(tmp_path))
    (tmp_path / "branch.yaml").write_text("extends: quickstart\nfrom: {experiment: quickstart, iteration: 1}\n")
    assert planned("branch")["initial_policy"]["tokens_trained"] == 0
    assert planned("branch")["prm"] == planned("quickstart")["prm"]


def test_copies_are_counted() -> None:
    plain = ("quickstart", "--set", "pretraining.episodes=0")
    once = planned(*plain)["initial_policy"]["tokens_trained"]
    thrice = planned(*plain, "--set", "demonstrations.likeliest_first=3")["initial_policy"]["tokens_trained"]
    assert thrice == pytest.approx(3 * once)


def test_a_small_model_on_a_cpu_takes_no_gpu(home: Any) -> None:
    stages = planned("quickstart")
    assert {stage["on"] for stage in stages.values()} == {"CPU"}
    assert not home.exists(), "nothing is made"


def test_what_does_not_fit_is_refused_with_what_to_change() -> None:
    result = plan("paper_3b")
    assert result.exit_code == 1
    problems = re.findall(r"^(\w+) would take .* GB of a GPU, and 78 are there: set (.*)$", result.output, re.MULTILINE)
    assert [stage for stage, _ in problems] == ["initial_policy", "prm", "improved_policy"]
    assert all("micro_batch_tokens" in ways for _, ways in problems)


@pytest.mark.parametrize(
    "arguments",
    [
        (*IN_PIECES, "--with", "lora"),
        (*IN_PIECES, "--with", "append", "--with", "lora"),
        (*IN_PIECES, "--gpus", 8),
        (*IN_PIECES, "--with", "append", "--gpus", 8),
        (*IN_PIECES, "--memory", 141),
    ],
    ids=["lora", "append lora", "eight", "append eight", "h200"],
)
@pytest.mark.parametrize("experiment", ["paper_3b", "inverse_3b"])
def test_the_paper_fits(experiment: str, arguments: tuple[object, ...]) -> None:
    result = plan(experiment, *arguments)
    assert result.exit_code == 0, result.output


def test_no_setting_helps_a_gpu_that_is_far_too_small() -> None:
    assert "take a smaller model" in plan("paper_3b", "--memory", 4).output


def test_what_an_experiment_says_is_what_is_counted() -> None:
    once, twice = planned("paper_3b"), planned("paper_3b", "--set", "sft.epochs=2", "--set", "rollouts.per_game=6")
    for stage, counted in (
        ("initial_policy", "tokens_trained"),
        ("rollouts", "tokens_drawn"),
        ("prm", "tokens_trained"),
    ):
        assert twice[stage][counted] == pytest.approx(2 * once[stage][counted])
    # 3257 games, three episodes of 20 decisions, a prompt of 750 + 9.5 * 55 and an answer of 60 tokens; 15% held out.
    assert once["prm"]["tokens_trained"] == pytest.approx(3257 * 3 * 20 * (750 + 9.5 * 55 + 60) * 0.85)


def test_one_growing_conversation_is_read_once_where_restated_ones_are_read_again() -> None:
    restated, append = planned("paper_3b"), planned("paper_3b", "--set", "dialogue.format=append")
    assert restated["prm"]["tokens_trained"] > 10 * append["prm"]["tokens_trained"]


def test_a_growing_conversation_by_hand() -> None:
    talk = Dialogues.of("append", assume(["opening=100", "observation=10", "answer=5"]))
    assert [talk.state(turn) for turn in range(3)] == [100, 115, 130]
    assert (talk.rows(3), talk.episode(3), talk.longest(3)) == (1, 145, 135)
    assert talk.read(3) + 3 * talk.answer == talk.episode(3)


def test_a_restated_one_by_hand() -> None:
    talk = Dialogues.of("restated", assume(["restated=100", "remembered=10", "answer=8"]), 5)
    assert (talk.rows(3), talk.episode(3), talk.longest(3)) == (3, 105 + 115 + 125, 125)


def test_time_follows_the_assumed_rate() -> None:
    usual, twice = (planned("paper_3b", "--assume", f"training={share}")["prm"]["seconds"] for share in (0.2, 0.4))
    assert usual == pytest.approx(2 * twice)


@pytest.mark.parametrize("text", ["speed=3", "turns", "turns=many", "turns=0", "turns=nan", "turns=inf"])
def test_an_assumption_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(AssumptionError, match="--assume"):
        assume([text])


def test_all_that_is_assumed_is_printed() -> None:
    printed = plan("smoke").output
    assert [name for name in ABOUT if f"  {name} = " not in printed] == []
