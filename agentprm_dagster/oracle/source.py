"""Where the oracle's states come from: the policy, its episodes, and the games that these were played in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agentprm_dagster.envs.base import EnvironmentKind, TaskRef
from agentprm_dagster.oracle.tables import OracleError
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.manifest import GAMES_DIGEST
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.reports.evaluation import folder_name
from agentprm_dagster.resources.tasks import TasksResource

Of = Literal["rollouts", "eval_report"]
"""The asset that holds the episodes."""


@dataclass(frozen=True)
class Source:
    """A policy and its episodes."""

    policy: Artifact
    made: Artifact
    """The asset that holds the episodes."""
    episodes: Path
    """The folder of their tables."""
    games: tuple[TaskRef, ...]
    """All that they were played in."""
    split: str


def find_source(
    store: ArtifactStore, tasks: TasksResource, settings: Any, kind: EnvironmentKind, iteration: int, of: Of
) -> Source:
    """The episodes that pi_`iteration` has played: rollouts of the next iteration, or games it was judged on.

    `settings` is the experiment. Of an evaluation it is the first split.

    Raises:
        ArtifactError: the asset has not been made, or is damaged.
        OracleError: the games have changed since.
    """
    name = settings.name
    if of == "rollouts":
        made = store.current(name, of, iteration + 1)
        policy = _input(store, made, "behaviour_policy")
        order = made.manifest.seeds["stage"]
        games = tasks.explored(settings.environment, settings.seed, settings.rollouts.games, order)
        _refuse_others(made, kind.digest(games))
        return Source(policy, made, made.path, games, "train")
    made = store.current(name, of, max(iteration, 1))
    policy = _input(store, made, "improved_policy" if iteration else "initial_policy")
    by_split = {
        split: tasks.split(settings.environment, settings.seed, split, settings.evaluation.games)
        for split in settings.evaluation.splits
    }
    _refuse_others(made, kind.digest([game for games in by_split.values() for game in games]))
    split, games = next(iter(by_split.items()))
    known_by = {
        "split": split,
        "policy": f"pi_{iteration}",
        "best_of": 1,
        "ranked_by": None,
        "world": None,
        "horizon": 0,
    }
    return Source(policy, made, made.path / folder_name(known_by), games, split)


def _input(store: ArtifactStore, made: Artifact, role: str) -> Artifact:
    for each in made.manifest.inputs:
        if each.role == role:
            return store.resolve(each)
    raise OracleError(f"{made.version} was made without {role}: name the iteration of a policy that has played there")


def _refuse_others(made: Artifact, digest: str) -> None:
    if made.manifest.config.get(GAMES_DIGEST) != digest:
        raise OracleError(
            f"{made.version} was played in other games than those that the settings name now: "
            f"`agentprm run {made.version.experiment}` makes it anew"
        )
