"""ALFWorld's games as an experiment asks for them: real or generated, by split."""

from collections.abc import Mapping
from pathlib import Path

from agentprm_dagster.envs.alfworld.games import GameRef, data_root, find_games, hold_out_rooms
from agentprm_dagster.envs.alfworld.generate import generate_games
from agentprm_dagster.envs.alfworld.settings import Settings
from agentprm_dagster.envs.alfworld.tasks import SPLITS, Split
from agentprm_dagster.envs.alfworld.unplayable import refuse_unplayable
from agentprm_dagster.envs.drawing import sample_tasks

HELD_OUT = "train_held_out"
"""The split of training rooms that are set apart."""


class AlfworldTasks:
    """Real games from ALFWORLD_DATA; generated ones are made once, from the experiment's seed (`envs.base.TaskSet`)."""

    def __init__(self, settings: Settings, seed: int, folder: Path) -> None:
        self.settings, self.seed, self.folder = settings, seed, folder

    def tasks(self, split: str) -> tuple[GameRef, ...]:
        """The games of a split, sorted by id; of `train` none in a held-out room.

        Raises:
            GamesNotFoundError: the games are not there.
            GamesCountError: fewer games are there than the settings ask for.
            GameFileError: some of them cannot be played, or an expert's reasons could not be worded in them.
        """
        if split == HELD_OUT:
            return self._by_room()[1]
        games = self._by_room()[0] if split == "train" else self._found(_split(split))
        beside = self._beside(split)
        count = self.settings.counts[split]
        if count is not None and count - len(beside) != len(games):
            games = sample_tasks(games, count - len(beside), self.seed)
        return tuple(sorted([*games, *beside], key=lambda game: game.id))

    def root(self) -> Path:
        """The data folder, with the generated games made if they are not there."""
        return data_root() if self.settings.source == "alfworld" else self._made(self._generated)

    def _made(self, counts: Mapping[Split, int]) -> Path:
        """The folder of generated games, made if they are not there."""
        numbers = "-".join(str(count) for count in counts.values())
        root = self.folder / f"{self.settings.size}-{self.seed}-{numbers}"
        generate_games(root, seed=self.seed, counts=counts, size=self.settings.size)
        return root

    def _beside(self, split: str) -> tuple[GameRef, ...]:
        """The generated games that stand beside real ones."""
        if split != "train" or not self.settings.beside:
            return ()
        return find_games(self._made({"train": self.settings.beside, "valid_seen": 0, "valid_unseen": 0}), "train")

    @property
    def _generated(self) -> Mapping[Split, int]:
        counts = self.settings.counts
        splits: tuple[Split, ...] = ("train", "valid_seen", "valid_unseen")
        return {split: counts[split] or 0 for split in splits}

    def _by_room(self) -> tuple[tuple[GameRef, ...], tuple[GameRef, ...]]:
        games = self._found("train")
        if not self.settings.held_out_rooms:
            return games, ()
        return hold_out_rooms(games, self.settings.held_out_rooms, self.settings.held_out_seed)

    def _found(self, split: Split) -> tuple[GameRef, ...]:
        """The games of a split. Those that others made are looked into first: one may end a stage after hours."""
        games = find_games(self.root(), split)
        if self.settings.source == "alfworld":
            refuse_unplayable(games, to_be_explained=split == "train")
        return games


def _split(name: str) -> Split:
    for split in SPLITS:
        if split == name:
            return split
    raise ValueError(f"expected a split of ALFWorld's games, got {name!r}")
