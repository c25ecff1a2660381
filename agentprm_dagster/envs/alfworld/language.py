"""How ALFWorld's games are told to a language model."""

from agentprm_dagster.envs.alfworld.tasks import task_sentence
from agentprm_dagster.episodes.dialogue import Wording

RULES = (
    "You act in a household to fulfil a task. Each turn, give your reason and then one command, as\n"
    "REASON: why\n"
    "ACTION: command"
)

RESTATED_RULES = """\
You solve household tasks by giving one command at a time.

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

WORDING = Wording(RULES, RESTATED_RULES, task_sentence, refusal="Nothing happens.")
