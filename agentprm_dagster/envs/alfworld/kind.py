"""ALFWorld's games as a kind of environment."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from agentprm_dagster.envs.alfworld.games import games_digest
from agentprm_dagster.envs.alfworld.household import Household
from agentprm_dagster.envs.alfworld.hypotheses import with_hypothesis
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.mistaken_places import draw_mistaken_places
from agentprm_dagster.envs.alfworld.mistakes import draw_mistakes
from agentprm_dagster.envs.alfworld.plan import after_refusal, instead, without_search
from agentprm_dagster.envs.alfworld.playable import PlayableGame, StockGame
from agentprm_dagster.envs.alfworld.progress import progress
from agentprm_dagster.envs.alfworld.published import published
from agentprm_dagster.envs.alfworld.random_play import play_at_random
from agentprm_dagster.envs.alfworld.reasons import explain
from agentprm_dagster.envs.alfworld.search_order import SearchOrder
from agentprm_dagster.envs.alfworld.settings import Settings
from agentprm_dagster.envs.alfworld.task_set import HELD_OUT, AlfworldTasks
from agentprm_dagster.envs.alfworld.tasks import SHORT_NAMES
from agentprm_dagster.envs.base import Task, TaskRef
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.episodes.records import Episode, Observation, Turn


class Alfworld:
    """See `envs.base`: `EnvironmentKind`, and all the capabilities that are named there."""

    name = "alfworld"
    task_kinds: Mapping[str, str] = SHORT_NAMES
    splits: tuple[str, ...] = ("valid_seen", "valid_unseen", HELD_OUT)
    experts: tuple[str, ...] = ("handcoded", "handcoded_corrected", "walkthrough")
    wording: Wording = WORDING
    rules: str = "alfworld 0.4"

    def task_set(self, settings: Settings, *, seed: int, folder: Path) -> AlfworldTasks:
        """The games that the settings ask for; generated ones are kept in `folder`."""
        return AlfworldTasks(settings, seed, folder)

    def open(self, ref: TaskRef) -> Task:
        """A game on the household engine."""
        return PlayableGame(ref)

    def reference(self, ref: TaskRef) -> Task:
        """A game on the stock engine."""
        return StockGame(ref)

    def digest(self, tasks: Sequence[TaskRef]) -> str:
        """sha256 over ids and what is read of the games."""
        return games_digest(tasks)

    def explain(self, first_observation: str, turns: Sequence[Turn], action: str) -> str:
        """Why a demonstrator gives `action` after `turns`."""
        return explain(first_observation, turns, action)

    def mistakes(self, first_observation: str, turns: Sequence[Turn], rng: random.Random) -> Iterator[tuple[str, str]]:
        """Mistakes for a demonstrator to recover from."""
        return draw_mistakes(first_observation, turns, rng)

    def mistaken_places(
        self, first_observation: str, turns: Sequence[Turn], rng: random.Random
    ) -> Iterator[tuple[str, str]]:
        """Mistakes about places for a demonstrator to recover from."""
        return draw_mistaken_places(first_observation, turns, rng)

    def search_order(self, won: Sequence[Episode]) -> SearchOrder:
        """The likeliest places first."""
        return SearchOrder(won)

    def plan(self, actions: Sequence[str]) -> list[str]:
        """The visits to places where something was done."""
        return without_search(actions)

    def instead(self, command: str, observation: Observation) -> list[str] | None:
        """What to do about a place that is at hand, open already, closed, or elsewhere."""
        return instead(command, observation)

    def after_refusal(self, command: str) -> list[str]:
        """Looking into a place that cannot be gone to: it may be at hand."""
        return after_refusal(command)

    def with_hypothesis(self, first_observation: str, rng: random.Random) -> str:
        """The first observation with the place to look at first."""
        return with_hypothesis(first_observation, rng)

    def random_episode(
        self, task: Task, *, episode_id: str, max_steps: int, mistakes: float, seed: int, hindsight: bool
    ) -> Episode:
        """Random play, in hindsight about an object that it happened upon."""
        return play_at_random(
            task, episode_id=episode_id, max_steps=max_steps, mistakes=mistakes, seed=seed, hindsight=hindsight
        )

    def progress(self, environment: Household) -> float:
        """The share of the goal's conditions that hold."""
        house, state = environment.game.house, environment.state()
        return progress(house.goal, state, house.places[state.place].at_hand)

    def published(self) -> str:
        """The paper's Table 1."""
        return published()


KIND = Alfworld()
