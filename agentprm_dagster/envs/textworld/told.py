"""What a game tells, without what is not of its world: banner, prompt, status line, score."""

import re

_END = re.compile(r"\*\*\* (The End|You lost!) \*\*\*")
_TRACE = re.compile(r"\[([^\]]+)\]\n?")
_CARRIED_OUT = " - succeeded"
_SCORE = re.compile(r"Your score (has just gone up|changed) by [^\n]* points?\.")


def told(raw: str) -> str:
    """A reply of the interpreter as an agent reads it, one paragraph a line.

    The score is left out because it is the reward, which only those who judge may see.
    """
    text = _SCORE.sub("", _END.split(raw.rsplit("\n>", 1)[0])[0])
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def traced(raw: str) -> tuple[list[str], str]:
    """The actions that a reply traces as carried out, and the reply without the trace."""
    marks = _TRACE.findall(raw)
    return [mark.removesuffix(_CARRIED_OUT) for mark in marks if mark.endswith(_CARRIED_OUT)], _TRACE.sub("", raw)


def introduction(objective: str, raw: str) -> str:
    """The task, a blank line, and the first room, which stands behind the banner and the task."""
    return f"{' '.join(objective.split())}\n\n{told(raw[raw.index('-= ') :])}"


def task(first_observation: str) -> str:
    """The task as the first observation states it."""
    return first_observation.partition("\n\n")[0]


def ending(raw: str) -> str | None:
    """ "The End", "You lost!", or None where the game goes on."""
    match = _END.search(raw)
    return match[1] if match else None
