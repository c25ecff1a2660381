"""What a card says, in lines and tables of plain text; Markdown and the page only lay it out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agentprm_dagster.envs.kinds import KINDS
from agentprm_dagster.scoring.card import Card
from agentprm_dagster.scoring.results import Rate, Result


@dataclass(frozen=True)
class Table:
    """A table under its heading."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    about: str = ""


def percent(share: float | None) -> str:
    """A share in percent; a dash for what was not counted."""
    return "-" if share is None else f"{100 * share:.1f}"


def rate(found: Rate) -> str:
    """A rate with its interval, in percent."""
    return f"{percent(found.rate)} ({percent(found.low)} to {percent(found.high)})"


def tables(card: Card) -> Iterator[Table]:
    """The card's tables, the most telling first."""
    yield _success(card.results, len(card.runs))
    yield _by_kind(card.results, _headings(card))
    yield Table("What was scored", ("", ""), tuple(_about(card)))


def _success(results: Sequence[Result], runs: int) -> Table:
    columns = ["split", "actions", "games", "won", "success % (95%)", "mean over kinds %", "actions of won"]
    columns += ["not accepted %", "unparsed %", "in circles %"]
    columns += [f"over {runs} runs % (95%)"] if runs > 1 else []
    about = "The interval is Wilson's, over games."
    if runs > 1:
        about += " That over runs is Student's t; its bounds may leave 0 to 100."
    return Table("Success", tuple(columns), tuple(tuple(_cells(result)) for result in results), about)


def _cells(result: Result) -> Iterator[str]:
    yield from (result.split, str(result.cap), str(result.n), ", ".join(map(str, result.successes)))
    yield rate(result.micro)
    yield percent(result.macro)
    yield "-" if result.actions_won is None else f"{result.actions_won:.1f}"
    yield from map(percent, (result.invalid, result.unparsed, result.circling))
    if over := result.over_runs:
        yield f"{percent(over.mean)} ({percent(over.low)} to {percent(over.high)})"


def _headings(card: Card) -> Mapping[str, str]:
    """What tables call the kinds of tasks, in their order; their own names where the environment is not known here."""
    known = card.panel.kind.task_kinds if card.panel.environment in KINDS else {}
    found = {kind for result in card.results for kind in result.by_kind}
    return {kind: known.get(kind, kind) for kind in [*known, *sorted(found - known.keys())] if kind in found}


def _by_kind(results: Sequence[Result], kinds: Mapping[str, str]) -> Table:
    rows = (
        (
            result.split,
            str(result.cap),
            *(
                f"{percent(result.by_kind[kind].rate)} of {result.by_kind[kind].n}" if kind in result.by_kind else "-"
                for kind in kinds
            ),
        )
        for result in results
    )
    return Table("By kind of task, %", ("split", "actions", *kinds.values()), tuple(rows))


def _about(card: Card) -> Iterator[tuple[str, str]]:
    for agent in card.agents:
        more = [f"{agent.parameters:,} parameters"] if agent.parameters else []
        more += [f"{key} {value}" for key, value in agent.details.items()]
        more += [f"{key} {digest[:16]}" for key, digest in agent.digests.items()]
        yield "agent", ", ".join([f"{agent.name} ({agent.kind})", *more])
    panel = card.panel
    games = ", ".join(f"{split} {len(games)} games" for split, games in panel.splits.items())
    yield "panel", f"{card.panel_digest[:16]}: {panel.environment}, rules {panel.rules}, {games}"
    yield "games as in", f"experiment {panel.source.experiment}, seed {panel.source.seed}{_limited(panel.source.limit)}"
    yield "asked", _asked(card)
    read, drawn = (sum(getattr(run, name) for run in card.runs) for name in ("tokens_read", "tokens_drawn"))
    yield "took", f"{sum(run.seconds for run in card.runs):,.1f} s, {read:,} tokens read, {drawn:,} drawn"
    yield "made with", ", ".join(f"{name} {value}" for name, value in card.made.environment.items())
    yield "code", f"agentprm_dagster {card.made.package}, commit {card.made.commit or 'unknown'}, {card.made.engine}"
    if card.training:
        by = "stated by the user" if card.training.stated else "from the manifests of what it was made from"
        yield "training", f"{card.training.hours:g} hours on {card.training.processor} ({by})"


def _limited(count: int | None) -> str:
    return f", {count} of each split, evenly spread by id" if count else ""


def _asked(card: Card) -> str:
    asked = card.protocol
    if asked.prompt is None:
        words = "by observations and admissible commands, without a prompt"
    else:
        words = f"prompt {asked.prompt}, temperature {asked.temperature}, at most {asked.max_new_tokens} tokens"
    chosen = f", best of {asked.best_of}" if asked.best_of > 1 else ""
    return f"{words}{chosen}, seeds {', '.join(map(str, asked.seeds))}"
