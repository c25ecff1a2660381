"""A toy experiment that needs no model: real games, rollouts, targets and evaluation; policies that are numbers."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType

import dagster as dg

from agentprm_dagster.assembly import build_definitions
from agentprm_dagster.config import PlayingCompute
from agentprm_dagster.config.catalog import DEFAULT_COMPUTE, load_experiment
from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.household import Household
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Observation, Response, State, Turn
from agentprm_dagster.episodes.stage import Gate, Monitor, Resume, StageReport
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.home import games_folder
from agentprm_dagster.launch.job import Job
from agentprm_dagster.launch.play import Play
from agentprm_dagster.launch.pool import Played
from agentprm_dagster.launch.worker import play_games
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.manifest import Recipe
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.inference import THIS_MACHINE, InferenceResource
from agentprm_dagster.resources.llm import LlmResource
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.resources.tracker import TrackedRun, TrackerResource, _UntrackedRun

TOY = """
description: A toy whose policies are numbers, how often they know the way.
iterations: 3
environment: {train: 12, valid_seen: 12, valid_unseen: 12}
demonstrations: {episodes: 12, expert: walkthrough}
rollouts: {games: 12, per_game: 4, branch_states: 0, slots: 8}
gates: {min_wins: 1, min_losses: 1}
"""
SKILL = 0.3
"""How often pi_0 knows the way; every iteration halves how often it does not."""


def write_toy(folder: Path) -> None:
    """Puts the experiment's YAML into a folder, to be named in AGENTPRM_EXPERIMENTS."""
    folder.mkdir()
    (folder / "toy.yaml").write_text(TOY, encoding="utf-8")


class NullTracker(TrackerResource):
    """Keeps no account."""

    def run(self, recipe: Recipe, dagster_run_id: str, description: str = "") -> AbstractContextManager[TrackedRun]:
        """A run that is not tracked."""
        return nullcontext(_UntrackedRun())

    def champion(self, artifact: Artifact) -> None:
        """No alias to give."""

    def url(self, run_id: str | None) -> str | None:
        """Nowhere."""
        return None

    def reconcile(self, store: ArtifactStore) -> list[str]:
        """Nothing to end."""
        return []


def toy_definitions(name: str = "toy", compute: str = DEFAULT_COMPUTE) -> dg.Definitions:
    """The definitions of the toy alone, or of another experiment like it."""
    experiment = load_experiment(name)
    bound = {
        "stages": StagesResource(artifacts=ArtifactsResource(), tracker=NullTracker(), compute=compute),
        "tasks": TasksResource(),
        "inference": ToyInference(),
        "llm": LlmResource(),
    }
    return build_definitions({name: experiment}, bound)


def toy_trainers() -> dict[str, ModuleType]:
    """What stands in for the training modules, which are then not imported (torch takes seconds)."""
    return dict(
        (
            _module("training.sft", train_initial_policy=_initial_policy),
            _module("training.process_reward_model", train_prm=_prm),
            _module("improvement.online_dpo", improve_policy=_improve),
        )
    )


class ToyInference(InferenceResource):
    """Agents that know every game's walkthrough and follow it as often as their skill says."""

    def play(
        self,
        plays: Mapping[str, Play],
        monitor: Monitor,
        resume: Resume | None = None,
        *,
        embedded: bool,
        where: PlayingCompute = THIS_MACHINE,
    ) -> dict[str, Played]:
        return {name: self._play(play, monitor) for name, play in plays.items()}

    def _play(self, play: Play, monitor: Monitor) -> Played:
        tries = play.choice.best_of if play.choice else 1
        agent = ToyAgent(1 - (1 - _skill(play.policy)) ** tries, play.how.slots, play.seed)
        return Played(play_games(agent, play, monitor), agent.usage)


class ToyAgent:
    """Decides at an episode's start whether it knows the way; if not, it looks around for ever."""

    def __init__(self, skill: float, slots: int, seed: int) -> None:
        self.slots, self.usage = slots, Usage()
        self._skill = skill
        self._random = random.Random(seed)
        self._ways = dict(map(_way, sorted(games_folder().rglob("game.tw-pddl"))))
        self._left: dict[int, list[str]] = {}

    def begin(self, slot: int, state: State) -> None:
        knows = self._random.random() < self._skill
        self._left[slot] = list(self._ways[state.first_observation]) if knows else []

    def act(self, slots: Sequence[int]) -> list[Response]:
        commands = [self._left[slot].pop(0) if self._left[slot] else "look" for slot in slots]
        return [Response(write_answer("So it goes.", command)) for command in commands]

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        pass

    def propose(self, slots: Sequence[int], candidates: int, temperature: float) -> list[list[Response]]:
        raise AssertionError("the toy plays no branches")


def _module(name: str, **functions: Callable[..., StageReport]) -> tuple[str, ModuleType]:
    full_name = f"agentprm_dagster.{name}"
    module = ModuleType(full_name)
    vars(module).update(functions)
    return full_name, module


def _way(path: Path) -> tuple[str, tuple[str, ...]]:
    game = Game.load(path)
    return Household(game).reset().text, game.walkthrough


def _skill(folder: Path) -> float:
    return float(json.loads((folder / "policy.json").read_text(encoding="utf-8")))


def _write(out: Path, skill: float, *gates: str) -> StageReport:
    (out / "policy.json").write_text(json.dumps(skill), encoding="utf-8")
    return StageReport({"skill": skill}, tuple(Gate(name, True, "as expected") for name in gates), f"Skill {skill}.")


def _initial_policy(
    episodes: Sequence[object],
    random_play: object,
    base: object,
    sft: object,
    wording: object,
    out: Path,
    **rest: object,
) -> StageReport:
    return _write(out, SKILL, "finite_loss")


def _prm(
    policy: Path, episodes: object, targets: object, settings: object, wording: object, out: Path, **rest: object
) -> StageReport:
    return _write(out, _skill(policy), "better_than_constant", "orders_actions", "not_hackable")


def _improve(
    policy: Path,
    prm: Path,
    episodes: Sequence[Episode],
    games: Mapping[str, PlayableGame],
    environment: object,
    settings: object,
    out: Path,
    *,
    job: Job,
    **rest: object,
) -> StageReport:
    assert {episode.game for episode in episodes} <= set(games), "the games that the episodes come from are there"
    job.monitor.progress(1, 1, "steps")
    job.monitor.metrics({"skill": _skill(policy)}, 0)
    return _write(out, 1 - (1 - _skill(policy)) / 2, "policy_finite", "kl_budget", "pairs_to_learn_from")
