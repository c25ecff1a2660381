"""`agentprm score`: its options; what it does stands in `commands.scoring`, which is imported when it is called."""

from dataclasses import dataclass
from pathlib import Path
from re import fullmatch
from typing import Annotated, Literal

import typer

from agentprm_dagster.commands.arguments import AsJson, ComputeName, known_or_none
from agentprm_dagster.config.catalog import DEFAULT_COMPUTE
from agentprm_dagster.config.problems import shortened


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says, checked as far as words can be."""

    panel: str | None
    splits: tuple[str, ...]
    caps: tuple[int, ...]
    seeds: int
    limit: int | None
    prompt: Literal["ours", "paper", "verl-agent"] | None
    temperature: float | None
    max_new_tokens: int | None
    best_of: int
    model: str | None
    settings: tuple[str, ...]
    """`llm.KEY=VALUE` each: how a server is asked, and what it may cost."""
    engine: Literal["household", "stock"]
    processes: int
    training: tuple[float, str] | None
    """Hours, and on what."""
    compute: str


def score(
    agents: Annotated[
        list[str],
        typer.Argument(
            metavar="AGENT...",
            help="EXPERIMENT:pi_1, a checkpoint's folder, a server's URL, expert:NAME, FILE.py:CLASS or a CARD.json; "
            "several are one agent under several seeds.",
        ),
    ],
    panel: Annotated[
        str | None, typer.Option(callback=known_or_none, help="Experiment whose games are played; else the agent's.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which games: one split, or several, with commas.")] = "valid_seen",
    caps: Annotated[str, typer.Option(help="Actions within which a game is to be won, with commas.")] = "20,30,50",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Sampling seeds.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="So many games of each split, evenly spread by id.")] = None,
    prompt: Annotated[Literal["ours", "paper", "verl-agent"] | None, typer.Option(help="How it is asked.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2, help="Of sampling; 0 is greedy.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, max=2**20, help="Tokens of an answer.")] = None,
    best_of: Annotated[int, typer.Option(min=1, max=4096, help="N of Best-of-N by the iteration's PRM.")] = 1,
    model: Annotated[str | None, typer.Option(help="Its name at the server.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="llm.KEY=VALUE",
            help="Change one setting of a model behind a server, as llm.concurrency or llm.budget_tokens; repeatable.",
        ),
    ] = None,
    engine: Annotated[Literal["household", "stock"], typer.Option(help="Fast engine or stock engine.")] = "household",
    processes: Annotated[int, typer.Option(min=0, max=1024, help="That play; 0: as many as there are cores.")] = 0,
    name: Annotated[str | None, typer.Option(help="What the card calls it.")] = None,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="CARD.json to write; a .md and a .html lie beside it.")
    ] = None,
    against: Annotated[Path | None, typer.Option(dir_okay=False, help="Compare with this card, game by game.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Check cards: recompute all, replay every game.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Print a table of cards, in Markdown.")] = False,
    training_hours: Annotated[
        float | None, typer.Option(min=0, help="Hours that training took, where no manifests tell.")
    ] = None,
    trained_on: Annotated[str | None, typer.Option(help="The hardware of --training-hours.")] = None,
    compute: ComputeName = DEFAULT_COMPUTE,
    as_json: AsJson = False,
) -> None:
    """Score an agent on a panel of games: a card that anybody can check. With --check exit code 1 if anything in a
    card is not so, 3 if nothing is wrong but not all could be checked here.
    """
    from agentprm_dagster.commands.scoring import check_cards, score_agents, table_of

    if check:
        raise typer.Exit(check_cards(agents, as_json=as_json))
    if table:
        table_of(agents)
        return
    asked = Asked(
        panel=panel,
        splits=_words(split),
        caps=_caps(caps),
        seeds=seeds,
        limit=limit,
        prompt=prompt,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        best_of=best_of,
        model=model,
        settings=tuple(settings or ()),
        engine=engine,
        processes=processes,
        training=_training(training_hours, trained_on),
        compute=compute,
    )
    score_agents(agents, asked, name, _json_file(out), against, as_json=as_json)


def _words(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    if not all(words) or len(set(words)) < len(words):
        raise typer.BadParameter(f"--split: expected splits, each once, as in valid_seen; got {shortened(text)!r}")
    return words


def _caps(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(fullmatch("[0-9]{1,5}", part) and 0 < int(part) <= 10_000 for part in parts):
        raise typer.BadParameter(f"--caps: expected numbers of actions, as in 20,30,50; got {shortened(text)!r}")
    return tuple(map(int, parts))


def _training(hours: float | None, hardware: str | None) -> tuple[float, str] | None:
    if (hours is None) != (not hardware):
        raise typer.BadParameter("--training-hours and --trained-on are told together")
    return None if hours is None or not hardware else (hours, hardware)


def _json_file(path: Path | None) -> Path | None:
    if path is not None and (path.suffix != ".json" or not path.parent.is_dir()):
        raise typer.BadParameter(f"--out: expected a file that ends in .json, in a folder that is there; got {path}")
    return path
