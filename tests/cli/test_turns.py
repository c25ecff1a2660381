"""An episode in a terminal: narrow enough, complete, and deaf to what foreign text asks of it."""

import io
import re

import pytest
from rich.console import Console

from agentprm_dagster.agents.noting_judge import Candidate
from agentprm_dagster.commands.turns import Keys, show
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.values import TurnValue
from agentprm_dagster.reports.watched import Watched

HOSTILE = "\x1b[2J\x1b]0;title\x07[red]no markup[/red] " + "x " * 200


def turn(text: str, *, parsed: bool = True, admissible: bool = True) -> Turn:
    return Turn(text, text, text, text, parsed=parsed, admissible=admissible)


def printed(watched: Watched, keys: Keys, *candidates: list[Candidate], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)
    show(watched, lambda first: first, console, keys, candidates)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def plain(text: str) -> str:
    """Without what makes letters bold."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("width", [80, 50])
def test_foreign_text_acts_on_nothing_and_fits(width: int) -> None:
    episode = Episode("e", "g", "any", HOSTILE, (turn(HOSTILE), turn(HOSTILE, parsed=False)), reward=0.0)
    some = [Candidate(HOSTILE, 0.5, True), Candidate(write_answer(HOSTILE, HOSTILE), 0.25, False)]
    told = plain(printed(Watched(episode, [TurnValue(0.5, 0.25)] * 2), Keys(), some, width=width))
    assert all(character.isprintable() or character == "\n" for character in told)
    assert max(map(len, told.splitlines())) <= width
    assert "\\x1b[2J" in told and "[red]no markup[/red]" in told


def test_what_stands_beside_a_turn() -> None:
    turns = (turn("look"), turn("fly", admissible=False), turn("hm", parsed=False))
    values = [TurnValue(0.5, 0.25), TurnValue(1.0, None), TurnValue(0.0, None)]
    answers = [write_answer("Why not?", each) for each in ("look", "go")]
    some = [Candidate(answers[1], 0.25, False), Candidate(answers[0], 0.5, True), Candidate(answers[0], 0.5, False)]
    episode = Episode("e", "g", "any", "A room.", turns, reward=1.0, start=1)
    told = plain(printed(Watched(episode, values, "pi_1, train"), Keys(), some))
    assert told.startswith("won A room.\ne\npi_1, train, 3 actions, mean Q 0.50\n")
    assert "  1  Q 0.50 [########........]  V 0.25 [####............]  inherited\n" in told
    assert "  2  Q 1.00 [################]\n" in told
    assert "       0.50  look  Why not?  drawn 2 times  taken\n       0.25  go  Why not?\n" in told
    assert "> fly  (not admissible)" in told and "> hm  (not in the agreed form)" in told


def test_a_person_may_leave_or_see_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    episode = Episode("e", "g", "any", "A room.", (turn("one"), turn("two"), turn("three")), reward=1.0)
    for pressed, seen in (("\r q", ["one"]), ("a", ["one", "two", "three"]), ("xxx", ["one", "two", "three"])):
        keys, left = Keys(), list(pressed.replace(" ", ""))
        keys._waits = True
        monkeypatch.setattr("click.getchar", lambda left=left: left.pop(0))
        told = plain(printed(Watched(episode), keys))
        assert re.findall(r"> (\w+)", told) == seen
        assert not left
