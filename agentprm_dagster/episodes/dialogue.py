"""How an episode is written for a language model.

Two formats. `append` is one growing conversation: rules, first observation with the task, then answer, observation,
answer, ... Nothing already said is rewritten, so a key-value cache lasts for the whole episode and one forward pass
scores every turn. `restated` is the paper's prompt: one user message that restates the whole history and lists the
candidate actions, written anew at every turn.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from agentprm_dagster.episodes.records import Turn

Message = dict[str, str]
"""{"role": "system" | "user" | "assistant", "content": text}, as chat templates read it."""

Format = Literal["append", "restated"]

Prompt = Callable[[str, Sequence[Turn], Sequence[str]], list[Message]]
"""From first observation, turns and admissible commands to what is asked (`Wording.prompt`)."""

ANSWER_FORM = """\
Each turn, give your reason and then one command, as
REASON: why
ACTION: command"""
"""What the system message of `append` says behind where one is: the form of an answer (`write_answer`)."""

PROMPT = """\
Task: {task}

What happened so far, as a list of observations and the actions taken on them:
{history}

Current observation:
{observation}

Choose your next action from this list, and from nothing else:
{candidates}

Remember the task: {task}
Do not repeat an action that has just led to nothing. Answer in exactly this form:
REASON:
why this action is the best next one
ACTION:
the action, copied from the list"""
"""What the paper's prompt, `restated`, says behind where one is."""


def write_answer(reason: str, action: str) -> str:
    """An assistant message in the agreed form."""
    return f"REASON: {reason}\nACTION: {action}"


@dataclass(frozen=True, slots=True)
class Wording:
    """What a kind of environment says to a language model besides its observations."""

    rules: str
    """The system message of `append`: where one is, and the form of an answer (`ANSWER_FORM`)."""
    restated: str
    """The prompt of `restated`, with what `PROMPT` has to be filled in."""
    task: Callable[[str], str]
    """The task as the first observation states it, for {task}."""
    refusal: str | None = None
    """The reply to a command that cannot be done, where it is always the same."""

    def opening(self, first_observation: str) -> list[Message]:
        """The messages before the first answer, in the `append` format."""
        return [{"role": "system", "content": self.rules}, {"role": "user", "content": first_observation}]

    def conversation(
        self, first_observation: str, turns: Sequence[Turn], *, last_observation: bool = False
    ) -> list[Message]:
        """The episode as one growing conversation; the observation after the last answer only on request."""
        messages = self.opening(first_observation)
        for turn in turns:
            messages.append({"role": "assistant", "content": turn.response})
            messages.append({"role": "user", "content": turn.observation})
        return messages if last_observation or not turns else messages[:-1]

    def state(
        self, first_observation: str, turns: Sequence[Turn], dialogue: Format, commands: Sequence[str] = ()
    ) -> list[Message]:
        """The messages up to the answer after `turns` in a format; `commands` are the admissible ones, see `prompt`."""
        if dialogue == "restated":
            return self.prompt(first_observation, turns, commands)
        return self.conversation(first_observation, turns, last_observation=True)

    def prompt(self, first_observation: str, turns: Sequence[Turn], commands: Sequence[str]) -> list[Message]:
        """The paper's prompt for the state after `turns`, in which `commands` are admissible.

        Actions in the history are actions (fault A1 of the authors' code).
        """
        observations = [first_observation, *(turn.observation for turn in turns)]
        history = [
            {"observation": observation, "action": turn.action}
            for observation, turn in zip(observations[:-1], turns, strict=True)
        ]
        prompt = self.restated.format(
            task=self.task(first_observation),
            history=json.dumps(history),
            observation=observations[-1],
            candidates=json.dumps(list(commands)),
        )
        return [{"role": "user", "content": prompt}]
