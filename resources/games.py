"""The games an experiment plays: which belong to which split, real or generated, and opening them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import dagster as dg

from agentprm_dagster.config import Experiment
from agentprm_dagster.config.data import EvaluationSplit
from agentprm_dagster.envs.alfworld.errors import GamesCountError
from agentprm_dagster.envs.alfworld.games import GameRef, data_root, find_games, hold_out_rooms, sample_games
from agentprm_dagster.envs.alfworld.generate import generate_games
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.alfworld.unplayable import refuse_unplayable
from agentprm_dagster.episodes.records import Split
from agentprm_dagster.home import games_folder


class GamesResource(dg.ConfigurableResource):
    """Real games from ALFWORLD_DATA; generated ones are made once, in the home folder, from the experiment's seed."""

    def train(self, experiment: Experiment) -> tuple[GameRef, ...]:
        """The games to train on, sorted by id; no game of a held-out room among them.

        Raises:
            GamesNotFoundError: the games are not there.
            GamesCountError: fewer games are there than the experiment asks for.
            GameFileError: some of them cannot be played, or an expert's reasons could not be worded in them.
        """
        kept, _ = _by_room(experiment, self.root(experiment))
        return _some(kept, experiment.games.train, experiment.seed)

    def demonstrated(self, experiment: Experiment, count: int | None, seed: int) -> tuple[GameRef, ...]:
        """At most `count` training games (None: all) for the expert to play, in an order that the seed decides.

        Raises as `train` does, and GamesCountError where a single game is to be parted.
        """
        return _draw(self._parts(experiment)[0], count, seed)

    def explored(self, experiment: Experiment, count: int | None, seed: int) -> tuple[GameRef, ...]:
        """At most `count` training games (None: all) for rollouts, in an order that the seed decides.

        Raises as `train` does, and GamesCountError where a single game is to be parted.
        """
        return _draw(self._parts(experiment)[1], count, seed)

    def _parts(self, experiment: Experiment) -> tuple[tuple[GameRef, ...], tuple[GameRef, ...]]:
        """The training games to be demonstrated and those to be explored: all are both, or none is."""
        games, share = self.train(experiment), experiment.games.demonstrated
        if share == 1:
            return games, games
        if len(games) < 2:
            raise GamesCountError(
                f"games.demonstrated is {share}: expected at least two training games to part, got one"
            )
        shown = set(sample_games(games, min(max(round(share * len(games)), 1), len(games) - 1), experiment.seed))
        return tuple(game for game in games if game in shown), tuple(game for game in games if game not in shown)

    def split(self, experiment: Experiment, name: EvaluationSplit) -> tuple[GameRef, ...]:
        """The games of an evaluation split, sorted by id.

        Raises:
            GamesNotFoundError: the games are not there.
            GamesCountError: fewer games are there than the experiment asks for.
            GameFileError: some of them cannot be played.
        """
        root = self.root(experiment)
        if name == "train_held_out":
            games = _by_room(experiment, root)[1]
        else:
            games = _some(_found(experiment, root, name), _limit(experiment, name), experiment.seed)
        return _some(games, experiment.evaluation.games, experiment.seed)

    def root(self, experiment: Experiment) -> Path:
        """The data folder, with the generated games made if they are not there."""
        if experiment.games.source == "alfworld":
            return data_root()
        counts = _counts(experiment)
        numbers = "-".join(str(count) for count in counts.values())
        root = games_folder() / f"{experiment.games.size}-{experiment.seed}-{numbers}"
        generate_games(root, seed=experiment.seed, counts=counts, size=experiment.games.size)
        return root

    def play(self, games: Iterable[GameRef]) -> list[PlayableGame]:
        """The games on the fast engine."""
        return [PlayableGame(game) for game in games]


def _draw(games: tuple[GameRef, ...], count: int | None, seed: int) -> tuple[GameRef, ...]:
    return sample_games(games, min(count or len(games), len(games)), seed)


def _counts(experiment: Experiment) -> Mapping[Split, int]:
    games = experiment.games
    return {"train": games.train or 0, "valid_seen": games.valid_seen or 0, "valid_unseen": games.valid_unseen or 0}


def _limit(experiment: Experiment, name: Literal["valid_seen", "valid_unseen"]) -> int | None:
    return experiment.games.valid_seen if name == "valid_seen" else experiment.games.valid_unseen


def _by_room(experiment: Experiment, root: Path) -> tuple[tuple[GameRef, ...], tuple[GameRef, ...]]:
    games = _found(experiment, root, "train")
    if not experiment.games.held_out_rooms:
        return games, ()
    return hold_out_rooms(games, experiment.games.held_out_rooms, experiment.seed)


def _found(experiment: Experiment, root: Path, split: Split) -> tuple[GameRef, ...]:
    """The games of a split. Those that others made are looked into first: one may end a stage after hours."""
    games = find_games(root, split)
    if experiment.games.source == "alfworld":
        refuse_unplayable(games, to_be_explained=split == "train")
    return games


def _some(games: tuple[GameRef, ...], count: int | None, seed: int) -> tuple[GameRef, ...]:
    if count is None or count == len(games):
        return games
    return tuple(sorted(sample_games(games, count, seed), key=lambda game: game.id))
