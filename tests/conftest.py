"""A home of its own for every test, and a toy experiment whose stages need no model."""

import json
import random
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pytest
from agentprm_dagster.config import Experiment
from agentprm_dagster.core.dialogue import write_answer
from agentprm_dagster.core.stage import Gate, Monitor, StageReport
from agentprm_dagster.core.types import Observation, Turn
from agentprm_dagster.definitions import build_definitions
from agentprm_dagster.envs.game_file import Game
from agentprm_dagster.envs.household import Household
from agentprm_dagster.home import games_folder
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.games import GamesResource
from agentprm_dagster.resources.inference import InferenceResource
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.resources.tracker import NullTracker

TOY = """
description: A toy whose policies are numbers, how often they know the way.
iterations: 3
games: {train: 12, valid_seen: 12, valid_unseen: 12}
demonstrations: {episodes: 12, expert: walkthrough}
rollouts: {games: 12, per_game: 4, branch_states: 0, slots: 8}
gates: {min_wins: 1, min_losses: 1}
"""
SKILL = 0.3
"""How often pi_0 knows the way; every iteration halves how often it does not."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty AGENTPRM_HOME."""
    monkeypatch.setenv("AGENTPRM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "home"


@pytest.fixture
def toy(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """The definitions of the toy experiment: real games, rollouts, targets, evaluation; policies that are numbers."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "toy.yaml").write_text(TOY, encoding="utf-8")
    monkeypatch.setenv("AGENTPRM_EXPERIMENTS", str(folder))
    _replace(monkeypatch, "sft", train_initial_policy=_initial_policy)
    _replace(monkeypatch, "process_reward_model", train_prm=_prm)
    _replace(monkeypatch, "policy_improvement", improve_policy=_improve)
    bound = {
        "stages": StagesResource(artifacts=ArtifactsResource(), tracker=NullTracker(), games=GamesResource()),
        "inference": ToyInference(),
    }
    return build_definitions({"toy": Experiment(name="toy", iterations=3)}, bound)


class ToyInference(InferenceResource):
    """Agents that know every game's walkthrough and follow it as often as their skill says."""

    def policy(self, checkpoint: Path, experiment: Experiment, *, temperature: float, seed: int) -> Any:
        return ToyAgent(_skill(checkpoint), experiment.rollouts.slots, seed)

    def best_of_n(
        self, checkpoint: Path, prm: Path, experiment: Experiment, *, n: int, temperature: float, seed: int
    ) -> Any:
        return ToyAgent(1 - (1 - _skill(checkpoint)) ** n, experiment.rollouts.slots, seed)


class ToyAgent:
    """Decides at an episode's start whether it knows the way; if not, it looks around for ever."""

    def __init__(self, skill: float, slots: int, seed: int) -> None:
        self.slots = slots
        self._skill = skill
        self._random = random.Random(seed)
        self._ways = dict(map(_way, sorted(games_folder().rglob("game.tw-pddl"))))
        self._left: dict[int, list[str]] = {}

    def begin(self, slot: int, first_observation: str, turns: Sequence[Turn], observation: Observation) -> None:
        knows = self._random.random() < self._skill
        self._left[slot] = list(self._ways[first_observation]) if knows else []

    def act(self, slots: Sequence[int]) -> list[str]:
        return [write_answer("So it goes.", self._left[slot].pop(0) if self._left[slot] else "look") for slot in slots]

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        pass

    def propose(self, slots: Sequence[int], candidates: int) -> list[list[str]]:
        raise AssertionError("the toy plays no branches")


def _replace(monkeypatch: pytest.MonkeyPatch, name: str, **functions: Callable[..., StageReport]) -> None:
    """Puts functions in the place of a training module, which is not imported (torch takes seconds)."""
    full_name = f"agentprm_dagster.training.{name}"
    module = ModuleType(full_name)
    module.__spec__ = find_spec(full_name) or __import__("importlib.machinery").machinery.ModuleSpec(full_name, None)
    vars(module).update(functions)
    monkeypatch.setitem(sys.modules, full_name, module)


def _way(path: Path) -> tuple[str, tuple[str, ...]]:
    game = Game.load(path)
    return Household(game).reset().text, game.walkthrough


def _skill(folder: Path) -> float:
    return float(json.loads((folder / "policy.json").read_text(encoding="utf-8")))


def _write(out: Path, skill: float, *gates: str) -> StageReport:
    (out / "policy.json").write_text(json.dumps(skill), encoding="utf-8")
    return StageReport({"skill": skill}, tuple(Gate(name, True, "as expected") for name in gates), f"Skill {skill}.")


def _initial_policy(
    episodes: Sequence[object], experiment: Experiment, out: Path, *, seed: int, monitor: Monitor
) -> StageReport:
    return _write(out, SKILL, "finite_loss")


def _prm(
    policy: Path, episodes: object, targets: object, experiment: Experiment, out: Path, **rest: object
) -> StageReport:
    return _write(out, _skill(policy), "better_than_constant", "orders_actions")


def _improve(
    policy: Path, prm: Path, episodes: object, experiment: Experiment, out: Path, *, seed: int, monitor: Monitor
) -> StageReport:
    monitor.progress(1, 1, "steps")
    monitor.metrics({"skill": _skill(policy)}, 0)
    return _write(out, 1 - (1 - _skill(policy)) / 2, "finite_loss", "within_kl_budget")
