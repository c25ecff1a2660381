"""What a server answers, read at the border: nothing of it is taken that is not as it is expected."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentprm_dagster.envs.openenv.errors import RefusedError, UnexpectedReplyError
from agentprm_dagster.envs.openenv.settings import RewardSettings, Settings
from agentprm_dagster.episodes.records import Observation

MOST_LETTERS = 200
"""How much of a wrong reply is repeated."""
_NEAR = 9
"""Decimals to which rewards are told apart: sums of floats are not exact."""


class Told(BaseModel):
    """An observation as OpenEnv sends it; what else comes with it is not read."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True)

    observation: dict[str, Any]
    reward: float | None = None
    """What the last action brought; None where nothing is told."""
    done: bool


class _Error(BaseModel):
    code: str = Field(max_length=100)
    message: str


class _Reply(BaseModel):
    type: str
    data: dict[str, Any]


def read_reply(reply: str | bytes, asked: str) -> Told:
    """An observation from a reply to what was `asked`.

    Raises:
        RefusedError: it is an error.
        UnexpectedReplyError: it is neither.
    """
    try:
        told = _Reply.model_validate(json.loads(reply))
        if told.type == "observation":
            return Told.model_validate(_numbers(told.data))
        if told.type == "error":
            error = _Error.model_validate(told.data)
            raise RefusedError(error.code, f"the server answers {asked} with {error.code}: {_short(error.message)}")
    except (ValidationError, ValueError, RecursionError) as error:
        raise UnexpectedReplyError(
            f"expected an observation as OpenEnv sends it, with observation, reward and done, in answer to {asked}, "
            f"got {_short(reply)}; {_why(error)}"
        ) from error
    raise UnexpectedReplyError(f"expected an observation in answer to {asked}, got {told.type}: {_short(reply)}")


def observation(settings: Settings, told: Told, value: float) -> Observation:
    """What was told, as an agent meets it; `value` is what the reward is read from (`RewardSettings.of`).

    Raises:
        UnexpectedReplyError: a field is missing, or holds something else than it should.
    """
    text = _at(told, settings.text_field, "text_field")
    if not isinstance(text, str):
        raise _wrong("text_field", settings.text_field, "a text", text)
    reward = fulfilled(settings.reward, value)
    return Observation(text, _commands(settings, told), reward, told.done, told.done and _cut(settings, told))


def fulfilled(reward: RewardSettings, value: float) -> float:
    """How far a task is fulfilled, in [0, 1], where rewards have come to a value; UnexpectedReplyError beyond."""
    share = round((value - reward.lost_at) / (reward.won_at - reward.lost_at), _NEAR)
    if not 0 <= share <= 1:
        raise UnexpectedReplyError(
            f"expected rewards whose {reward.of} stays between environment.reward.lost_at: {reward.lost_at:g} and "
            f"environment.reward.won_at: {reward.won_at:g}, got {value:g}; set the two to what the server's rewards "
            "can come to, or environment.reward.of to what they mean"
        )
    return share


def _commands(settings: Settings, told: Told) -> tuple[str, ...] | None:
    """The admissible commands, sorted; None where nobody tells them."""
    if settings.commands_field is None:
        return tuple(sorted(settings.commands)) if settings.commands else None
    listed = _at(told, settings.commands_field, "commands_field")
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise _wrong("commands_field", settings.commands_field, "a list of texts", listed)
    return tuple(sorted(set(listed)))


def _cut(settings: Settings, told: Told) -> bool:
    if settings.truncated_field is None:
        return False
    cut = _at(told, settings.truncated_field, "truncated_field")
    if not isinstance(cut, bool):
        raise _wrong("truncated_field", settings.truncated_field, "true or false", cut)
    return cut


def _at(told: Told, path: str, setting: str) -> Any:
    """What stands at a path in an observation."""
    value: Any = told.observation
    for step in path.split("."):
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise UnexpectedReplyError(
                f"expected an observation with {path!r} (environment.{setting}), got none at {step!r} in "
                f"{_short(json.dumps(told.observation))}; its fields: {', '.join(sorted(told.observation))}"
            ) from error
    return value


def _wrong(setting: str, path: str, expected: str, value: object) -> UnexpectedReplyError:
    return UnexpectedReplyError(
        f"expected {expected} at {path!r} of an observation (environment.{setting}), got {_short(repr(value))}"
    )


def _numbers(data: dict[str, Any]) -> dict[str, Any]:
    """With a reward of true or false, as OpenEnv allows, as a number."""
    reward = data.get("reward")
    return {**data, "reward": float(reward)} if isinstance(reward, bool | int) else data


def _short(text: str | bytes) -> str:
    whole = text.decode(errors="replace") if isinstance(text, bytes) else text
    return whole if len(whole) <= MOST_LETTERS else f"{whole[:MOST_LETTERS]}..."


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3])
    return f"{type(error).__name__}: {error}"
