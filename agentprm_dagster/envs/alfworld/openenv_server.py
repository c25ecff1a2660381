"""ALFWorld's games as an OpenEnv environment: what `agentprm serve --openenv` serves. Needs the extra `openenv`.

Each session, one WebSocket, plays games of its own. A reset is told which game to play, in one of these ways: `game`
(its id), `split` and `index` (its place among the split's games, sorted by id), `seed` (its place among all games,
modulo their number), or nothing (the one behind the last).
"""

from typing import TYPE_CHECKING, Any

from openenv.core.env_server import Action, Environment, Observation, State, create_fastapi_app
from openenv.core.env_server.types import EnvironmentMetadata
from pydantic import Field

from agentprm_dagster.envs.alfworld.games import GameRef
from agentprm_dagster.envs.alfworld.gym_env import AlfworldEnv, Engine, UnknownGameError

if TYPE_CHECKING:
    from fastapi import FastAPI

NAME = "alfworld"


class HouseholdAction(Action):
    """One command."""

    command: str = Field(max_length=10_000)
    """Such as "go to desk 1"; one that is not admissible is answered "Nothing happens."."""


class HouseholdObservation(Observation):
    """What the game answers; `reward` is 1 at the command that wins, and `done` then or where a step limit cut it."""

    text: str
    admissible_commands: list[str]
    game: str
    task_type: str
    won: bool
    truncated: bool = False


class HouseholdState(State):
    """Which game is played; `step_count` commands were."""

    game: str = ""


class HouseholdEnvironment(Environment[HouseholdAction, HouseholdObservation, HouseholdState]):
    """One session."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, games: tuple[GameRef, ...], max_steps: int | None, engine: Engine) -> None:
        super().__init__()
        self._env = AlfworldEnv(games=games, max_steps=max_steps, engine=engine)
        self._state = HouseholdState()

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        game: str | None = None,
        split: str | None = None,
        index: int | None = None,
        **unknown: Any,
    ) -> HouseholdObservation:
        """Begins an episode of the game that is told, see above; ValueError where that is told wrongly."""
        if unknown:
            raise ValueError(f"expected a reset with seed, game, or split and index, got {', '.join(sorted(unknown))}")
        if split is not None or index is not None:
            game = self._at(split, index)
        text, info = self._env.reset(seed=seed, options=None if game is None else {"game": game})
        self._state = HouseholdState(episode_id=episode_id, game=info["game"])
        return HouseholdObservation(text=text, **info)

    def step(self, action: HouseholdAction, timeout_s: float | None = None, **unknown: Any) -> HouseholdObservation:
        """Plays a command; NoEpisodeError where no episode is under way."""
        text, reward, terminated, truncated, info = self._env.step(action.command)
        self._state.step_count += 1
        done = terminated or truncated
        return HouseholdObservation(text=text, reward=reward, done=done, truncated=truncated, **info)

    @property
    def state(self) -> HouseholdState:
        """Which game is played, and how far."""
        return self._state

    def get_metadata(self) -> EnvironmentMetadata:
        """What is served, for those who look around."""
        splits = ", ".join(f"{self.num_tasks(split)} of {split}" for split in self.list_splits())
        return EnvironmentMetadata(name=NAME, description=f"ALFWorld's text games of household tasks: {splits}.")

    def close(self) -> None:
        """Ends the stock engine's process, if there is one."""
        self._env.close()

    def list_splits(self) -> list[str]:
        """The splits that are served."""
        return sorted({game.partition("/")[0] for game in self._env.games})

    def num_tasks(self, split: str) -> int:
        """How many games a split has."""
        return len(self._of(split))

    def list_tasks(self, split: str) -> list[dict[str, Any]]:
        """All games of a split."""
        return [self.get_task(split, index) for index in range(self.num_tasks(split))]

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        """One game of a split; IndexError where it has fewer."""
        return {"id": self._of(split)[index], "split": split, "index": index}

    def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> list[dict[str, Any]]:
        """The games of a part of a split."""
        return self.list_tasks(split)[start:stop]

    def _of(self, split: str) -> list[str]:
        games = [game for game in self._env.games if game.startswith(f"{split}/")]
        if not games:
            raise UnknownGameError(f"expected a split, one of {', '.join(self.list_splits())}, got {split!r}")
        return games

    def _at(self, split: str | None, index: int | None) -> str:
        if split is None or index is None:
            raise ValueError(f"expected both split and index, got split {split!r} and index {index!r}")
        games = self._of(split)
        if not 0 <= index < len(games):
            raise UnknownGameError(f"expected an index from 0 to {len(games) - 1} in {split}, got {index}")
        return games[index]


class QuickHouseholdEnvironment(HouseholdEnvironment):
    """The same on the household engine, whose steps are over before a thread would have been told of them."""

    async def step_async(
        self, action: HouseholdAction, timeout_s: float | None = None, **unknown: Any
    ) -> HouseholdObservation:
        """Plays a command."""
        return self.step(action)


def household_app(
    games: tuple[GameRef, ...], *, engine: Engine = "household", max_steps: int | None = None, sessions: int = 64
) -> "FastAPI":
    """The application that serves games to so many sessions at once."""
    environment = QuickHouseholdEnvironment if engine == "household" else HouseholdEnvironment

    def session() -> HouseholdEnvironment:
        return environment(games, max_steps, engine)

    return create_fastapi_app(
        session,
        HouseholdAction,
        HouseholdObservation,
        max_concurrent_envs=sessions,
        env_name=NAME,
        state_cls=HouseholdState,
    )
