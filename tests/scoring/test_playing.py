"""What comes of a panel is the same in one process and in two, on both engines, and after a kill."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.home import journals_folder
from agentprm_dagster.scoring import score
from agentprm_dagster.scoring.card import Card, read_card
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.scored import Wanted, scored


def outcomes(card: Card) -> object:
    """All that may not depend on who played when."""
    return [(run.agent, run.seed, run.games) for run in card.runs], card.results, card.panel_digest


def test_two_processes_play_as_one(handcoded: Card) -> None:
    before = set(journals_folder().glob("score-*.jsonl"))
    both = score("expert:handcoded", panel="smoke", split="valid_seen", caps=(6, 20), seeds=2, processes=2)
    assert outcomes(both) == outcomes(handcoded)
    assert set(journals_folder().glob("score-*.jsonl")) <= before, "the journal is gone when the card is there"


def test_the_stock_engine_plays_alike() -> None:
    wanted = Wanted(panel="smoke", caps=(12,), limit=2, processes=1)
    ours = scored(["expert:handcoded"], wanted, SilentMonitor())
    stock = scored(
        ["expert:handcoded"], Wanted(panel="smoke", caps=(12,), limit=2, processes=1, engine="stock"), SilentMonitor()
    )
    assert outcomes(stock) == outcomes(ours)
    assert (ours.made.engine, stock.made.engine) == ("household", "stock")


PROGRAM = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.provenance.journal import Journal
from agentprm_dagster.scoring import playing, scored
from agentprm_dagster.scoring.players import ExpertPlayer

out, last = Path(sys.argv[1]), int(sys.argv[2])
play, append, find, count = playing.play_chunk, Journal.append, scored.find_agents, [0]

def told(chunk, monitor):
    print(*(game.id for game in chunk.games), sep="\\n", flush=True)
    return play(chunk, monitor)

def deadly(journal, record):
    append(journal, record)
    count[0] += 1
    if count[0] == last:
        os.kill(os.getpid(), signal.SIGKILL)

def by_two(*arguments):
    agents = find(*arguments)
    return replace(agents, players=tuple(replace(player, games_at_once=2) for player in agents.players))

playing.play_chunk, Journal.append, scored.find_agents = told, deadly, by_two
scored._workforce = lambda agents, named, wanted: playing.Workforce(0)
wanted = scored.Wanted(panel="smoke", caps=(6, 20), seeds=2)
scored.scored(["expert:handcoded"], wanted, SilentMonitor(), out=out)
"""
"""argv: the card's file, and after how many chunks it kills itself, two games each."""


def run(out: Path, last: int, code: int) -> list[str]:
    """The games that a process has played before it ended so."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(out), str(last)], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout.splitlines()


def test_a_kill_costs_no_finished_chunk(handcoded: Card, tmp_path: Path) -> None:
    out = tmp_path / "card.json"
    first = run(out, 4, -signal.SIGKILL)
    assert len(first) == 8
    assert not out.exists()
    second = run(out, 0, 0)
    assert len(second) == 2 * 6 - 8, "two seeds of six games, of which eight were kept"
    assert outcomes(read_card(out)) == outcomes(handcoded)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card.html", "card.json", "card.md"]
    assert len(run(out, 0, 0)) == 12, "a card that is there leaves nothing behind that could be out of date"


def test_several_seeds_of_who_draws_nothing_are_refused() -> None:
    with pytest.raises(ScoreError, match=r"--seeds 3: expert:walkthrough draws nothing"):
        score("expert:walkthrough", panel="smoke", split="valid_seen", seeds=3)


@pytest.mark.parametrize(
    ("agents", "words"),
    [
        (("expert:nobody",), "one of expert:handcoded, expert:handcoded_corrected, expert:walkthrough"),
        (("nothing",), "'nothing' is no agent: expected EXPERIMENT:pi_1, a checkpoint's folder"),
        (("expert:handcoded", "expert:handcoded"), "expected each agent once"),
        (("nowhere.py:Mine",), "expected a Python file before the colon"),
    ],
)
def test_who_is_no_agent_is_refused(agents: tuple[str, ...], words: str) -> None:
    with pytest.raises(ScoreError, match=words):
        score(agents, panel="smoke", split="valid_seen")
