"""The games that a bundle's episodes were played in: which they are, and whether this machine has the same."""

from collections.abc import Mapping
from dataclasses import dataclass

from agentprm_dagster.bundles.findings import Check
from agentprm_dagster.bundles.opened import TRAIN, Opened
from agentprm_dagster.bundles.record import EVALUATION, GAMES, ROLLOUTS, Part
from agentprm_dagster.config import Experiment
from agentprm_dagster.envs.base import EnvironmentKind, TaskFileError, TaskRef, TasksCountError, TasksNotFoundError
from agentprm_dagster.envs.generated import TasksConflictError
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.provenance.manifest import GAMES_DIGEST, Manifest
from agentprm_dagster.resources.tasks import TasksResource


@dataclass(frozen=True)
class PlayedGames:
    """The games of an experiment's evaluation, and those of one iteration's rollouts."""

    kind: EnvironmentKind
    by_split: Mapping[str, tuple[TaskRef, ...]]
    """Those of the rollouts under `train`."""

    def digests(self) -> dict[str, dict[str, str]]:
        """The digest of every game by itself, by split and id."""
        return {
            split: {ref.id: self.kind.digest([ref]) for ref in refs} for split, refs in sorted(self.by_split.items())
        }

    def are_those_of(self, made: Manifest) -> bool:
        """Whether an artifact was played in these very files: those of the rollouts, or else of the evaluation."""
        rollouts = made.asset == "rollouts"
        refs = [ref for split, each in self.by_split.items() if (split == TRAIN) is rollouts for ref in each]
        return made.config.get(GAMES_DIGEST) == self.kind.digest(refs)


def played_games(experiment: Experiment, rollouts: Manifest) -> PlayedGames:
    """The games that the settings ask for; those that are made are made first where they are not there.

    Raises:
        TasksNotFoundError, TasksCountError, TaskFileError: see `TasksResource`.
        TasksConflictError: other games lie where they would be made.
    """
    tasks, environment, seed = TasksResource(), experiment.environment, experiment.seed
    evaluation = experiment.evaluation
    judged = {split: tasks.split(environment, seed, split, evaluation.games) for split in evaluation.splits}
    explored = tasks.explored(environment, seed, experiment.rollouts.games, rollouts.seeds.get("stage", 0))
    return PlayedGames(kind_of(environment.kind), {**judged, TRAIN: explored})


@dataclass(frozen=True)
class PlayableGames:
    """What of the played games can be played here."""

    check: Check
    refs: Mapping[str, Mapping[str, TaskRef]]
    """By split and id; only those whose files are the ones that were played."""


def find_games(opened: Opened) -> PlayableGames:
    """The games of a bundle on this machine, each with the digest that `games.json` says."""
    listed = f"{sum(map(len, opened.games.values()))} games"
    try:
        games = played_games(opened.experiment, opened.manifest(ROLLOUTS))
    except (TasksNotFoundError, TasksCountError, TasksConflictError, TaskFileError) as error:
        return PlayableGames(Check("games", listed, (), (f"the games are not on this machine: {error}",)), {})
    here = games.digests()
    differences, not_done = [], []
    for part in (EVALUATION, ROLLOUTS):
        same = games.are_those_of(opened.manifest(part))
        odd = _odd_games(opened, here, part)
        if same:
            differences += [f"{GAMES}: {each} is not listed as the game that {part} was played in" for each in odd]
        elif odd:
            not_done += [f"{each} on this machine is not the game that {part} was played in" for each in odd]
        else:
            differences.append(f"{GAMES}: its games are not those whose digest the manifest of {part} names")
    playable = {
        split: {ref.id: ref for ref in refs if here[split][ref.id] == opened.games.get(split, {}).get(ref.id)}
        for split, refs in games.by_split.items()
    }
    return PlayableGames(Check("games", listed, tuple(differences), tuple(not_done)), playable)


def _odd_games(opened: Opened, here: Mapping[str, Mapping[str, str]], part: Part) -> list[str]:
    """The games of an evaluation or of rollouts of which bundle and machine say different things."""
    splits = [split for split in sorted(here.keys() | opened.games.keys()) if (split == TRAIN) is (part == ROLLOUTS)]
    pairs = [(here.get(split, {}), opened.games.get(split, {})) for split in splits]
    return [
        name
        for own, listed in pairs
        for name in sorted(own.keys() | listed.keys())
        if own.get(name) != listed.get(name)
    ]
