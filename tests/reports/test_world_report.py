"""A world model's report by hand."""

import pandas as pd
import pytest

from agentprm_dagster.episodes.records import Turn
from agentprm_dagster.reports.world_report import Habits, world_report

NOTHING = "Nothing happens."


def turn(action: str, observation: str) -> Turn:
    return Turn(reason="", action=action, observation=observation, response="")


SEEN = [
    turn("look", "A room."),
    turn("open box 1", "It is empty."),
    turn("open box 1", "It is empty."),
    turn("open box 1", NOTHING),
    turn("take mug 1", NOTHING),
    turn("take mug 2", NOTHING),
]
"""Most often nothing happens; a box is mostly empty."""


def replies() -> pd.DataFrame:
    columns = ("action", "previous", "observation", "over", "tokens", "loss", "exact", "fails", "ends")
    rows = [
        ("open box 1", "A room.", "It is empty.", False, 4, 1.0, True, False, False),
        ("open box 1", NOTHING, NOTHING, False, 2, 3.0, False, False, False),
        ("open box 9", "A room.", NOTHING, False, 2, 0.5, True, True, True),
        ("move mug 1 to box 1", "A mug.", "You move it.", True, 2, 0.5, True, False, True),
    ]
    return pd.DataFrame(rows, columns=columns)


def test_habits_by_hand() -> None:
    """The command seen most often got one reply, one never seen the commonest of all."""
    assert Habits(SEEN).exact(replies()) == {"constant": 0.5, "previous": 0.25, "usual": 0.5}


def test_the_report_by_hand() -> None:
    report = world_report(replies(), Habits(SEEN), train_loss=0.3, min_exact=1.0, tokens=70, refusal=NOTHING)
    told = report.metrics
    assert (told["exact"], told["held_out_loss"], told["held_out_replies"]) == (0.75, 0.5, 4)
    assert (told["refusal_recall"], told["refusal_precision"]) == (0.5, 1.0)
    assert (told["end_recall"], told["end_precision"]) == (1.0, 0.5)
    (gate,) = report.gates
    assert gate.passed
    assert "75.0% of 4" in gate.message


def test_saying_always_the_same_is_not_enough() -> None:
    scored = replies().assign(exact=[True, False, True, False])
    told = [
        world_report(scored, Habits(SEEN), train_loss=0.3, min_exact=least, tokens=70, refusal=NOTHING)
        for least in (1.0, 0.9)
    ]
    assert [report.gates[0].passed for report in told] == [False, True]


def test_what_never_was_has_no_share() -> None:
    told = world_report(
        replies().iloc[:2], Habits(SEEN), train_loss=0.3, min_exact=1.0, tokens=70, refusal=NOTHING
    ).metrics
    assert not {"end_recall", "end_precision", "refusal_precision"} & told.keys()
    assert told["refusal_recall"] == pytest.approx(0.0)
