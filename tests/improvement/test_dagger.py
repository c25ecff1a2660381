"""DAgger: what is learnt, that it is repeatable and goes on, and what it refuses."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from agentprm_dagster.config import Demonstrations, Dialogue, Gates, Rollouts
from agentprm_dagster.config.catalog import ExperimentError
from agentprm_dagster.config.compose import composed
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.dialogue import Format
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Resume, SilentMonitor, StageReport
from agentprm_dagster.episodes.tables import write_episodes
from agentprm_dagster.improvement import dagger
from agentprm_dagster.improvement.inputs import Inputs
from agentprm_dagster.launch.job import Job
from agentprm_dagster.training.loop import TrainingError

SETTINGS = dagger.Settings(states_per_episode=2, batch_episodes=4, learning_rate=1e-3)


def given(dialogue: Format = "append", **shows: Any) -> Any:
    """What the kind is given as settings."""
    return SimpleNamespace(
        improvement=SETTINGS,
        dialogue=Dialogue(format=dialogue),
        demonstrations=Demonstrations(expert="handcoded_corrected", max_steps=40, **shows),
        gates=Gates(),
        rollouts=Rollouts(),
    )


@pytest.fixture
def inputs(taught_folder: Path, rollouts: list[Episode], household_games: list[PlayableGame], tmp_path: Path) -> Inputs:
    (folder := tmp_path / "rollouts").mkdir()
    write_episodes(rollouts, folder)
    return Inputs(taught_folder, folder, {}, {game.id: game for game in household_games}, KIND)


def improved(inputs: Inputs, out: Path, job: Job | None = None, settings: Any = None) -> StageReport:
    out.mkdir()
    return dagger.improve(inputs, settings or given(), out, job or Job(seed=0))


def same(one: Path, other: Path) -> bool:
    weights = [list(checkpoints.load_policy(folder).parameters()) for folder in (one, other)]
    return all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize("dialogue", ["append", pytest.param("restated", marks=pytest.mark.slow)])
def test_it_runs_and_says_what_it_read(inputs: Inputs, tmp_path: Path, dialogue: Format) -> None:
    report = improved(inputs, tmp_path / "out", settings=given(dialogue))
    assert {gate.name: gate.passed for gate in report.gates} == {
        "policy_finite": True,
        "kl_budget": dialogue == "append",  # the other form is new to this policy, which goes far to learn it
        "pairs_to_learn_from": True,
    }
    (learnt,) = (gate for gate in report.gates if gate.name == "pairs_to_learn_from")
    assert "corrections" in learnt.message
    assert report.metrics["tokens"] == report.metrics["trained_tokens"] > 0
    assert not same(tmp_path / "out", inputs.policy)


def test_the_same_seed_makes_the_same_policy(inputs: Inputs, tmp_path: Path) -> None:
    reports = [improved(inputs, tmp_path / name, Job(seed=3)) for name in ("one", "two")]
    assert reports[0] == reports[1]
    assert same(tmp_path / "one", tmp_path / "two")


class Stop(SilentMonitor):
    """Fails when it is told of two steps of training."""

    def progress(self, done: int, total: int, what: str) -> None:
        if done == 2 and "step" in what:
            raise KeyboardInterrupt


def test_what_was_broken_off_goes_on(inputs: Inputs, tmp_path: Path) -> None:
    calm = improved(inputs, tmp_path / "calm")
    resume = Resume(tmp_path / "saved", seconds=0)
    with pytest.raises(KeyboardInterrupt):
        improved(inputs, tmp_path / "broken", Job(seed=0, resume=resume, monitor=Stop()))
    assert list((tmp_path / "saved").rglob("*.safetensors"))
    assert improved(inputs, tmp_path / "again", Job(seed=0, resume=resume)) == calm
    assert same(tmp_path / "calm", tmp_path / "again")


def test_demonstrations_stand_beside_corrections(inputs: Inputs) -> None:
    corrected, beside = dagger._learnt(inputs, given(), Job(seed=0))
    assert len(beside) == min(round(0.5 * len(corrected)), len({episode.game for episode in beside}))
    assert all(episode.start == 0 and "~" in episode.episode_id for episode in beside)
    assert all(episode.start > 0 for episode in corrected)


def test_where_the_expert_wins_nothing_it_says_so(inputs: Inputs, tmp_path: Path) -> None:
    settings = given()
    settings.demonstrations = Demonstrations(expert="handcoded_corrected", max_steps=1)
    with pytest.raises(TrainingError, match="in none of"):
        improved(inputs, tmp_path / "out", settings=settings)


def test_who_cannot_correct_is_refused() -> None:
    with pytest.raises(ExperimentError, match="textworld does not know where to look first"):
        composed("textworld", ["dagger"])
    with pytest.raises(ExperimentError, match="dagger asks the environment's own expert"):
        composed("smoke", ["dagger"], ["demonstrations.expert=llm"])
