"""`agentprm games`: which games there are, and getting more."""

import json
from collections import Counter
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from agentprm_dagster.envs.alfworld.download import download
from agentprm_dagster.envs.alfworld.errors import GamesNotFoundError
from agentprm_dagster.envs.alfworld.games import GameRef, data_root, find_games, named_root, root_of
from agentprm_dagster.envs.alfworld.generate import generate_games
from agentprm_dagster.envs.alfworld.generate_tables import Size
from agentprm_dagster.envs.alfworld.tasks import SHORT_NAMES, SPLITS, TASK_TYPES, Split
from agentprm_dagster.envs.alfworld.unplayable import sort_out


def print_games(folder: Path | None, *, as_json: bool) -> None:
    """Prints counts by split and task type, or as JSON every game, of those that can be played; tells of the others.

    Raises:
        GamesNotFoundError: no split has any.
    """
    root = root_of(folder) if folder else data_root()
    found = {split: listed for split in SPLITS if (listed := _found(root, split))}
    if not found:
        find_games(root, "train")  # says what is missing and how to get it
    games = {split: _playable(split, all_games) for split, all_games in found.items()}
    if as_json:
        print(json.dumps([_entry(game) for split in games.values() for game in split], indent=2))
        return
    table = Table("split", "games", "rooms", *(SHORT_NAMES[kind] for kind in TASK_TYPES), title=str(root))
    for split, playable in games.items():
        kinds = Counter(game.kind for game in playable)
        rooms = len({game.room for game in playable})
        table.add_row(split, str(len(playable)), str(rooms), *(str(kinds[kind]) for kind in TASK_TYPES))
    Console().print(table)


def generate_into(folder: Path, seed: int, counts: dict[Split, int], size: Size) -> None:
    """Generates games into a folder and prints what is there."""
    generate_games(folder, seed=seed, counts=counts, size=size)
    print_games(folder, as_json=False)
    print(f"Play them with ALFWORLD_DATA={folder.absolute()}")


def download_into(folder: Path | None) -> None:
    """Downloads the real games to where they are looked for, and prints what is there."""
    root = folder or named_root()
    download(root)
    print_games(root, as_json=False)


def _found(root: Path, split: Split) -> tuple[GameRef, ...]:
    try:
        return find_games(root, split)
    except GamesNotFoundError:
        return ()


def _playable(split: Split, games: tuple[GameRef, ...]) -> tuple[GameRef, ...]:
    """The games without those that cannot be played, which are counted and named on stderr."""
    sorted_out = sort_out(games)
    for why, faults in sorted_out.items():
        typer.secho(f"{split}: {len(faults)} games {why}. The first: {faults[0][1]}", fg="yellow", err=True)
    unplayable = {game for faults in sorted_out.values() for game, _ in faults}
    return tuple(game for game in games if game not in unplayable)


def _entry(game: GameRef) -> dict[str, object]:
    return {
        "id": game.id,
        "split": game.split,
        "task_type": game.kind,
        "room": game.room,
        "path": str(game.path),
    }
