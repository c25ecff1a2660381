"""Settings of TextWorld's games: `environment: {kind: textworld, ...}`. Small games by default: 4 to 15 commands."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from agentprm_dagster.envs.settings import EnvironmentSettings, TaskCount
from agentprm_dagster.section import MOST_GAMES, OneOrSeveral

Game = Literal["cooking", "coin_collector", "treasure_hunter"]
Prose = Literal["plain", "house"]


class Settings(EnvironmentSettings):
    """Which games are made, how hard they are and how many of them there are."""

    kind: Literal["textworld"] = "textworld"
    games: OneOrSeveral[Game] = ("cooking", "coin_collector", "treasure_hunter")
    """The kinds of games, which take turns: cook what a recipe says, find a coin, find the right one of two things."""
    prose: Prose = "plain"
    """`plain`: short sentences, always the same, and rooms that are numbered. `house`: TextWorld's usual chatter."""
    ingredients: Annotated[int, Field(ge=1, le=3)] = 1
    """Of a recipe in `cooking`; each is fetched, cooked and cut, about five commands."""
    cooking_rooms: Literal[1, 6, 9, 12] = 1
    """Rooms of the house in `cooking`; 1 is the kitchen alone."""
    coin_distance: Annotated[int, Field(ge=1, le=20)] = 3
    """Rooms from the start to the coin in `coin_collector`; each on the way has a dead end beside it."""
    treasure_rooms: Annotated[int, Field(ge=4, le=20)] = 6
    """Rooms of the maze in `treasure_hunter`; the thing sought is up to half as many away."""
    train: TaskCount = 600
    """Games to train on, half a second of one processor each to make."""
    valid_seen: TaskCount = 90
    """Games made as those of train are, and different from all of them."""
    valid_unseen: Annotated[int, Field(ge=0, le=MOST_GAMES)] = 90
    """Games of what training never shows: other food and ways to prepare it; a longer way; a larger maze."""

    @property
    def counts(self) -> Mapping[str, int | None]:
        """See the base: as many as are asked for are made."""
        return {"train": self.train, "valid_seen": self.valid_seen, "valid_unseen": self.valid_unseen}
