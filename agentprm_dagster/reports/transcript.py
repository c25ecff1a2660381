"""An episode as text in Markdown, a PRM's values beside its turns: a few lines for a page that a stage shows."""

import re
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.episodes.values import TurnValue
from agentprm_dagster.episodes.visible import one_line, visible
from agentprm_dagster.reports.watched import Watched

MOST_TURNS = 30
MOST_LETTERS = 200
"""Of each observation and action."""


def transcript(watched: Watched) -> str:
    """The episode's beginning and turns in a block that nothing in them can end."""
    episode = watched.episode
    lines = [visible(episode.first_observation, 10 * MOST_LETTERS), ""]
    lines += ["turn     Q     V  action and what followed"] if watched.values else []
    values: Sequence[TurnValue | None] = watched.values or [None] * len(episode.turns)
    for number, (turn, value) in enumerate(zip(episode.turns[:MOST_TURNS], values, strict=False), 1):
        action = one_line(turn.action if turn.parsed else turn.response, MOST_LETTERS)
        start = f"{number:4}{_numbers(value)}"
        lines += [f"{start}  > {action}", f"{' ' * len(start)}  {one_line(turn.observation, MOST_LETTERS)}"]
    if (left_out := len(episode.turns) - MOST_TURNS) > 0:
        lines.append(f"... {left_out:,} more turns")
    text = "\n".join(lines)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=2))
    name = f"**{'Won' if episode.won else 'Lost'}**: {_plain(episode.episode_id)}"
    return f"{name}\n\n{fence}\n{text}\n{fence}\n"


def _numbers(value: TurnValue | None) -> str:
    if value is None:
        return ""
    return f"  {value.q:.2f}  {'    ' if value.after is None else f'{value.after:.2f}'}"


def _plain(text: str) -> str:
    """As it is, whatever Markdown would make of it."""
    return re.sub(r"([\\`*_\[\]<>|~#&])", r"\\\1", one_line(text, MOST_LETTERS))


def with_transcripts(report: StageReport, watched: Sequence[Watched], page: str) -> StageReport:
    """A report whose page ends with a won and a lost episode, if there are, and names the file that shows more of them.

    Of those with values the ones with the highest mean Q are taken.
    """
    picked = [
        max((each for each in watched if each.episode.won == won), key=attrgetter("expected"), default=None)
        for won in (True, False)
    ]
    where = f"## Episodes\n\n`{page}`, in this artifact's folder, shows more of them to look at in a browser.\n"
    preview = "\n".join([report.preview, "", where, *(transcript(each) for each in picked if each)])
    return replace(report, preview=preview)
