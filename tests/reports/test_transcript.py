"""An episode in Markdown: nothing in it ends the block that it stands in."""

import re

from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.episodes.values import TurnValue
from agentprm_dagster.reports.transcript import MOST_TURNS, transcript, with_transcripts
from agentprm_dagster.reports.watched import Watched


def episode(name: str, turns: int = 2, *, won: bool = False, text: str = "You look.") -> Episode:
    return Episode(name, name, "any", "A room.", (Turn("", "look", text, ""),) * turns, reward=float(won))


def test_values_stand_beside_turns() -> None:
    written = transcript(Watched(episode("a_b", won=True), [TurnValue(0.25, 0.5), TurnValue(0.75, None)]))
    assert written == (
        "**Won**: a\\_b\n\n```\nA room.\n\nturn     Q     V  action and what followed\n"
        "   1  0.25  0.50  > look\n                  You look.\n   2  0.75        > look\n"
        "                  You look.\n```\n"
    )
    assert "   1  > look\n      You look.\n" in transcript(Watched(episode("a")))


def test_what_an_environment_says_ends_no_block() -> None:
    written = transcript(Watched(episode("`x`<b>", text="one\n```\n# two ````\n\x1b[2Jthree")))
    (fence,) = re.findall(r"^(`+)$", written, re.MULTILINE)[:1]
    assert len(fence) == 5
    assert written.count(fence) == 2
    assert "one ``` # two ```` \\x1b[2Jthree" in written
    assert "**Lost**: \\`x\\`\\<b\\>" in written


def test_a_page_has_one_of_each_and_names_the_file() -> None:
    some = [
        Watched(episode("low", won=True), [TurnValue(0.1, None)] * 2),
        Watched(episode("high", won=True), [TurnValue(0.2, None)] * 2),
        Watched(episode("long", MOST_TURNS + 2), [TurnValue(0.9, None)] * (MOST_TURNS + 2)),
    ]
    page = with_transcripts(StageReport({}, (), "| a table |"), some, "episodes.html").preview
    assert page.startswith("| a table |\n\n## Episodes\n\n`episodes.html`, in this artifact's folder")
    assert "**Won**: high" in page and "**Lost**: long" in page and ": low" not in page
    assert "... 2 more turns" in page
    assert with_transcripts(StageReport({}, (), ""), [], "x").preview.count("**") == 0
