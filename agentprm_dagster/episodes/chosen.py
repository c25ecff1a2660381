"""Some episodes of many: their turns alone are read."""

from collections.abc import Collection
from pathlib import Path

import pyarrow.parquet as pq

from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.tables import EPISODES, TURNS


def choose_episodes(folder: Path, wanted: Collection[str]) -> list[Episode]:
    """The episodes of these ids that are in the tables of a folder, with the turns that they have inherited."""
    heads = {head["episode_id"]: head for head in pq.read_table(folder / EPISODES).to_pylist()}
    chosen = [name for name in wanted if name in heads]
    needed = {name for each in chosen for name in _with_parents(each, heads)}
    if not needed:
        return []
    rows = pq.read_table(folder / TURNS, filters=[("episode_id", "in", needed)]).to_pylist()
    own: dict[str, list[Turn]] = {name: [] for name in needed}
    for row in rows:
        episode_id, _ = row.pop("episode_id"), row.pop("turn")
        lists = {name: tuple(row[name]) for name in ("candidates", "tokens")}
        own[episode_id].append(Turn(**{**row, **lists}))

    def turns(name: str) -> tuple[Turn, ...]:
        head = heads[name]
        return (turns(head["parent"])[: head["start"]] if head["parent"] else ()) + tuple(own[name])

    return [Episode(**{**heads[name], "turns": turns(name)}) for name in chosen]


def _with_parents(name: str | None, heads: dict[str, dict[str, str | None]]) -> list[str]:
    return [name, *_with_parents(heads[name]["parent"], heads)] if name else []
