"""The scores of a bundle computed again from its episodes: rows, the manifest's metrics, the report."""

from collections.abc import Iterator, Mapping
from math import isclose
from typing import Any

from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.bundles.findings import Check
from agentprm_dagster.bundles.opened import Opened
from agentprm_dagster.bundles.played_tables import read_played
from agentprm_dagster.bundles.record import EVALUATION, read_text
from agentprm_dagster.episodes.tables import EPISODES
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.reports.evaluation import evaluation_name, evaluation_report, evaluation_row, folder_name
from agentprm_dagster.stages.page import PAGE

_WHO = ("ranked_by", "policy", "iteration", "split", "best_of", "world", "horizon")
"""What tells a row from others."""


def check_scores(opened: Opened) -> Check:
    """Success, intervals and n of every row; what it took in tokens no episode tells."""
    differences = [*_rows_and_folders(opened)]
    for row in opened.rows:
        place = f"{EVALUATION}/{folder_name(row)}"
        try:
            computed = _computed(opened, row)
        except BundleError as error:
            differences.append(str(error))
            continue
        differences += [f"{place}: {each}" for each in _differing(row, computed)]
    differences += _metrics(opened)
    counted, page = f"{len(opened.rows)} rows", tuple(_page(opened))
    if page and not opened.record.by_this_code:
        other = f"{EVALUATION}/{PAGE} was written by other code, and has not the lines of this one"
        return Check("scores", counted, tuple(differences), (other,))
    return Check("scores", counted, (*differences, *page))


def _rows_and_folders(opened: Opened) -> Iterator[str]:
    named = [folder_name(row) for row in opened.rows]
    there = [path.parent.name for path in (opened.folder / EVALUATION).glob(f"*/{EPISODES}")]
    for name in sorted({*named, *there}):
        if (named.count(name), there.count(name)) != (1, 1):
            yield f"{EVALUATION}/{name}: {named.count(name)} rows count {there.count(name)} folders of episodes"


def _computed(opened: Opened, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the row should be."""
    episodes = read_played(opened.folder / EVALUATION / folder_name(row))
    if not sum(len(episode.turns) for episode in episodes):
        raise BundleError(f"{EVALUATION}/{folder_name(row)}: expected episodes with turns, got none")
    made = opened.manifest(EVALUATION)
    made_as = made.adopted.origin.experiment if made.adopted else made.experiment
    again = evaluation_row(
        episodes,
        experiment=made_as,
        max_steps=opened.experiment.evaluation.max_steps,
        seed=made.seeds.get("stage", 0),
        tokens=0,
        kinds=opened.kind.task_kinds,
        **{name: row[name] for name in _WHO},
    )
    long = [episode.episode_id for episode in episodes if len(episode.turns) > again["max_steps"]]
    if long:
        raise BundleError(f"{folder_name(row)}: {long[0]} takes more than {again['max_steps']} actions")
    return {**again, "tokens_per_decision": row["tokens_per_decision"]}


def _differing(written: Any, computed: Any, name: str = "") -> Iterator[str]:
    """Every value that is another, by its dotted name."""
    if isinstance(written, Mapping) and isinstance(computed, Mapping):
        for key in written.keys() | computed.keys():
            yield from _differing(written.get(key), computed.get(key), f"{name}.{key}" if name else key)
    elif isinstance(written, float) and isinstance(computed, float):
        if not isclose(written, computed, rel_tol=1e-12, abs_tol=1e-12):
            yield f"{name} is written down as {written}, and the episodes give {computed}"
    elif written != computed:
        yield f"{name} is written down as {written!r}, and the episodes give {computed!r}"


def _metrics(opened: Opened) -> Iterator[str]:
    """The manifest's metrics against the rows."""
    made = opened.manifest(EVALUATION).metrics
    expected = {evaluation_name(row): row["success_rate"] for row in opened.rows}
    expected["decisions"] = float(round(sum(row["n"] * row["mean_actions"] for row in opened.rows)))
    of_policies = {name for name in made if name.startswith(tuple(f"{split} " for split in opened.games))}
    for name in sorted(expected.keys() | of_policies):
        if made.get(name) != expected.get(name):
            yield f"the manifest's metric {name!r} is {made.get(name)}, and the rows give {expected.get(name)}"


def _page(opened: Opened) -> Iterator[str]:
    """The lines of the report's table against the rows."""
    counts = {split: len(games) for split, games in opened.games.items()}
    counts |= {row["split"]: counts.get(row["split"], 0) for row in opened.rows}
    expected = evaluation_report(opened.rows, counts, Usage()).preview.splitlines()
    try:
        lines = set(read_text(opened.folder / EVALUATION / PAGE).splitlines())
    except BundleError as error:
        yield str(error)
        return
    for line in (each for each in expected if each.startswith("| ")):
        if line not in lines:
            yield f"{EVALUATION}/{PAGE} lacks the line that the rows give: {line}"
