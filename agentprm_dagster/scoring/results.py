"""Every number of a card, as a function of the games' records alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean

from agentprm_dagster.algorithm.statistics import spread, wilson_interval
from agentprm_dagster.scoring.panel import Panel
from agentprm_dagster.scoring.records import PlayedGame, Run
from agentprm_dagster.section import NotNegative, Section


class Rate(Section):
    """A success rate, the mean over runs, with the 95% interval (Wilson) that so many games allow."""

    n: NotNegative
    rate: float
    low: float
    high: float


class OverRuns(Section):
    """Success rates of several runs: their mean with its 95% interval (Student's t), the least and the most."""

    mean: float
    low: float
    high: float
    least: float
    most: float


class Result(Section):
    """How often a split's games are won within a number of actions, and what else happened in them."""

    split: str
    cap: NotNegative
    n: NotNegative
    """Games; each was played once in every run."""
    successes: tuple[NotNegative, ...]
    """Of each run."""
    micro: Rate
    macro: float
    """The mean over kinds of tasks."""
    by_kind: dict[str, Rate]
    actions_won: float | None
    """Mean actions of won games; None without one."""
    invalid: float | None
    """Share of answers whose command is not accepted; None without an answer. As the next, of the first `cap`."""
    unparsed: float | None
    """Share of answers without a command in the agreed form."""
    circling: float
    """Share of games that were lost in circles (`records.CIRCLING`)."""
    over_runs: OverRuns | None
    """None of one run."""


def results(panel: Panel, runs: Sequence[Run]) -> tuple[Result, ...]:
    """A row for every split and cap."""
    return tuple(_result(panel, runs, split, cap) for split in sorted(panel.splits) for cap in panel.caps)


def _result(panel: Panel, runs: Sequence[Run], split: str, cap: int) -> Result:
    kinds = {game.id: game.kind for game in panel.splits[split]}
    played = [run.games[split] for run in runs]
    everything = [game for games in played for game in games]
    successes = [sum(game.won_within(cap) for game in games) for games in played]
    by_kind = dict(_by_kind(kinds, played, cap))
    won = [len(game.commands) for game in everything if game.won_within(cap)]
    return Result(
        split=split,
        cap=cap,
        n=len(kinds),
        successes=tuple(successes),
        micro=_rate(successes, len(kinds)),
        macro=fmean(rate.rate for rate in by_kind.values()),
        by_kind=by_kind,
        actions_won=fmean(won) if won else None,
        invalid=_share(everything, cap, lambda game: game.invalid),
        unparsed=_share(everything, cap, lambda game: game.unparsed),
        circling=fmean(game.circled_within(cap) for game in everything),
        over_runs=_over_runs([count / len(kinds) for count in successes]),
    )


def _by_kind(kinds: Mapping[str, str], played: Sequence[Sequence[PlayedGame]], cap: int) -> Iterator[tuple[str, Rate]]:
    for kind in sorted(set(kinds.values())):
        of_kind = [[game for game in games if kinds[game.id] == kind] for games in played]
        wins = [sum(game.won_within(cap) for game in games) for games in of_kind]
        yield kind, _rate(wins, sum(each == kind for each in kinds.values()))


def _rate(successes: Sequence[int], n: int) -> Rate:
    mean = fmean(successes)
    low, high = wilson_interval(mean, n)
    return Rate(n=n, rate=mean / n, low=low, high=high)


def _share(games: Sequence[PlayedGame], cap: int, turns: Callable[[PlayedGame], Sequence[int]]) -> float | None:
    answers = sum(min(len(game.commands), cap) for game in games)
    return sum(turn < cap for game in games for turn in turns(game)) / answers if answers else None


def _over_runs(rates: Sequence[float]) -> OverRuns | None:
    if len(rates) < 2:
        return None
    found = spread(rates)
    return OverRuns(mean=found.mean, low=found.low, high=found.high, least=found.least, most=found.most)
