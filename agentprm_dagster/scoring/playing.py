"""Has a panel played: in chunks, by several processes, each finished chunk in a journal.

Whoever is killed loses the chunks under way and no more: the same command goes on from the journal, which is removed
when the card is there. Chunks do not depend on the number of processes, and neither does what comes of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.home import journals_folder
from agentprm_dagster.provenance.canonical import canonical, digest_of
from agentprm_dagster.provenance.journal import Record, open_journal
from agentprm_dagster.scoring.card import EvaluationProtocol
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.panel import EngineName, Panel, find_games, games_of
from agentprm_dagster.scoring.players import Player
from agentprm_dagster.scoring.records import PlayedGame, Run
from agentprm_dagster.scoring.worker import Chunk, Failure, PlayedChunk, play_chunk
from agentprm_dagster.workers import Worker, wait_for_any


@dataclass(frozen=True)
class Workforce:
    """Who plays."""

    processes: int
    """0: this process itself."""
    threads: int = 1
    """Of each process."""

    def play(self, chunks: Sequence[Chunk], within: Monitor) -> Iterator[PlayedChunk | int]:
        """What came of every chunk, as it comes; in between, by how many games it is further.

        `within` is told how far this process is in a chunk that it plays itself.

        Raises:
            ScoreError: a game could not be played; says why.
            WorkerError: a process ended.
        """
        return self._spread(chunks) if self.processes else _here(chunks, within)

    def _spread(self, chunks: Sequence[Chunk]) -> Iterator[PlayedChunk | int]:
        waiting, done = iter(chunks), dict[Worker, int]()
        environment = {"OMP_NUM_THREADS": str(self.threads)}
        with ExitStack() as stack:
            count = min(self.processes, len(chunks))
            module = "agentprm_dagster.scoring.worker"
            free = [stack.enter_context(closing(Worker(module, environment))) for _ in range(count)]
            while True:
                for worker, chunk in zip(free, waiting, strict=False):
                    worker.send(chunk)
                    done[worker] = 0
                if not done:
                    return
                free = []
                for worker in wait_for_any(done):
                    answer: PlayedChunk | Failure | int = worker.receive()
                    if isinstance(answer, Failure):
                        raise ScoreError(answer.words)
                    if isinstance(answer, int):
                        yield answer - done[worker]
                        done[worker] = answer
                    else:
                        yield len(answer.games) - done.pop(worker)
                        free.append(worker)
                        yield answer


def _here(chunks: Sequence[Chunk], within: Monitor) -> Iterator[PlayedChunk | int]:
    for chunk in chunks:
        played = play_chunk(chunk, within)
        yield len(played.games)
        yield played


def play_panel(
    panel: Panel,
    players: Sequence[Player],
    protocol: EvaluationProtocol,
    workforce: Workforce,
    monitor: Monitor,
    engine: EngineName = "household",
) -> tuple[Run, ...]:
    """Every agent under every seed, on all games of a panel.

    Raises:
        ScoreError: the panel's games are not here, or could not be played.
        LockedError: another process plays the same.
    """
    refs = {split: panel_games(panel, split) for split in panel.splits}
    pairs = [(player, seed) for player in players for seed in protocol.seeds]
    chunks = [
        chunk
        for run, (player, seed) in enumerate(pairs)
        for split in sorted(refs)
        for chunk in _chunks(refs[split], Chunk(run, split, 0, (), player, seed, panel.cap, engine))
    ]
    path = journal_of(panel, players, protocol, engine)
    played = _through_journal(path, chunks, workforce, monitor)
    return tuple(
        _run(panel, [each for each in played if each.run == run], run // len(protocol.seeds), seed)
        for run, (_, seed) in enumerate(pairs)
    )


def journal_of(panel: Panel, players: Iterable[Player], protocol: EvaluationProtocol, engine: EngineName) -> Path:
    """Where what is played is kept until all is."""
    who = [player.record.model_dump(mode="json") for player in players]
    key = digest_of([panel.digest, who, protocol.digest, engine])
    return journals_folder() / f"score-{key[:16]}.jsonl"


def panel_games(panel: Panel, split: str) -> tuple[TaskRef, ...]:
    """A split's games on this machine; ScoreError where they are not those of the panel."""
    refs = find_games(panel.source, split)
    if games_of(panel.kind, refs) != panel.splits[split]:
        raise ScoreError(f"the games of {split} on this machine are not the panel's: see `agentprm score CARD --check`")
    return refs


def _chunks(refs: Sequence[TaskRef], like: Chunk) -> Iterator[Chunk]:
    size = like.player.games_at_once
    for first in range(0, len(refs), size):
        yield replace(like, first=first, games=tuple(refs[first : first + size]))


def _through_journal(
    path: Path,
    chunks: Sequence[Chunk],
    workforce: Workforce,
    monitor: Monitor,
) -> list[PlayedChunk]:
    """What came of all chunks, of those in the journal without playing them."""
    total = sum(len(chunk.games) for chunk in chunks)
    with open_journal(path, path.stem, _read_chunk) as journal:
        known = {(each.run, each.split, each.first): each for each in journal.records}
        left = [chunk for chunk in chunks if not _is_kept(chunk, known)]
        so_far = _SoFar(monitor, total - sum(len(chunk.games) for chunk in left), total)
        for came in workforce.play(left, so_far):
            if isinstance(came, int):
                so_far.add(came)
            else:
                journal.append(came.model_dump(mode="json"))
                known[came.run, came.split, came.first] = came
    return [known[chunk.run, chunk.split, chunk.first] for chunk in chunks]


class _SoFar:
    """How many games are done; as a monitor it is told of a chunk under way."""

    def __init__(self, monitor: Monitor, done: int, total: int) -> None:
        self._monitor, self._done, self._total = monitor, done, total
        self.add(0)

    def add(self, games: int) -> None:
        """So many more are done."""
        self._done += games
        self._monitor.progress(self._done, self._total, "games")

    def progress(self, done: int, total: int, what: str) -> None:
        """So many of a chunk that is not done."""
        self._monitor.progress(self._done + done, self._total, "games")

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Playing has none."""


def _is_kept(chunk: Chunk, known: Mapping[tuple[int, str, int], PlayedChunk]) -> bool:
    kept = known.get((chunk.run, chunk.split, chunk.first))
    return kept is not None and [game.id for game in kept.games] == [ref.id for ref in chunk.games]


def _read_chunk(record: Record) -> PlayedChunk:
    return PlayedChunk.model_validate_json(canonical(record))


def _run(panel: Panel, played: Sequence[PlayedChunk], agent: int, seed: int) -> Run:
    games: dict[str, list[PlayedGame]] = defaultdict(list)
    for chunk in played:
        games[chunk.split] += chunk.games
    return Run(
        agent=agent,
        seed=seed,
        games={split: tuple(sorted(games[split], key=lambda game: game.id)) for split in sorted(panel.splits)},
        tokens_read=sum(chunk.tokens_read for chunk in played),
        tokens_drawn=sum(chunk.tokens_drawn for chunk in played),
        seconds=round(sum(chunk.seconds for chunk in played), 2),
    )
