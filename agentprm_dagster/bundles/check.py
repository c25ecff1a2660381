"""Checks a bundle on this machine, offline: one check after the other, each told when it is done."""

from collections.abc import Iterator
from pathlib import Path

from agentprm_dagster.bundles.cards import check_cards
from agentprm_dagster.bundles.eq_1 import check_targets
from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.bundles.files import check_files, require_plain_files
from agentprm_dagster.bundles.findings import Check
from agentprm_dagster.bundles.games import find_games
from agentprm_dagster.bundles.opened import open_bundle
from agentprm_dagster.bundles.record import read_record
from agentprm_dagster.bundles.records_agree import check_records
from agentprm_dagster.bundles.replays import check_replays
from agentprm_dagster.bundles.scores import check_scores
from agentprm_dagster.config.catalog import ExperimentError


def check(folder: Path, *, play: bool) -> Iterator[Check]:
    """Checks files, records, cards, games, episodes, targets and scores; with `play` also plays the policy again.

    Games that are made are made in this home. Nothing else is written, and nothing is fetched.

    Raises:
        BundleError: the folder is no bundle, or holds links or devices.
    """
    require_plain_files(folder)
    record = read_record(folder)
    yield check_files(folder, record)
    try:
        opened = open_bundle(folder, record)
    except (BundleError, ExperimentError) as error:
        reason = "the records of the bundle cannot be read"
        yield Check("records", "none", (str(error),), (f"games, replay, targets, scores: {reason}",))
        return
    yield check_records(opened)
    yield check_cards(opened)
    games = find_games(opened)
    yield games.check
    yield check_replays(opened, games)
    yield check_targets(opened)
    yield check_scores(opened)
    if play:
        from agentprm_dagster.bundles.greedy import check_play  # loads what plays

        yield check_play(opened, games)
