"""`agentprm play`: a game by hand, or from a file of commands."""

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import typer

from agentprm_dagster.envs.alfworld.errors import GamesNotFoundError
from agentprm_dagster.envs.alfworld.games import GAME_FILE, GAMES_FOLDER, data_root
from agentprm_dagster.envs.base import Environment
from agentprm_dagster.episodes.records import Observation

Engine = Literal["household", "alfworld"]


def play_game(game: str, engine: Engine, commands: Path | None, *, as_json: bool) -> None:
    """Plays until the game is over, the commands are used up, or the player leaves (an empty line, Ctrl-D)."""
    lines = _lines(commands) if commands else None
    show = _show_json if as_json else _show_text
    with open_game(find_game(game), engine) as environment:
        observation = environment.reset()
        show(observation)
        for command in _typed() if lines is None else iter(lines):
            if observation.done:
                break
            observation = environment.step(command)
            show(observation)


def find_game(name: str) -> Path:
    """The game file that a path, a folder or a game's id names; GamesNotFoundError if there is none."""
    path = Path(name)
    if path.is_dir():
        path /= GAME_FILE
    elif not path.exists():
        path = _root_for(name) / GAMES_FOLDER / name / GAME_FILE
    if not path.is_file():
        raise GamesNotFoundError(
            f"no game {name!r}: expected a {GAME_FILE}, a folder that holds one, or an id such as `agentprm games list "
            f"--json` shows; looked for {path}"
        )
    return path


def _root_for(name: str) -> Path:
    try:
        return data_root()
    except GamesNotFoundError as error:
        raise GamesNotFoundError(f"no game {name!r} here, and no others: {error}") from error


def open_game(path: Path, engine: Engine) -> AbstractContextManager[Environment]:
    """The game on an engine; leaving the context ends the stock engine's process."""
    if engine == "alfworld":
        from agentprm_dagster.envs.alfworld.stock import StockEngine

        return StockEngine(path)
    from agentprm_dagster.envs.alfworld.game_file import Game
    from agentprm_dagster.envs.alfworld.household import Household

    return nullcontext(Household(Game.load(path)))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise typer.BadParameter(
            f"{path}: expected commands in UTF-8, one a line, got other bytes ({error})"
        ) from error


def _typed() -> Iterator[str]:
    """What the player types; a prompt only where a person sees it."""
    while sys.stdin is not None:
        try:
            line = input("> ").strip()
        except EOFError:
            return
        if not line:
            return
        yield line


def _show_json(observation: Observation) -> None:
    answer = {
        "observation": observation.text,
        "admissible_commands": list(observation.commands),
        "won": observation.won,
        "done": observation.done,
    }
    print(json.dumps(answer, ensure_ascii=False), flush=True)


def _show_text(observation: Observation) -> None:
    print(observation.text)
    typer.secho(", ".join(observation.commands), dim=True)
    if observation.won:
        typer.secho("You have won.", fg="green")
