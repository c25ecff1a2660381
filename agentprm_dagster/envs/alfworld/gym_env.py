"""ALFWorld's games in the manner of Gymnasium, which need not be installed: the signatures are its `Env`'s.

from agentprm_dagster.envs.alfworld import AlfworldEnv

env = AlfworldEnv("valid_seen", max_steps=30)
observation, info = env.reset(seed=0)
observation, reward, terminated, truncated, info = env.step(info["admissible_commands"][0])
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from agentprm_dagster.envs.alfworld.errors import GamesNotFoundError
from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.games import GameRef, data_root, find_games, root_of
from agentprm_dagster.envs.alfworld.household import Household
from agentprm_dagster.envs.alfworld.stock import StockEngine
from agentprm_dagster.envs.alfworld.tasks import SPLITS, Split
from agentprm_dagster.episodes.records import Observation

Engine = Literal["household", "stock"]
Info = dict[str, Any]
"""`admissible_commands`: list of strings, `game`: the game's id, `task_type`, `won`: bool."""


class NoEpisodeError(RuntimeError):
    """A command where no episode is under way."""


class UnknownGameError(KeyError):
    """A game that is not among those that are played."""

    def __str__(self) -> str:
        return str(self.args[0])


class AlfworldEnv:
    """Plays games one after the other, sorted by id; the same calls lead to the same games and observations.

    The reward of a step is what it adds to the share of the task that is fulfilled, so that those of an episode sum to
    1 where it is won and to 0 where it is not. Not for use in several threads at once.
    """

    def __init__(
        self,
        split: Split | None = None,
        root: Path | str | None = None,
        *,
        games: Sequence[GameRef] | None = None,
        max_steps: int | None = None,
        engine: Engine = "household",
    ) -> None:
        """
        Args:
            split: "train", "valid_seen" or "valid_unseen"; all that are there where it is None.
            root: the data folder, of real games or of those that `agentprm games generate` made; without it
                ALFWORLD_DATA.
            games: the games themselves, instead of those of a folder.
            max_steps: commands of an episode before it is truncated. None, the default, sets no limit: a game then ends
                only when it is won, so that a loop `while not terminated` may never end.
            engine: "household" is the fast engine, "stock" alfworld's own in a process of its own; end it by `close`.

        Raises:
            GamesNotFoundError: there are no such games.
            ValueError: `max_steps` is below 1, or there is no such engine.
        """
        if max_steps is not None and max_steps < 1:
            raise ValueError(f"expected max_steps of at least 1, or None for no limit, got {max_steps!r}")
        if engine not in ("household", "stock"):
            raise ValueError(f"expected the engine household or stock, got {engine!r}")
        self._refs = {ref.id: ref for ref in (list_games(split, root) if games is None else games)}
        self.games: tuple[str, ...] = tuple(sorted(self._refs))
        """The ids of all games, in the order in which they are played."""
        if not self.games:
            raise GamesNotFoundError("expected at least one game to play, got none")
        self.max_steps, self.engine = max_steps, engine
        self._next = 0
        self._ref: GameRef | None = None
        self._playing: Household | StockEngine | None = None
        self._observation: Observation | None = None
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, Info]:
        """Begins an episode.

        Args:
            seed: counts through the games: s plays the game at place s, modulo their number. Without it, and without
                `options`, the game behind the last one is played, the first one first.
            options: `{"game": id}` plays this game.

        Returns:
            The first observation, which states the task, and the information (`Info`).

        Raises:
            UnknownGameError: there is no such game.
            ValueError: an option that is not known.
            GameFileError: the game cannot be played.
        """
        if unknown := set(options or ()) - {"game"}:
            raise ValueError(f'expected no options but {{"game": id}}, got {", ".join(sorted(map(str, unknown)))}')
        place = self._next if seed is None else seed % len(self.games)
        if options:
            place = self._place(options["game"])
        self._observation = self._opened(self._refs[self.games[place]]).reset()
        self._next, self._steps = (place + 1) % len(self.games), 0
        return self._observation.text, self._info(self._observation)

    def step(self, command: str) -> tuple[str, float, bool, bool, Info]:
        """Plays one command; one that is not admissible is answered "Nothing happens.".

        Returns:
            Observation, reward, whether the game ended (it is won), whether `max_steps` cut it, information.

        Raises:
            NoEpisodeError: none was begun, or the last one is over.
        """
        before = self._observation
        if before is None or self._playing is None or before.done or self._is_cut():
            why = "none was begun" if before is None else f"that of {self._ref and self._ref.id} is over"
            raise NoEpisodeError(f"expected reset() before the command {command!r}: it needs an episode, and {why}")
        self._steps += 1
        now = self._observation = self._playing.step(command)
        return now.text, now.reward - before.reward, now.done, not now.done and self._is_cut(), self._info(now)

    def close(self) -> None:
        """Ends the stock engine's process, if there is one; a reset begins anew."""
        if isinstance(self._playing, StockEngine):
            self._playing.close()
        self._ref = self._playing = self._observation = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _place(self, game: object) -> int:
        if game not in self._refs:
            raise UnknownGameError(
                f"expected one of {len(self.games)} games, by its id such as {self.games[0]!r} (see .games), "
                f"got {game!r}"
            )
        return self.games.index(str(game))

    def _opened(self, ref: GameRef) -> Household | StockEngine:
        """The engine with a game in it; a game that was played last is not read again."""
        if self._playing is None or ref != self._ref:
            if self.engine == "household":
                self._playing = Household(Game.load(ref.path))
            elif isinstance(self._playing, StockEngine):
                self._playing.load(ref.path)
            else:
                self._playing = StockEngine(ref.path)
            self._ref = ref
        return self._playing

    def _is_cut(self) -> bool:
        return self.max_steps is not None and self._steps >= self.max_steps

    def _info(self, observation: Observation) -> Info:
        assert self._ref is not None
        commands = list(observation.commands)
        return {
            "admissible_commands": commands,
            "game": self._ref.id,
            "task_type": self._ref.kind,
            "won": observation.won,
        }


def list_games(split: Split | None = None, root: Path | str | None = None) -> tuple[GameRef, ...]:
    """The games of a split, or of all splits that are there, sorted by id; GamesNotFoundError where there are none."""
    if split is not None and split not in SPLITS:
        raise ValueError(f"expected a split, one of {', '.join(SPLITS)}, got {split!r}")
    folder = data_root() if root is None else root_of(Path(root))
    found: list[GameRef] = []
    for name in SPLITS if split is None else (split,):
        with suppress(GamesNotFoundError):
            found += find_games(folder, name)
    return tuple(found) or find_games(folder, split or "train")  # says what is missing and how to get it
