"""`agentprm compare`: which policy wins more of the same games, game by game, from the store alone."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from agentprm_dagster.algorithm.statistics import ComparisonError, Difference, Spread, paired_difference, spread
from agentprm_dagster.commands.report import tell_left_out
from agentprm_dagster.commands.tables import print_table
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.reports.results import Row, policy_name
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.stages.evaluations import Outcomes, current_outcomes
from agentprm_dagster.stages.seeds import by_seed

COLUMNS = ("split", "policy", "beside", "wins more", "95% interval", "n", "alone won", "alone lost")

ALL = "all"
"""In a line's place for a split: all splits together."""


@dataclass(frozen=True)
class Line:
    """One comparison."""

    split: str
    policy: str
    beside: str
    difference: Difference


@dataclass(frozen=True)
class SeedLine:
    """One comparison over several seeds, in the games of each."""

    split: str
    policy: str
    beside: str
    seeds: tuple[int, ...]
    difference: Spread
    """Of the differences of single seeds."""


def print_comparison(experiment: str, other: str | None, *, as_json: bool) -> None:
    """Prints how an experiment's policies do beside pi_0 and beside themselves answering greedily, or beside the
    policies of the same names of another experiment; with that also over the seeds that both were run with.
    """
    store = ArtifactsResource().store()
    lines = list(_within(store, experiment) if other is None else _between(store, experiment, other))
    for each in (experiment, other) if other else (experiment,):
        tell_left_out(store, each)
    over_seeds = list(_over_seeds(store, experiment, other)) if other else []
    if as_json:
        both: list[Line | SeedLine] = [*lines, *over_seeds]
        records = [{**vars(line), **asdict(line.difference)} for line in both]
        for record in records:
            del record["difference"]
        print(json.dumps(records, indent=2))
        return
    print_table(COLUMNS, [*map(_cells, lines), *map(_seed_cells, over_seeds)], len(COLUMNS) - 3)


def _cells(line: Line) -> tuple[str, ...]:
    found = line.difference
    interval = f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"
    counts = (str(found.n), str(found.won_alone), str(found.lost_alone))
    return line.split, line.policy, line.beside, f"{100 * found.rate:+.1f}", interval, *counts


def _seed_cells(line: SeedLine) -> tuple[str, ...]:
    mean = line.difference
    interval = f"{100 * mean.low:+.1f} to {100 * mean.high:+.1f}"
    beside = f"{line.beside}, seeds {', '.join(map(str, line.seeds))}"
    return line.split, line.policy, beside, f"{100 * mean.mean:+.1f}", interval, "", "", ""


def _within(store: ArtifactStore, experiment: str) -> Iterator[Line]:
    played = _by_policy(store, experiment)
    if not played:
        raise ComparisonError(f"{experiment} has evaluated nothing yet: `agentprm run {experiment}` does it")
    greedy = {row["policy"]: policy for policy, (row, _) in played.items() if row["ranked_by"] is None}
    if "pi_0" not in greedy:
        raise ComparisonError(f"{experiment} has not evaluated pi_0: `agentprm run {experiment}` does it")
    for policy, (row, _) in played.items():
        for beside in dict.fromkeys((greedy["pi_0"], greedy[row["policy"]])):
            if beside != policy:
                yield from _lines(policy, played[policy][1], beside, played[beside][1])


def _between(store: ArtifactStore, experiment: str, other: str) -> Iterator[Line]:
    ours, theirs = _by_policy(store, experiment), _by_policy(store, other)
    shared = [policy for policy in ours if policy in theirs]
    if not shared:
        raise ComparisonError(
            f"{experiment} has evaluated {', '.join(ours) or 'nothing'}, {other} {', '.join(theirs) or 'nothing'}: "
            "expected a policy that both have"
        )
    for policy in shared:
        caps = {row["max_steps"] for row in (ours[policy][0], theirs[policy][0])}
        if len(caps) > 1:
            raise ComparisonError(
                f"{policy} was given {' and '.join(map(str, sorted(caps)))} actions: expected as many"
            )
        yield from _lines(policy, ours[policy][1], other, theirs[policy][1])


def _over_seeds(store: ArtifactStore, experiment: str, other: str) -> Iterator[SeedLine]:
    """The mean difference of every policy over the seeds that both experiments have, where these are several."""
    ours, theirs = by_seed(store, experiment), by_seed(store, other)
    seeds = tuple(sorted(ours.keys() & theirs.keys()))
    if len(seeds) < 2:
        return
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    for seed in seeds:
        for line in _between(store, ours[seed], theirs[seed]):
            rates[line.split, line.policy].append(line.difference.rate)
    for (split, policy), found in rates.items():
        if len(found) == len(seeds):
            yield SeedLine(split, policy, other, seeds, spread(found))


def _by_policy(store: ArtifactStore, experiment: str) -> dict[str, tuple[Row, dict[str, Outcomes]]]:
    """A row of every policy, and its games by split."""
    found: dict[str, tuple[Row, dict[str, Outcomes]]] = {}
    for row, outcomes in current_outcomes(store, experiment):
        found.setdefault(policy_name(row), (row, {}))[1][row["split"]] = outcomes
    return found


def _lines(policy: str, ours: dict[str, Outcomes], beside: str, theirs: dict[str, Outcomes]) -> Iterator[Line]:
    splits = [split for split in ours if split in theirs]
    for split in splits:
        yield Line(split, policy, beside, paired_difference(ours[split], theirs[split]))
    if len(splits) > 1:
        yield Line(ALL, policy, beside, paired_difference(_together(ours, splits), _together(theirs, splits)))


def _together(outcomes: dict[str, Outcomes], splits: list[str]) -> Outcomes:
    return {(split, *game): won for split in splits for game, won in outcomes[split].items()}
