"""TextWorld as a kind of environment (`envs.base.EnvironmentKind`)."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from agentprm_dagster.envs.base import Task, TaskRef, TaskSet
from agentprm_dagster.envs.textworld import reasons
from agentprm_dagster.envs.textworld.games import NAME, Games, games_digest
from agentprm_dagster.envs.textworld.language import WORDING
from agentprm_dagster.envs.textworld.mistakes import draw_mistake
from agentprm_dagster.envs.textworld.playable import PlayableGame
from agentprm_dagster.envs.textworld.settings import Settings
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.episodes.records import Turn


class TextWorldKind:
    """TextWorld's own games, made here: nothing is downloaded.

    `valid_seen` are games made just as those of `train`, of other seeds, and none like one of train. `valid_unseen` are
    games of what training never shows (`plan.py`): other food and preparations, a longer way to the coin, a larger
    maze.
    """

    name: str = NAME
    task_kinds: Mapping[str, str] = MappingProxyType(
        {"cooking": "cook", "coin_collector": "coin", "treasure_hunter": "treasure"}
    )
    splits: tuple[str, ...] = ("valid_seen", "valid_unseen")
    experts: tuple[str, ...] = ("search", "policy")
    wording: Wording = WORDING
    rules: str = "textworld 1.7"

    def task_set(self, settings: Settings, *, seed: int, folder: Path) -> TaskSet:
        """The games that the settings ask for, made in `folder` when they are first looked for."""
        return Games(settings, seed, folder)

    def open(self, ref: TaskRef) -> Task:
        """A game as it can be played."""
        return PlayableGame(ref)

    def digest(self, tasks: Sequence[TaskRef]) -> str:
        """sha256, in hex, over the ids and files of some games, whatever their order."""
        return games_digest(tasks)

    def explain(self, first_observation: str, turns: Sequence[Turn], action: str) -> str:
        """Why a demonstrator gives `action` after `turns`: one sentence without a line break."""
        return reasons.explain(first_observation, turns, action)

    def mistakes(self, first_observation: str, turns: Sequence[Turn], rng: random.Random) -> Iterator[tuple[str, str]]:
        """A mistake (reason, action) to make behind `turns`."""
        return draw_mistake(first_observation, turns, rng)


KIND = TextWorldKind()
