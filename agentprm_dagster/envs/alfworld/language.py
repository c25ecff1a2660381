"""How ALFWorld's games are told to a language model."""

from agentprm_dagster.envs.alfworld.tasks import task_sentence
from agentprm_dagster.episodes.dialogue import ANSWER_FORM, PROMPT, Wording

RULES = f"You act in a household to fulfil a task. {ANSWER_FORM}"
RESTATED_RULES = f"You solve household tasks by giving one command at a time.\n\n{PROMPT}"

WORDING = Wording(RULES, RESTATED_RULES, task_sentence, refusal="Nothing happens.")
