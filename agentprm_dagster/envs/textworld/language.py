"""How TextWorld's games are told to a language model."""

from agentprm_dagster.envs.textworld.told import task
from agentprm_dagster.episodes.dialogue import ANSWER_FORM, PROMPT, Wording

REFUSAL = "Nothing happens."
"""The reply to a command that is not admissible."""

RULES = f"You play a text game to fulfil its task. {ANSWER_FORM}"
RESTATED = f"You play text games by giving one command at a time.\n\n{PROMPT}"

WORDING = Wording(RULES, RESTATED, task, refusal=REFUSAL)
