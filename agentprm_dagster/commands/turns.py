"""An episode in a terminal, turn by turn; a person goes on by a key."""

import sys
from collections.abc import Callable, Sequence

import click
import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from agentprm_dagster.agents.noting_judge import Candidate
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Turn
from agentprm_dagster.episodes.values import TurnValue
from agentprm_dagster.episodes.visible import one_line, visible
from agentprm_dagster.reports.watched import Watched

INDENT = 5
BAR = 16
"""Letters of a value that is drawn."""


class Keys:
    """Waits for a key between two turns, where a person sits at a terminal."""

    def __init__(self) -> None:
        self._waits = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()

    def go_on(self) -> bool:
        """Whether the next turn is wanted."""
        if not self._waits:
            return True
        typer.secho("any key: next turn, a: all, q: quit", dim=True, nl=False)
        try:
            pressed = click.getchar()
        except (EOFError, KeyboardInterrupt):
            pressed = "q"
        print("\r\x1b[K", end="", flush=True)
        self._waits = pressed != "a"
        return pressed not in ("q", "\x1b")


def show(
    watched: Watched,
    task: Callable[[str], str],
    console: Console,
    keys: Keys,
    candidates: Sequence[Sequence[Candidate]] = (),
) -> None:
    """Shows an episode; `candidates` are those of each turn, where they are known."""
    episode = watched.episode
    outcome = Text("won" if episode.won else "lost", style="bold green" if episode.won else "bold red")
    expected = f"mean Q {watched.expected:.2f}" if watched.values else ""
    facts = (watched.played, f"{len(episode.turns)} actions", expected)
    console.print(outcome, Text(one_line(task(episode.first_observation)), style="bold"))
    console.print(Text(one_line(episode.episode_id)), style="dim")
    console.print(Text(", ".join(filter(None, facts))), style="dim")
    console.print(Text(f"\n{visible(episode.first_observation)}"))
    values: Sequence[TurnValue | None] = watched.values or [None] * len(episode.turns)
    for i, (turn, value) in enumerate(zip(episode.turns, values, strict=True)):
        if not keys.go_on():
            return
        _show_value(console, i + 1, value, inherited=i < episode.start)
        if i < len(candidates):
            _show_candidates(console, candidates[i])
        _show_turn(console, turn)


def _show_value(console: Console, number: int, value: TurnValue | None, *, inherited: bool) -> None:
    head = Text(f"\n{number:3}  ")
    if value:
        head.append(f"Q {value.q:.2f} {_bar(value.q)}", "blue")
        head.append(f"  V {value.after:.2f} {_bar(value.after)}" if value.after is not None else "", "yellow")
    head.append("  inherited" if inherited else "", "dim")
    console.print(head)


def _show_turn(console: Console, turn: Turn) -> None:
    command = Text(f"> {one_line(turn.action if turn.parsed else turn.response)}", "bold")
    command.append("" if turn.parsed else "  (not in the agreed form)", "red")
    command.append("" if turn.admissible else "  (not admissible)", "red")
    for line in (Text(one_line(turn.reason), "italic"), command, Text(visible(turn.observation))):
        if line.plain:
            _indented(console, line)


def _show_candidates(console: Console, candidates: Sequence[Candidate]) -> None:
    """What was drawn, the best first; an answer that was drawn several times stands once."""
    answers: dict[str, list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda each: -each.value):
        answers.setdefault(candidate.text, []).append(candidate)
    for text, drawn in answers.items():
        answer = parse_answer(text)
        line = Text(f"  {drawn[0].value:.2f}  ", "blue")
        line.append(one_line(answer.action if answer.parsed else text), "")
        line.append(f"  {one_line(answer.reason)}", "italic dim")
        line.append(f"  drawn {len(drawn)} times" if len(drawn) > 1 else "", "dim")
        line.append("  taken" if any(each.taken for each in drawn) else "", "bold green")
        _indented(console, line)


def _indented(console: Console, line: Text) -> None:
    console.print(Padding(line, (0, 0, 0, INDENT), expand=False))


def _bar(value: float) -> str:
    return f"[{'#' * round(value * BAR)}{'.' * (BAR - round(value * BAR))}]"
