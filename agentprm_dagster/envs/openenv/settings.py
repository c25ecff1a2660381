"""Settings of an environment that is served by OpenEnv: `environment: {kind: openenv, url: ..., ...}`.

The defaults fit what `agentprm serve --openenv` serves.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from agentprm_dagster.envs.settings import EnvironmentSettings, TaskCount
from agentprm_dagster.section import MOST_GAMES, Distinct, Section

Path = Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$")]
"""Where a value stands in an observation: names, and places in lists, with dots between (`messages.-1.content`)."""
Seconds = Annotated[float, Field(gt=0, le=3600)]


class RewardSettings(Section):
    """How the server's rewards say how far a task is fulfilled, which must be in [0, 1], and 1 where it is won."""

    of: Literal["sum", "last"] = "sum"
    """What is read: the sum of an episode's rewards so far, or the last reward (where none comes, the one before)."""
    lost_at: float = 0.0
    """The value that means 0."""
    won_at: float = 1.0
    """The value that means 1; between the two it rises in proportion, and beyond them it is an error."""

    @model_validator(mode="after")
    def it_rises(self) -> Self:
        if self.won_at <= self.lost_at:
            raise ValueError(f"won_at: {self.won_at:g} must be above lost_at: {self.lost_at:g}")
        return self


class Settings(EnvironmentSettings):
    """Where the server is, how its tasks are chosen, and what its actions and observations are made of."""

    kind: Literal["openenv"] = "openenv"
    url: str = "http://127.0.0.1:8000"
    """Of the server, as OpenEnv's own clients take it."""
    train: TaskCount = 200
    """Tasks to train on."""
    valid_seen: Annotated[int, Field(ge=0, le=MOST_GAMES)] = 50
    """Tasks of the split that policies are judged on."""
    valid_unseen: Annotated[int, Field(ge=0, le=MOST_GAMES)] = 0
    """Tasks of a second one."""
    reset: Mapping[str, JsonValue] = {"split": "{split}", "index": "{index}"}
    """What a reset is told, which chooses the task: {split} stands for the split's name, {index} for the task's place
    in its split from 0, {number} for a number that is another in every split. `{seed: "{number}"}` is the usual one."""
    action_field: Annotated[str, Field(min_length=1)] = "command"
    """The action's field that the command is sent in."""
    action_rest: Mapping[str, JsonValue] = {}
    """What an action holds besides, always the same."""
    text_field: Path = "text"
    """Where the observation holds its text."""
    commands_field: Path | None = "admissible_commands"
    """Where it holds the list of admissible commands; null where it does not tell them."""
    commands: Distinct[str] = ()
    """The admissible commands where they are the same always and the server does not tell them; where there are none
    either, any text may be sent."""
    truncated_field: Path | None = "truncated"
    """Where it says that the environment broke the episode off; null where it does not."""
    reward: RewardSettings = RewardSettings()
    """How rewards are read."""
    refusal: str | None = None
    """What the agent is told where the server answers a command with an error, and nothing changes; null stops."""
    rules: str = ""
    """What the agent is told before the first observation: where it is, and which commands there are."""
    task: str | None = None
    """The task in words, where it is the same in all tasks."""
    task_pattern: str | None = r"Your task is to: ([^\n]+)"
    """A regular expression that finds the task in the first observation, as its first group, where `task` is null."""
    seconds: Seconds = 30.0
    """How long an answer may take."""
    sessions: Annotated[int, Field(ge=1, le=4096)] = 64
    """Sessions that a process has with the server at most. Where more episodes are open, or the server allows fewer,
    they take turns: an episode that gets a session back has its commands played again."""

    @property
    def counts(self) -> Mapping[str, int | None]:
        """See the base."""
        return {"train": self.train, "valid_seen": self.valid_seen, "valid_unseen": self.valid_unseen}

    @field_validator("url")
    @classmethod
    def it_can_be_reached(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
            raise ValueError(f"expected an address such as http://127.0.0.1:8000, got {url!r}")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "expected an address without user, password or query: settings are written down beside the results"
            )
        return url

    @model_validator(mode="after")
    def tasks_differ(self) -> Self:
        told = json.dumps(dict(self.reset))
        if "{number}" not in told and not ("{index}" in told and "{split}" in told):
            raise ValueError(
                f"reset: {told} plays the same task always, or the same in every split: name {{number}} in it, or both "
                '{split} and {index}, as in {seed: "{number}"}'
            )
        return self

    @model_validator(mode="after")
    def commands_are_told_by_one(self) -> Self:
        if self.commands and self.commands_field is not None:
            raise ValueError(
                f"commands are told by the server in commands_field: {self.commands_field}; set that to null, or leave "
                "commands out"
            )
        return self

    @model_validator(mode="after")
    def the_task_can_be_told(self) -> Self:
        if self.task is not None:
            return self
        if self.task_pattern is None:
            raise ValueError("expected task or task_pattern: the paper's prompt states the task; both are null")
        try:
            groups = re.compile(self.task_pattern).groups
        except re.error as error:
            raise ValueError(f"task_pattern: expected a regular expression, got one with {error}") from error
        if groups < 1:
            raise ValueError("task_pattern: expected a group in brackets around the task, got none")
        return self
