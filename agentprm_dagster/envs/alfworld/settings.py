"""Settings of ALFWorld's games."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agentprm_dagster.envs.alfworld.generate_tables import Size
from agentprm_dagster.envs.settings import EnvironmentSettings, TaskCount
from agentprm_dagster.section import MOST_GAMES

TASK_TYPES = 6
"""How many kinds of task games set."""


class Settings(EnvironmentSettings):
    """Which of ALFWorld's games are played, and which rooms are never trained on."""

    kind: Literal["alfworld"] = "alfworld"
    source: Literal["generated", "alfworld"] = "generated"
    """Generated from a seed, or the real ones under ALFWORLD_DATA."""
    size: Size = "small"
    """How large generated rooms are; `full` is like the real ones. `varied` is as large and holds more of a kind, and
    every game has a room of its own, so that there are none for `valid_seen`."""
    beside: Annotated[int, Field(ge=0, le=MOST_GAMES)] = 0
    """Games of generated rooms to train on beside the real ones (real games)."""
    valid_seen: TaskCount | None = 200
    """Games in rooms that training uses too; null takes all there are (real games only, here as below)."""
    valid_unseen: Annotated[int, Field(ge=0, le=MOST_GAMES)] | None = 300
    """Games in rooms that training never uses. Generated ones may be looked at; ALFWorld's own are the final exam."""
    held_out_rooms: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training rooms set apart as the out-of-distribution split `train_held_out` (real games)."""
    held_out_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Which rooms these are: the same for every seed of an experiment, so that all are judged in the same games."""

    @property
    def counts(self) -> Mapping[str, int | None]:
        """See the base; of generated games all numbers must be told."""
        asked = {"train": self.train, "valid_seen": self.valid_seen, "valid_unseen": self.valid_unseen}
        if self.source == "generated":
            asked = {split: count or 0 for split, count in asked.items()}
        if asked["train"] is not None:
            asked["train"] += self.beside
        return {**asked, "train_held_out": None if self.held_out_rooms else 0}

    @model_validator(mode="after")
    def seen_rooms_are_trained_in(self) -> Self:
        if self.source == "generated" and self.valid_seen and self.train and self.train < TASK_TYPES:
            raise ValueError(
                f"train: {self.train} is too few for valid_seen, which is played in rooms that a training game of its "
                f"task type plays in: set train to at least {TASK_TYPES}, one of each type"
            )
        return self

    @model_validator(mode="after")
    def varied_rooms_are_not_seen_twice(self) -> Self:
        if self.source == "generated" and self.size == "varied" and self.valid_seen:
            raise ValueError(
                f"valid_seen: {self.valid_seen} is played in rooms that a training game plays in, and of size: varied "
                "every game has a room of its own: set valid_seen to null"
            )
        return self

    @model_validator(mode="after")
    def games_stand_beside_real_ones(self) -> Self:
        if self.source == "generated" and self.beside:
            raise ValueError(f"beside: {self.beside} are trained on beside real games; for generated ones raise train")
        return self

    @model_validator(mode="after")
    def only_real_rooms_are_held_out(self) -> Self:
        if self.source == "generated" and self.held_out_rooms:
            raise ValueError(
                f"held_out_rooms: {self.held_out_rooms} parts the real games; generated rooms that are never trained "
                "on are those of valid_unseen"
            )
        return self
