"""Both dialogue formats, byte for byte."""

from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Turn

FIRST = (
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see a "
    'desk 1, and a shelf 1.\n\nYour task is to: put a mug in shelf.'
)  # fmt: skip


def turn(reason: str, action: str, observation: str) -> Turn:
    return Turn(reason=reason, action=action, observation=observation, response=write_answer(reason, action))


TURNS = [
    turn("I look for a mug.", "go to desk 1", 'You arrive at desk 1. On the desk 1, you see a mug "2".'),
    turn("Here is mug 2.", "take mug 2 from desk 1", "You pick up the mug 2 from the desk 1."),
]

SYSTEM = {
    "role": "system",
    "content": """\
You act in a household to fulfil a task. Each turn, give your reason and then one command, as
REASON: why
ACTION: command""",
}


def test_the_append_format() -> None:
    assert WORDING.conversation(FIRST, TURNS) == [
        SYSTEM,
        {"role": "user", "content": FIRST},
        {"role": "assistant", "content": "REASON: I look for a mug.\nACTION: go to desk 1"},
        {"role": "user", "content": 'You arrive at desk 1. On the desk 1, you see a mug "2".'},
        {"role": "assistant", "content": "REASON: Here is mug 2.\nACTION: take mug 2 from desk 1"},
    ]


def test_the_last_observation_stands_in_it_on_request() -> None:
    whole = WORDING.conversation(FIRST, TURNS, last_observation=True)
    assert whole == [*WORDING.conversation(FIRST, TURNS), {"role": "user", "content": TURNS[-1].observation}]


def test_it_only_grows() -> None:
    shorter, longer = WORDING.conversation(FIRST, TURNS[:1], last_observation=True), WORDING.conversation(FIRST, TURNS)
    assert longer[: len(shorter)] == shorter
    assert WORDING.conversation(FIRST, []) == WORDING.opening(FIRST) == shorter[:2]


def test_the_restated_format_tells_actions_as_actions() -> None:
    (message,) = WORDING.prompt(FIRST, TURNS, ["go to shelf 1", "look"])
    assert message["role"] == "user"
    assert message["content"] == (
        """\
You solve household tasks by giving one command at a time.

Task: put a mug in shelf

What happened so far, as a list of observations and the actions taken on them:
[{"observation": "-= Welcome to TextWorld, ALFRED! =-\\n\\nYou are in the middle of a room. Looking quickly around \
you, you see a desk 1, and a shelf 1.\\n\\nYour task is to: put a mug in shelf.", "action": "go to desk 1"}, \
{"observation": "You arrive at desk 1. On the desk 1, you see a mug \\"2\\".", "action": "take mug 2 from desk 1"}]

Current observation:
You pick up the mug 2 from the desk 1.

Choose your next action from this list, and from nothing else:
["go to shelf 1", "look"]

Remember the task: put a mug in shelf
Do not repeat an action that has just led to nothing. Answer in exactly this form:
REASON:
why this action is the best next one
ACTION:
the action, copied from the list"""
    )


def test_the_restated_format_at_the_start_has_no_history() -> None:
    (message,) = WORDING.prompt(FIRST, [], ["look"])
    assert f"taken on them:\n[]\n\nCurrent observation:\n{FIRST}\n\nChoose" in message["content"]
