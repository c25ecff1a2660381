"""How a served environment is told to a language model.

What is particular to one stands in its first observation: the task, the experiment's rules, then the server's text. So
the system message is the same for all.
"""

import re

from agentprm_dagster.envs.openenv.errors import UnexpectedReplyError
from agentprm_dagster.envs.openenv.settings import Settings
from agentprm_dagster.episodes.dialogue import ANSWER_FORM, PROMPT, Wording

MARK = "Task: "

RULES = f"You act in an environment to fulfil a task. {ANSWER_FORM}"
RESTATED = f"You act in an environment by giving one command at a time.\n\n{PROMPT}"


def first_observation(settings: Settings, text: str) -> str:
    """The server's first text below the task and the rules."""
    parts = [f"{MARK}{' '.join(_task(settings, text).split())}", settings.rules.strip(), text]
    return "\n\n".join(part for part in parts if part)


def task(first: str) -> str:
    """The task as the first observation states it; ValueError where it does not."""
    line = first.partition("\n")[0]
    if not line.startswith(MARK):
        raise ValueError(f"expected a first observation that begins with {MARK!r}, got {first[:200]!r}")
    return line.removeprefix(MARK)


def _task(settings: Settings, text: str) -> str:
    if settings.task is not None:
        return settings.task
    found = re.search(settings.task_pattern or "", text)
    if not found or not found[1]:
        raise UnexpectedReplyError(
            f"expected a first observation in which environment.task_pattern {settings.task_pattern!r} finds the task, "
            f"got {text[:200]!r}; mend the pattern, or say the task in environment.task"
        )
    return found[1]


WORDING = Wording(RULES, RESTATED, task)
