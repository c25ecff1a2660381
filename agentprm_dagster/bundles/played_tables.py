"""The episodes in a folder of a bundle, as foreign input."""

from pathlib import Path

from agentprm_dagster.bundles.bounded import require_table
from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tables import EPISODE_COLUMNS, EPISODES, TURN_COLUMNS, TURNS, TableError, read_episodes


def read_played(folder: Path) -> list[Episode]:
    """Every episode; BundleError where the tables are missing, too large, or no tables of episodes."""
    require_table(folder / EPISODES, EPISODE_COLUMNS, frozenset({"parent"}))
    require_table(folder / TURNS, TURN_COLUMNS)
    try:
        episodes = read_episodes(folder)
    except (TableError, ValueError, KeyError) as error:
        raise BundleError(f"{folder.name}: {error}") from error
    if odd := next(
        (each for each in episodes if not (0 <= each.reward <= 1 and 0 <= each.start <= len(each.turns))), None
    ):
        raise BundleError(f"{folder.name}: episode {odd.episode_id}: expected a reward in [0, 1] and a start within it")
    return episodes
