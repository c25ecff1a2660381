"""The games on disk: which there are, and how a set of them is named."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from agentprm_dagster.envs.base import TaskRef, TasksCountError, TasksNotFoundError
from agentprm_dagster.envs.textworld.game_file import check_game
from agentprm_dagster.envs.textworld.generate import GAMES_FOLDER, folder_name, generate_games
from agentprm_dagster.envs.textworld.plan import SPLITS
from agentprm_dagster.envs.textworld.settings import Settings

NAME = "textworld"


class Games:
    """The games that an experiment's settings ask for (`envs.base.TaskSet`)."""

    def __init__(self, settings: Settings, seed: int, folder: Path) -> None:
        """
        Args:
            settings: which games, and how many.
            seed: what they are drawn from.
            folder: holds a folder for the games of each settings and seed, which may be many experiments'.
        """
        self.settings, self.seed, self.folder = settings, seed, folder

    def tasks(self, split: str) -> tuple[TaskRef, ...]:
        """The games of a split, sorted by id; those of all splits are made first where they are not there yet.

        Raises:
            ValueError: there is no such split.
            TasksNotFoundError: the settings ask for none of this split.
            TasksCountError: some of them are gone, or not so many can be made.
            TaskFileError: some of them are broken.
            TasksConflictError: the folder holds other games.
        """
        if split not in SPLITS:
            raise ValueError(f"expected a split, one of {', '.join(SPLITS)}, got {split!r}")
        asked = self.settings.counts[split]
        if not asked:
            raise TasksNotFoundError(f"expected games of {split}, but the settings say {split}: 0; ask for some")
        root = self.folder / folder_name(self.settings, self.seed)
        generate_games(root, self.settings, self.seed)
        games = root / GAMES_FOLDER
        found = tuple(sorted((_ref(games, path) for path in (games / split).glob("*/*.zip")), key=lambda ref: ref.id))
        if len(found) != asked:
            raise TasksCountError(
                f"expected {asked} games of {split} in {games}, found {len(found)}; remove the folder {root} and "
                "all are made again"
            )
        for ref in found:
            check_game(ref.path)
        return found


def games_digest(games: Iterable[TaskRef]) -> str:
    """sha256, in hex, over the ids and files of some games, whatever their order."""
    digest = hashlib.sha256()
    for game in sorted(games, key=lambda game: game.id):
        with game.path.open("rb") as file:
            digest.update(f"{game.id}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _ref(games: Path, path: Path) -> TaskRef:
    return TaskRef(NAME, path.relative_to(games).with_suffix("").as_posix(), path.parent.name, path)
