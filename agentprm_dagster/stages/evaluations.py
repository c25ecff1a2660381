"""The evaluations that are in the store: which of them belong together, their rows and outcomes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from agentprm_dagster.algorithm.targets import discounted_outcome
from agentprm_dagster.episodes.tables import EPISODES
from agentprm_dagster.iterations import FIRST
from agentprm_dagster.provenance.agreement import find_conflict
from agentprm_dagster.provenance.announcements import ROLE
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.manifest import Manifest, Version
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.reports.evaluation import EVALUATION, folder_name
from agentprm_dagster.reports.results import Row, in_order


@dataclass(frozen=True)
class Evaluated:
    """The evaluations of one run of the loop: each policy goes on from the one before, all judged alike."""

    iterations: tuple[int, ...]
    left_out: tuple[str, ...]
    """Evaluations that are there and do not belong to it, and why not, each in a sentence."""


def evaluated(store: ArtifactStore, experiment: str) -> Evaluated:
    """Which current evaluations belong together: after a change of settings, later iterations are of the old ones
    until they are made again.
    """
    policies = _loop(store, experiment)
    kept: dict[str, Artifact] = {}
    left_out = []
    for report in (_made(store, head) for head in store.heads(experiment) if head.asset == "eval_report"):
        made, first = report.manifest, next(iter(kept.values()), report).manifest
        with_others = {**kept, f"iteration {made.iteration}": report}
        if _read_as("improved_policy", made) != policies.get(made.iteration):
            why = f"whose policy does not go on from the current pi_{made.iteration - 1}, or is not the current one"
        elif made.config["evaluation"] != first.config["evaluation"]:
            why = f"which was judged under other settings than iteration {first.iteration}"
        elif conflict := find_conflict(store, with_others):
            why = f"which was made from another version of {conflict}"
        else:
            kept = with_others
            continue
        left_out.append(f"left out: iteration {made.iteration}, {why}; `agentprm run {experiment}` makes it again")
    if (react := _react_report(store, experiment)) and react.failed:
        left_out.append(f"left out: react_report, which did not pass its gates: {react.failed}")
    return Evaluated(tuple(report.manifest.iteration for report in kept.values()), tuple(left_out))


def _loop(store: ArtifactStore, experiment: str) -> dict[int, Version]:
    """The current policy of every iteration, as far as each was improved from the current one before it."""
    heads = {head.iteration: head for head in store.heads(experiment) if head.asset == "improved_policy"}
    policies: dict[int, Version] = {}
    for iteration, head in heads.items():
        if iteration > FIRST and _read_as(ROLE, _made(store, head).manifest) != policies.get(iteration - 1):
            break
        policies[iteration] = head
    return policies


def _made(store: ArtifactStore, version: Version) -> Artifact:
    return store.read(store.root / version.place)


def _react_report(store: ArtifactStore, experiment: str) -> Manifest | None:
    heads = (head for head in store.heads(experiment) if head.asset == "react_report")
    return next((_made(store, head).manifest for head in heads), None)


def _read_as(role: str, made: Manifest) -> Version | None:
    return next((read.version for read in made.inputs if read.role == role), None)


def current_reports(store: ArtifactStore, experiment: str) -> list[Artifact]:
    """The `eval_report` of every iteration that belongs to the current run of the loop."""
    return [store.current(experiment, "eval_report", i) for i in evaluated(store, experiment).iterations]


def rows_of(report: Artifact) -> list[Row]:
    """The rows of one `eval_report`, or of the `react_report`."""
    rows: list[Row] = json.loads((report.path / EVALUATION).read_text(encoding="utf-8"))
    return rows


def current_rows(store: ArtifactStore, experiment: str) -> list[Row]:
    """The rows of all current evaluations of an experiment, in the order of the table."""
    reports = current_reports(store, experiment)
    if (react := _react_report(store, experiment)) and not react.failed:
        reports.append(store.current(experiment, "react_report", 0))
    return in_order(row for report in reports for row in rows_of(report))


Outcomes = Mapping[tuple[str, ...], bool]
"""Whether each game was won; a game is known by its id and what it says at its start."""


def current_outcomes(store: ArtifactStore, experiment: str) -> Iterator[tuple[Row, Outcomes]]:
    """The rows of what iterations have made, in the order of the table, each with how its games ended."""
    reports = current_reports(store, experiment)
    folders = {id(row): (row, report.path / folder_name(row)) for report in reports for row in rows_of(report)}
    for row in in_order(row for row, _ in folders.values()):
        yield row, outcomes_in(folders[id(row)][1])


def first_returns(folder: Path, gamma: float) -> dict[str, float]:
    """What came of the first answer of each episode of one evaluation, discounted, by the episode's id."""
    heads = pq.read_table(folder / EPISODES, columns=["episode_id", "reward", "turns"])
    names, rewards, turns = (column.to_pylist() for column in heads.columns)
    ended = zip(names, rewards, turns, strict=True)
    return {name: discounted_outcome(reward, 0, count - 1, gamma) for name, reward, count in ended}


def outcomes_in(folder: Path) -> Outcomes:
    """How the games of one evaluation ended, from its folder in its report."""
    heads = pq.read_table(folder / EPISODES, columns=["game", "first_observation", "reward"])
    game, first, rewards = (column.to_pylist() for column in heads.columns)
    return dict(zip(zip(game, first, strict=True), (reward == 1 for reward in rewards), strict=True))
