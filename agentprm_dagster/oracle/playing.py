"""Has the oracle's states played: a few at a time, so that little lies in memory and a kill costs little."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentprm_dagster.config import PlayingCompute
from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.engine_difference import EngineDifference
from agentprm_dagster.episodes.stage import Monitor, Resume, SilentMonitor
from agentprm_dagster.episodes.tables import write_episodes
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.launch.play import Play, Points
from agentprm_dagster.oracle.drawing import Point
from agentprm_dagster.oracle.tables import answer_rows
from agentprm_dagster.resources.inference import InferenceResource

SHARD_STATES = 2
"""States of a shard."""
CONTINUATIONS = 16_384
"""About as many lie in memory at the same time."""


@dataclass(frozen=True)
class TriedOut:
    """What came of the states."""

    rows: list[dict[str, Any]]
    """`tables.answer_rows`."""
    usage: Usage
    differences: list[EngineDifference | None]


def try_states(
    play: Play,
    points: Sequence[Point],
    inference: InferenceResource,
    monitor: Monitor,
    resume: Resume,
    *,
    gamma: float,
    embedded: bool,
    where: PlayingCompute,
) -> TriedOut:
    """Plays every state's answers and their continuations; shards that an earlier attempt has played are kept.

    Args:
        play: who plays and how; its games are all that the points lie in, by which they are found.
        gamma: the discount of returns.
    """
    episodes = resume.folder / "episodes"
    episodes.mkdir(parents=True, exist_ok=True)
    write_episodes({point.episode.episode_id: point.episode for point in points}.values(), episodes)
    shards = list(_shards(play, points, episodes))
    rows, usage, differences = [], Usage(), []
    together = max(CONTINUATIONS // (SHARD_STATES * play.how.branch_actions * play.how.branch_continuations), 1)
    for first in range(0, len(shards), together):
        some = {str(first + i): shard for i, shard in enumerate(shards[first : first + together])}
        part = resume.part(f"shards{first:04d}")
        for played in inference.play(some, SilentMonitor(), part, embedded=embedded, where=where).values():
            rows += answer_rows((each for each in played.episodes if each.parent is not None), gamma)
            usage += played.usage
            differences.append(played.difference)
        monitor.progress(min(first + together, len(shards)), len(shards), "shards of states")
    return TriedOut(rows, usage, differences)


def _shards(play: Play, points: Sequence[Point], episodes: Path) -> Iterator[Play]:
    """The play of a few states each, in the games that these lie in."""
    games: dict[str, TaskRef] = {game.id: game for game in play.games}
    for first in range(0, len(points), SHARD_STATES):
        some = points[first : first + SHARD_STATES]
        turns: dict[str, tuple[int, ...]] = {}
        for point in some:
            name = point.episode.episode_id
            turns[name] = (*turns.get(name, ()), point.turn)
        own = tuple({point.episode.game: games[point.episode.game] for point in some}.values())
        yield replace(play, games=own, points=Points(episodes, turns))
