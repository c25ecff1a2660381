"""The stock engine: alfworld's `AlfredTWEnv` through textworld and Fast Downward, as a user of alfworld meets it.

It runs in a process of its own because it leaks memory, is not thread-safe, and overwrites `sys.argv`; the process is
replaced after a number of games.
"""

from pathlib import Path
from types import TracebackType
from typing import Self

from agentprm_dagster.envs.alfworld.errors import EngineError
from agentprm_dagster.envs.alfworld.game_data import read_game_data
from agentprm_dagster.episodes.records import Observation
from agentprm_dagster.workers import Worker, WorkerError

_SERVED_BY = "agentprm_dagster.envs.alfworld.stock_worker"


class StockEngine:
    """One game on the stock engine, an `Environment`. Also a context manager: `close` ends the worker process.

    A reset takes one to three seconds of CPU time, a step 50 to 100 ms.
    """

    def __init__(self, game_path: Path, *, memoised: bool = False, games_per_worker: int = 50) -> None:
        """
        Args:
            game_path: the game file, with `traj_data.json` beside it.
            memoised: parse each string once, about ten times faster: see `memoised.py`.
            games_per_worker: how many resets a worker process serves before a fresh one takes over.
        """
        self._game_path = game_path
        self._memoised = memoised
        self._games_per_worker = games_per_worker
        self._games_played = 0
        self._worker: Worker | None = None

    def load(self, game_path: Path) -> None:
        """Turns to another game, which the next `reset` starts."""
        self._game_path = game_path

    def reset(self) -> Observation:
        """Starts the game anew, in a fresh worker process where there is none or the last has served its time.

        Raises:
            FileNotFoundError: there is no such file.
            GameFileError: it is broken, is not solvable, or would run code.
            EngineError: alfworld does not play this game, or the worker process died.
        """
        read_game_data(self._game_path)
        if self._games_played >= self._games_per_worker:
            self.close()
        if self._worker is None:
            # alfworld makes the folder that this names when it is imported; games are named one by one.
            self._worker = Worker(_SERVED_BY, {"ALFWORLD_DATA": str(Path(__file__).parent)})
            self._worker.send(self._memoised)
        self._games_played += 1
        return self._ask(self._worker, "reset", str(self._game_path))

    def step(self, command: str) -> Observation:
        """Plays one command; a command that is not admissible answers "Nothing happens.".

        Raises:
            EngineError: no game was started by `reset`, or the worker process died.
        """
        if self._worker is None:
            raise EngineError(f"expected a reset before the command {command!r} in {self._game_path}, got none")
        return self._ask(self._worker, "step", command)

    def close(self) -> None:
        """Ends the worker process; the next `reset` starts another."""
        if self._worker:
            self._worker.close()
        self._worker = None
        self._games_played = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, worker: Worker, method: str, argument: str) -> Observation:
        what = f"{method} {argument!r} in {self._game_path}"
        worker.send((method, argument))
        try:
            reply: Observation | str = worker.receive()
        except WorkerError as error:
            self.close()
            raise EngineError(f"the stock engine's process ended on {what}; reset starts another. {error}") from error
        if isinstance(reply, str):
            raise EngineError(f"the stock engine failed on {what}: {reply}")
        return reply
