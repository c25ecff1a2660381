"""How TextWorld's games are told to a language model."""

from agentprm_dagster.envs.textworld.told import task
from agentprm_dagster.episodes.dialogue import Wording

REFUSAL = "Nothing happens."
"""The reply to a command that is not admissible."""

RULES = """\
You play a text game to fulfil its task. Each turn, give your reason and then one command, as
REASON: why
ACTION: command"""

RESTATED = """\
You play text games by giving one command at a time.

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

WORDING = Wording(RULES, RESTATED, task, refusal=REFUSAL)
