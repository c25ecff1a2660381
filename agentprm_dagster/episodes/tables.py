"""Episodes as two parquet tables: one row an episode, one row a turn that no parent in the table has taken already."""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from agentprm_dagster.episodes.records import Episode, Turn

EPISODES, TURNS = "episodes.parquet", "turns.parquet"

_EPISODES_TOGETHER = 4096
EPISODE_COLUMNS = pa.schema(
    {
        "episode_id": pa.string(),
        "game": pa.string(),
        "task_type": pa.string(),
        "reward": pa.float64(),
        "start": pa.int64(),
        "parent": pa.string(),
        "truncated": pa.bool_(),
        "first_observation": pa.string(),
        "turns": pa.int64(),
    }
)
TURN_COLUMNS = pa.schema(
    {
        "episode_id": pa.string(),
        "turn": pa.int64(),
        "reason": pa.string(),
        "action": pa.string(),
        "observation": pa.string(),
        "response": pa.string(),
        "parsed": pa.bool_(),
        "admissible": pa.bool_(),
        "candidates": pa.list_(pa.string()),
        "tokens": pa.list_(pa.int32()),
    }
)


class TableError(ValueError):
    """Tables that do not fit together."""


def write_episodes(episodes: Iterable[Episode], folder: Path) -> None:
    """Writes both tables; turns inherited from a parent are its and are not written again."""
    with (
        pq.ParquetWriter(folder / EPISODES, EPISODE_COLUMNS) as heads,
        pq.ParquetWriter(folder / TURNS, TURN_COLUMNS) as turns,
    ):
        left = iter(episodes)
        while some := list(islice(left, _EPISODES_TOGETHER)):
            heads.write_table(_table(EPISODE_COLUMNS, map(_head, some)))
            turns.write_table(_table(TURN_COLUMNS, (row for episode in some for row in _new_turns(episode))))


def _head(episode: Episode) -> tuple[object, ...]:
    *own, _ = EPISODE_COLUMNS.names
    return *(getattr(episode, name) for name in own), len(episode.turns)


def _new_turns(episode: Episode) -> Iterator[tuple[object, ...]]:
    _, _, *names = TURN_COLUMNS.names
    known = episode.start if episode.parent else 0
    for i, turn in enumerate(episode.turns[known:], known):
        yield episode.episode_id, i, *(getattr(turn, name) for name in names)


def _table(schema: pa.Schema, rows: Iterable[tuple[object, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)


def read_episodes(folder: Path) -> list[Episode]:
    """Reads both tables; TableError where a parent or a turn is missing."""
    return list(iter_episodes(folder))


def iter_episodes(folder: Path) -> Iterator[Episode]:
    """The same, one episode after another; of those that went before only parents are kept in memory.

    Raises:
        TableError: a parent, a turn or a column is missing, or turns stand in another order than their episodes.
    """
    _require_columns(folder / EPISODES, EPISODE_COLUMNS)
    _require_columns(folder / TURNS, TURN_COLUMNS)
    heads = pq.read_table(folder / EPISODES).to_pylist()
    parents: dict[str, Episode | None] = {head["parent"]: None for head in heads if head["parent"]}
    played = groupby(_turns(folder / TURNS), key=itemgetter(0))
    next_id, rows = next(played, (None, iter(())))
    for head in heads:
        episode_id, length = head["episode_id"], head.pop("turns")
        parent = parents[head["parent"]] if head["parent"] else None
        if head["parent"] and parent is None:
            raise TableError(
                f"{folder}: episode {episode_id} continues {head['parent']}, which does not stand before it"
            )
        turns = parent.turns[: head["start"]] if parent else ()
        if next_id == episode_id:
            turns += tuple(turn for _, turn in rows)
            next_id, rows = next(played, (None, iter(())))
        if len(turns) != length:
            raise TableError(f"{folder}: episode {episode_id} has {len(turns)} turns, its row says {length}")
        episode = Episode(**head, turns=turns)
        if episode_id in parents:
            parents[episode_id] = episode
        yield episode
    if next_id is not None:
        raise TableError(f"{folder}: turns of {next_id}, which is no episode, or not in the episodes' order")


def _require_columns(path: Path, schema: pa.Schema) -> None:
    if missing := [name for name in schema.names if name not in pq.read_schema(path).names]:
        raise TableError(
            f"{path}: expected the columns {', '.join(schema.names)}; {', '.join(missing)} not found: "
            "it was written by another version of this project, make it anew"
        )


def _turns(path: Path) -> Iterator[tuple[str, Turn]]:
    """Every turn with its episode's id, in the order of the table."""
    with pq.ParquetFile(path) as table:
        for batch in table.iter_batches():
            columns = [batch.column(name).to_pylist() for name in TURN_COLUMNS.names]
            columns[-2:] = (list(map(tuple, column)) for column in columns[-2:])  # candidates and tokens
            for episode_id, _, *fields in zip(*columns, strict=True):
                yield episode_id, Turn(*fields)
