"""A process that plays games for a score, some of them at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import perf_counter

from agentprm_dagster.engine.base import ContextOverflow
from agentprm_dagster.envs.base import TaskFileError, TaskRef
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.panel import EngineName, open_game
from agentprm_dagster.scoring.players import Player
from agentprm_dagster.scoring.records import PlayedGame, played_game
from agentprm_dagster.section import NotNegative, Section


@dataclass(frozen=True)
class Chunk:
    """Some games of one split for one agent and seed."""

    run: int
    split: str
    first: int
    """Position of its first game in the split."""
    games: tuple[TaskRef, ...]
    player: Player
    seed: int
    max_steps: int
    engine: EngineName


class PlayedChunk(Section):
    """What came of it, as a journal keeps it."""

    run: NotNegative
    split: str
    first: NotNegative
    games: tuple[PlayedGame, ...]
    tokens_read: NotNegative
    tokens_drawn: NotNegative
    seconds: float


def play_chunk(chunk: Chunk, monitor: Monitor) -> PlayedChunk:
    """Plays the games of a chunk; on the stock engine one after the other, as it holds one game at a time."""
    start = perf_counter()
    kind = kind_of(chunk.games[0].environment)
    tasks = [open_game(kind, ref, chunk.engine) for ref in chunk.games]
    parts = [tasks] if chunk.engine == "household" else [[task] for task in tasks]
    played = [chunk.player.play(part, seed=chunk.seed, max_steps=chunk.max_steps, monitor=monitor) for part in parts]
    games = [played_game(episode, chunk.max_steps) for episodes, _ in played for episode in episodes]
    return PlayedChunk(
        run=chunk.run,
        split=chunk.split,
        first=chunk.first,
        games=tuple(sorted(games, key=lambda game: game.id)),
        tokens_read=sum(usage.tokens_read for _, usage in played),
        tokens_drawn=sum(usage.tokens_drawn for _, usage in played),
        seconds=perf_counter() - start,
    )


@dataclass(frozen=True)
class Failure:
    """Why a chunk could not be played, in words for the user."""

    words: str


@dataclass(frozen=True)
class Told:
    """A monitor that sends on how many games are done."""

    pipe: Connection

    def progress(self, done: int, total: int, what: str) -> None:
        """Sent on."""
        self.pipe.send(done)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Playing has none."""


EXPECTED = (ScoreError, ContextOverflow, TaskFileError)
"""Errors that say what is wrong; of others the traceback is needed."""


def serve(pipe: Connection) -> None:
    """Receives chunks, and answers with what came of each."""
    while True:
        chunk: Chunk = pipe.recv()
        try:
            pipe.send(play_chunk(chunk, Told(pipe)))
        except EXPECTED as error:
            pipe.send(Failure(f"{error}"))
