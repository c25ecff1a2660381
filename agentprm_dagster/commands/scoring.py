"""What `agentprm score` does: scores an agent, checks cards, compares them, prints a table of them."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import typer
from pydantic import JsonValue
from rich.markup import escape

from agentprm_dagster.bundles.findings import exit_code
from agentprm_dagster.commands.score import Asked
from agentprm_dagster.commands.tables import print_table
from agentprm_dagster.config.catalog import load_compute, require_experiment
from agentprm_dagster.config.compose import composed
from agentprm_dagster.config.problems import shortened
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.episodes.visible import one_line
from agentprm_dagster.scoring.against import against as compared
from agentprm_dagster.scoring.agents import experiment_of
from agentprm_dagster.scoring.card import Card, read_card
from agentprm_dagster.scoring.checking import check
from agentprm_dagster.scoring.files import write_card
from agentprm_dagster.scoring.leaderboard import leaderboard
from agentprm_dagster.scoring.policies import Wishes
from agentprm_dagster.scoring.scored import Wanted, scored
from agentprm_dagster.scoring.words import tables
from agentprm_dagster.stages.available import require
from agentprm_dagster.stages.monitor import StageMonitor, progress_bars

_OTHERWISE = {
    "llm.temperature": "use --temperature",
    "llm.max_new_tokens": "use --max-new-tokens",
    "llm.evaluate": "an experiment's alone",
}
"""Settings of a served model that a score does not take here, and why."""

_log = logging.getLogger(__name__)


def score_agents(
    agents: Sequence[str], asked: Asked, name: str | None, out: Path | None, other: Path | None, *, as_json: bool
) -> None:
    """Plays and prints the card, or what it is beside another; a card that is named is not played again.

    Raises:
        ScoreError, ExperimentError, ArtifactError, TasksNotFoundError, CheckpointError: see `scoring.scored`.
    """
    if len(agents) == 1 and agents[0].endswith(".json"):
        card = read_card(Path(agents[0]))
        card = card.model_copy(update={"name": name or card.name})
        if out:
            write_card(card, out)
    else:
        card = _scored(agents, asked, name, out)
    if other:
        _print_against(card, read_card(other), as_json=as_json)
    elif as_json:
        print(card.to_json(), end="")
    else:
        _print_card(card)


def _scored(agents: Sequence[str], asked: Asked, name: str | None, out: Path | None) -> Card:
    own = experiment_of(agents[0])
    if own:
        require_experiment(own)
    computed_by = load_compute(asked.compute)
    require(computed_by)
    wanted = Wanted(
        panel=asked.panel or own or "alfworld",
        splits=asked.splits,
        caps=asked.caps,
        seeds=asked.seeds,
        limit=asked.limit,
        wishes=Wishes(
            prompt=asked.prompt,
            temperature=asked.temperature,
            max_new_tokens=asked.max_new_tokens,
            best_of=asked.best_of,
            llm=_served(asked.settings),
        ),
        model=asked.model,
        engine=asked.engine,
        computed_by=computed_by.engine,
        processes=asked.processes,
        training=asked.training,
    )
    with progress_bars():
        return scored(agents, wanted, StageMonitor("score", _log.debug, SilentMonitor()), name=name, out=out)


def _served(settings: Sequence[str]) -> dict[str, JsonValue]:
    """The settings of a served model that were given, checked as those of an experiment are."""
    keys = [text.partition("=")[0] for text in settings]
    if wrong := [key for key in keys if not key.startswith("llm.") or key in _OTHERWISE]:
        told = "; ".join(f"{key}: {_OTHERWISE[key]}" if key in _OTHERWISE else key for key in wrong)
        raise typer.BadParameter(
            f"--set: expected settings of a model behind a server, as in llm.concurrency=16; got {shortened(told)}"
        )
    names = {key.split(".")[1] for key in keys}
    return composed("smoke", settings=settings).llm.model_dump(mode="json", include=names) if names else {}


def _print_card(card: Card) -> None:
    success, kinds, _ = tables(card)
    print(one_line(card.name))
    _print_table(success.columns, success.rows, 5)
    _print_table(kinds.columns, kinds.rows, 2)
    print(f"panel {card.panel_digest[:16]}, asked {card.protocol_digest[:16]}")


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], least: int) -> None:
    """Prints what cards say, which may be foreign, so that nothing of it acts on the terminal."""

    def plain(cells: Sequence[str]) -> list[str]:
        return [escape(one_line(cell, 200)) for cell in cells]

    print_table(plain(columns), map(plain, rows), least)


def _print_against(card: Card, other: Card, *, as_json: bool) -> None:
    found = compared(card, other)
    if as_json:
        print(json.dumps([asdict(line) for line in found], indent=2))
        return
    rows = [
        (
            line.split,
            str(line.cap),
            f"{100 * line.difference:+.1f}",
            f"{100 * line.low:+.1f} to {100 * line.high:+.1f}",
            str(line.n),
            str(len(line.won_alone)),
            str(len(line.lost_alone)),
        )
        for line in found
    ]
    columns = ("split", "actions", "difference %", "95%", "games", "won alone", "lost alone")
    print(f"{one_line(card.name)} beside {one_line(other.name)}")
    _print_table(columns, rows, 5)
    for line in found:
        for what, games in (("won", line.won_alone), ("lost", line.lost_alone)):
            if games:
                print(f"{line.split}, {line.cap} actions, {what} alone: {', '.join(map(one_line, games))}")


def check_cards(paths: Sequence[str], *, as_json: bool) -> int:
    """Checks cards; the exit code."""
    code, told = 0, []
    for path in paths:
        checks = list(check(read_card(Path(path))))
        told.append({"card": path, "checks": [asdict(each) for each in checks]})
        found = exit_code(checks)
        code = 1 if 1 in (code, found) else max(code, found)
        if as_json:
            continue
        for each in checks:
            verdict = "differs" if each.differences else "not all checked" if each.not_done else "as it says"
            typer.echo(f"{path}: {each.name}: {each.counted}: {verdict}")
            for words in (*each.differences, *each.not_done):
                typer.echo(f"  {one_line(words, 1000)}")
    if as_json:
        print(json.dumps(told, indent=2))
    return code


def table_of(paths: Sequence[str]) -> None:
    """Prints a table of cards for each panel."""
    print(leaderboard([read_card(Path(path)) for path in paths]), end="")
