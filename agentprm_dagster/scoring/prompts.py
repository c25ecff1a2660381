"""How an agent that reads text is asked, and how its answer is read: three forms that results have been reported with.

`ours` is the growing conversation that policies here are trained on, `paper` the paper's prompt, which restates the
history each turn. `verl-agent` has the form of verl-agent's prompt for ALFWorld (Feng et al. 2025, GiGPO), in other
words: one user message with the task, the last two observations and actions, the step and the admissible list; the
answer thinks in <think> and acts in <action>. Its own parser takes the end of an answer without tags for a command, and
lowers its case; here such an answer is counted as unparsed.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from agentprm_dagster.agents.react import without_thinking
from agentprm_dagster.engine.base import Engine
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.episodes.dialogue import Format, Message, Prompt, Wording
from agentprm_dagster.episodes.parsing import Answer, parse_answer
from agentprm_dagster.episodes.records import Observation, State, Turn
from agentprm_dagster.rollouts.rollout import Parse

PromptName = Literal["ours", "paper", "verl-agent"]
PROMPTS: tuple[PromptName, ...] = get_args(PromptName)

FORMATS: dict[Format, PromptName] = {"append": "ours", "restated": "paper"}
"""Which of them an experiment's `dialogue.format` is."""

RECENT = 2
"""How many turns `verl-agent` restates."""

BEGINNING = """\
You act in a text game, one command at a time.
What you see now: {observation}
The commands that are admissible now: [{commands}].
"""
LATER = """\
You act in a text game, one command at a time. Your task is to: {task}
You have taken {steps} step(s) so far. The last {recent} observations and the actions you took on them: {history}
You are now at step {step}, and what you see is: {observation}
The commands that are admissible now: [{commands}].
"""
FORM = """
It is your turn to act.
First reason step by step about where you are, within <think> </think> tags.
Then choose one of the admissible commands and write it within <action> </action> tags."""

_TAGGED = re.compile(r"\s*<think>(?P<think>.*?)</think>\s*<action>(?P<action>[^\n<>]*)</action>\s*", re.DOTALL)


@dataclass(frozen=True)
class Asking:
    """A way to ask."""

    text: str
    """Its words, with what is filled in: part of what a score was made with."""
    prompt: Prompt
    parse: Parse
    without: Callable[[str], str]
    """Takes off an answer what is no part of it: thinking that a server leaves in the text, unless it was asked for."""
    dialogue: Format | None
    """The dialogue format that it is; None where it is none, and is written anew each turn."""


def asking(name: PromptName, wording: Wording) -> Asking:
    """A way to ask in an environment's words."""
    if name == "verl-agent":
        return Asking(BEGINNING + LATER + FORM, partial(_verl_agent, wording), parse_tags, str, None)
    if name == "paper":
        return Asking(wording.restated, wording.prompt, parse_answer, without_thinking, "restated")
    return Asking(wording.rules, partial(_growing, wording), parse_answer, without_thinking, "append")


def _growing(wording: Wording, first: str, turns: Sequence[Turn], commands: Sequence[str]) -> list[Message]:
    return wording.state(first, turns, "append")


def _verl_agent(wording: Wording, first: str, turns: Sequence[Turn], commands: Sequence[str]) -> list[Message]:
    seen = [first, *(turn.observation for turn in turns)]
    start = max(len(turns) - RECENT, 0)
    history = [
        f"[Observation {t + 1}: '{seen[t]}', Action {t + 1}: '{turns[t].action}']" for t in range(start, len(turns))
    ]
    text = (LATER if turns else BEGINNING).format(
        task=wording.task(first),
        steps=len(turns),
        step=len(turns) + 1,
        recent=len(history),
        history="\n".join(history),
        observation=seen[-1],
        commands="\n ".join(f"'{command}'" for command in commands),
    )
    return [{"role": "user", "content": text + FORM}]


def parse_tags(text: str) -> Answer:
    """Reads "<think>...</think><action>command</action>"; anything else, a second tag for one, is not parsed."""
    found = _TAGGED.fullmatch(text)
    command = found["action"].strip() if found else ""
    if found is None or not command or text.count("<think>") > 1:
        return Answer("", "", parsed=False)
    return Answer(found["think"].strip(), command, parsed=True)


class WrittenAnew:
    """Dialogues whose prompt is written anew each turn (in the place of `agents.dialogues.Dialogues`)."""

    def __init__(self, engine: Engine, chat: Chat, prompt: Prompt) -> None:
        self.engine, self.chat, self._prompt = engine, chat, prompt
        self.states: dict[int, State] = {}

    def begin(self, slot: int, state: State) -> None:
        """Asks in a state."""
        self.states[slot] = state
        messages = self._prompt(state.first_observation, state.turns, state.observation.commands)
        self.engine.begin(slot, self.chat.prompt(messages))

    def observe(self, slot: int, turn: Turn, observation: Observation) -> None:
        """Asks in the state that a turn has led to."""
        self.begin(slot, self.states[slot].after(turn, observation))
