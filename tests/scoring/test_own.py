"""A class that a user writes, in a file or in Python, and the searcher of examples/."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from agentprm_dagster.scoring import score
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.own import read_command

ROOT = Path(__file__).parents[2]


class Looks:
    """Looks around, as a whole answer; at the first turn it says nothing of use."""

    def reset(self, observation: str, commands: Sequence[str]) -> None:
        self.first = observation
        self.turn = 0

    def act(self, observation: str, commands: Sequence[str]) -> str:
        assert (observation == self.first) is (self.turn == 0)
        assert "look" in commands
        self.turn += 1
        return "I do not know.\nPerhaps later." if self.turn == 1 else "REASON: I look.\nACTION: look"


class Draws:
    """One of the admissible commands, by its seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def reset(self, observation: str, commands: Sequence[str]) -> None:
        pass

    def act(self, observation: str, commands: Sequence[str]) -> str:
        self.seed = self.seed * 6364136223846793005 % 2**64 + 1
        return commands[self.seed % len(commands)]


def test_a_class_is_scored_from_python() -> None:
    card = score(Looks, panel="smoke", split="valid_seen", caps=(3, 12))
    (run,) = card.runs
    for game in run.games["valid_seen"]:
        assert game.commands == ("", *["look"] * 11)
        assert (game.unparsed, game.invalid, game.won) == ((0,), (0,), False)
    assert [row.circling for row in card.results] == [0, 1]
    assert card.results[0].unparsed == pytest.approx(1 / 3)
    assert (card.agents[0].kind, card.protocol.prompt) == ("python", None)


def test_a_class_that_takes_a_seed_may_be_scored_with_several() -> None:
    card = score(Draws, panel="smoke", split="valid_seen", caps=(5,), seeds=2)
    first, second = (run.games["valid_seen"] for run in card.runs)
    assert all(one.commands != other.commands for one, other in zip(first, second, strict=True))
    assert len({game.commands for game in first}) == len(first), "another seed in every game"
    again = score(Draws, panel="smoke", split="valid_seen", caps=(5,), seeds=2)
    assert [run.games for run in again.runs] == [run.games for run in card.runs]
    with pytest.raises(ScoreError, match="Looks draws nothing"):
        score(Looks, panel="smoke", split="valid_seen", seeds=2)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("look", "look"),
        ("  go to desk 1 \n", "go to desk 1"),
        ("REASON: why\nACTION: look", "look"),
        ("ACTION: look", ""),
        ("look\naround", ""),
        ("", ""),
    ],
)
def test_a_command_or_a_whole_answer(text: str, command: str) -> None:
    said = read_command(text)
    assert (said.action, said.parsed) == (command, bool(command))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("class Mine:\n    def act(self, observation, commands): return 'look'\n", "lacks reset"),
        ("Mine = 3\n", "has no class Mine"),
        ("import nothing_of_this_name\n", "cannot be run: ModuleNotFoundError"),
        (
            "class Mine:\n    def reset(self, o, c): pass\n    def act(self, o, c): return 1\n",
            "turn 0: expected a text from act, got int",
        ),
        (
            "class Mine:\n    def reset(self, o, c): pass\n    def act(self, o, c): raise KeyError('mug')\n",
            "act of the agent failed: KeyError: 'mug'",
        ),
    ],
)
def test_what_is_wrong_with_a_class_is_said(source: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(ScoreError, match=words):
        score(f"{tmp_path / 'mine.py'}:Mine", panel="smoke", split="valid_seen", processes=1)


def test_the_searcher_wins(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "searcher.py", tmp_path)
    card = score(
        f"{tmp_path / 'searcher.py'}:Searcher", panel="smoke", split=("valid_seen", "valid_unseen"), processes=1
    )
    last = [row for row in card.results if row.cap == 50]
    assert [row.micro.rate for row in last] == [1, 1]
    assert [row.invalid for row in last] == [0, 0], "it gives admissible commands alone"


def test_a_class_without_a_source_never_goes_on_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
class Mine:
    def reset(self, observation, commands): pass
    def act(self, observation, commands):
        if {fails} and "cool" in observation: raise KeyError("not yet")
        return "{command}"
"""
    monkeypatch.setattr("agentprm_dagster.scoring.own.OwnPlayer.__init__.__defaults__", (1,))
    first: dict[str, type] = {}
    exec(source.format(fails=True, command="look"), first)
    with pytest.raises(ScoreError, match="not yet"):
        score(first["Mine"], panel="smoke", split="valid_seen", caps=(3,))
    second: dict[str, type] = {}
    exec(source.format(fails=False, command="inventory"), second)
    card = score(second["Mine"], panel="smoke", split="valid_seen", caps=(3,))
    assert {game.commands for game in card.runs[0].games["valid_seen"]} == {("inventory",) * 3}
