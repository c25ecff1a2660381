"""Episodes as two parquet tables: one row an episode, one row a turn that the episode took itself."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pandas as pd

from agentprm_dagster.core.types import Episode, Turn

EPISODES, TURNS = "episodes.parquet", "turns.parquet"


class TableError(ValueError):
    """Tables that do not fit together."""


def write_episodes(episodes: Sequence[Episode], folder: Path) -> None:
    """Writes both tables; inherited turns are the parent's and are not written again."""
    heads = [
        {
            "episode_id": episode.episode_id,
            "game": episode.game,
            "task_type": episode.task_type,
            "won": episode.won,
            "turns": len(episode.turns),
            "start": episode.start,
            "parent": episode.parent,
            "first_observation": episode.first_observation,
        }
        for episode in episodes
    ]
    turns = [
        {"episode_id": episode.episode_id, "turn": episode.start + i, **asdict(turn)}
        for episode in episodes
        for i, turn in enumerate(episode.own_turns)
    ]
    pd.DataFrame(heads).to_parquet(folder / EPISODES, index=False)
    pd.DataFrame(turns).to_parquet(folder / TURNS, index=False)


def read_episodes(folder: Path) -> list[Episode]:
    """Reads both tables; TableError where a parent or a turn is missing."""
    heads = pd.read_parquet(folder / EPISODES)
    heads["parent"] = heads["parent"].astype(object).where(heads["parent"].notna(), None)
    own: dict[str, list[Turn]] = {}
    for row in _rows(pd.read_parquet(folder / TURNS)):
        episode_id = row.pop("episode_id")
        row.pop("turn")
        own.setdefault(episode_id, []).append(Turn(**{**row, "candidates": tuple(row["candidates"])}))
    episodes: dict[str, Episode] = {}
    for row in _rows(heads):
        episode_id, length = row["episode_id"], row.pop("turns")
        parent = episodes.get(row["parent"])
        if row["parent"] and parent is None:
            raise TableError(
                f"{folder}: episode {episode_id} continues {row['parent']}, which does not stand before it"
            )
        inherited = parent.turns[: row["start"]] if parent else ()
        turns = (*inherited, *own.get(episode_id, ()))
        if len(turns) != length:
            raise TableError(f"{folder}: episode {episode_id} has {len(turns)} turns, its row says {length}")
        episodes[episode_id] = Episode(**row, turns=turns)
    return list(episodes.values())


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", frame.to_dict("records"))
