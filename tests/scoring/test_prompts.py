"""The ways to ask, and a small model that is asked in each of them."""

from pathlib import Path

import pytest

from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.episodes.records import Turn
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.panel import make_panel
from agentprm_dagster.scoring.playing import Workforce, play_panel
from agentprm_dagster.scoring.policies import Wishes, checkpoint_player
from agentprm_dagster.scoring.prompts import PROMPTS, asking, parse_tags
from agentprm_dagster.scoring.results import results

FIRST = "-= Welcome to TextWorld, ALFRED! =-\n\nYou see a desk 1.\n\nYour task is to: put a mug in desk."
TURNS = [
    Turn("", f"go to desk {i}", f"You arrive at desk {i}.", f"<think>{i}</think><action>go to desk {i}</action>")
    for i in (1, 2, 3)
]


def test_the_first_message_of_verl_agent_has_no_history() -> None:
    (message,) = asking("verl-agent", WORDING).prompt(FIRST, [], ["look", "inventory"])
    assert message["role"] == "user"
    assert f"What you see now: {FIRST}\n" in message["content"]
    assert "[" + "'look'\n 'inventory'" + "]" in message["content"]
    assert "step" not in message["content"].split("First reason")[0]
    assert message["content"].endswith("within <action> </action> tags.")


def test_later_messages_of_verl_agent_restate_two_turns() -> None:
    (message,) = asking("verl-agent", WORDING).prompt(FIRST, TURNS, ["look"])
    text = message["content"]
    assert "Your task is to: put a mug in desk\n" in text
    assert "You have taken 3 step(s) so far. The last 2 observations" in text
    assert "[Observation 2: 'You arrive at desk 1.', Action 2: 'go to desk 2']" in text
    assert "[Observation 3: 'You arrive at desk 2.', Action 3: 'go to desk 3']" in text
    assert "Observation 1" not in text
    assert "You are now at step 4, and what you see is: You arrive at desk 3.\n" in text


def test_braces_in_an_observation_are_left_as_they_are() -> None:
    (message,) = asking("verl-agent", WORDING).prompt(FIRST.replace("a desk 1", "{task}"), [], ["{look}"])
    assert "You see {task}." in message["content"]
    assert "'{look}'" in message["content"]


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("<think>why</think><action>look</action>", "look"),
        ("\n<think>\nwhy, < 3\n</think>\n\n<action> go to desk 1 </action>\n", "go to desk 1"),
        ("<think></think><action>look</action>", "look"),
        ("<action>look</action>", ""),
        ("<think>why</think>look", ""),
        ("<think>why</think><action></action>", ""),
        ("<think>why</think><action>look</action> then <action>go</action>", ""),
        ("<think>a</think><think>b</think><action>look</action>", ""),
        ("<think>why</think><action>look\naround</action>", ""),
        ("Well: <think>why</think><action>look</action>", ""),
        ("REASON: why\nACTION: look", ""),
        ("", ""),
    ],
)
def test_tags_are_read_strictly(text: str, action: str) -> None:
    said = parse_tags(text)
    assert (said.action, said.parsed) == (action, bool(action))


def test_ours_and_the_papers_are_the_two_dialogue_formats() -> None:
    ours, paper = asking("ours", WORDING), asking("paper", WORDING)
    assert ours.prompt(FIRST, TURNS, ["look"]) == WORDING.state(FIRST, TURNS, "append")
    assert paper.prompt(FIRST, TURNS, ["look"]) == WORDING.state(FIRST, TURNS, "restated", ["look"])
    assert len({asking(name, WORDING).text for name in PROMPTS}) == len(PROMPTS)


def test_a_checkpoint_is_asked_in_every_way(model_server: tuple[str, Path]) -> None:
    _, checkpoint = model_server
    panel = make_panel("smoke", ["valid_seen"], [2], limit=2)
    engine = engine_kind("embedded").Settings()
    found = {}
    for name in PROMPTS:
        wishes = Wishes(prompt=name, max_new_tokens=12)
        player, protocol = checkpoint_player(checkpoint, "alfworld", wishes, engine, 2)
        (run,) = play_panel(panel, [player], protocol, Workforce(0), SilentMonitor())
        assert 0 < run.tokens_drawn <= 2 * 2 * 13
        assert (protocol.prompt, protocol.temperature, player.draws) == (name, 0, False)
        assert player.record.kind == "checkpoint"
        assert (player.record.parameters or 0) > 1000
        found[name] = protocol.digest, run
    assert len({digest for digest, _ in found.values()}) == len(PROMPTS)
    (row,) = results(panel, [found["verl-agent"][1]])
    assert row.unparsed == 1, "it has learnt another form"
    with pytest.raises(ScoreError, match="--best-of needs the PRM of an experiment"):
        checkpoint_player(checkpoint, "alfworld", Wishes(best_of=4), engine, 2)
