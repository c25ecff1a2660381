"""`agentprm evaluate`: one policy, judged once more, in any way; nothing is stored."""

import logging
from pathlib import Path

import typer

from agentprm_dagster.commands.report import print_rows
from agentprm_dagster.config.catalog import load_compute, load_experiment
from agentprm_dagster.envs.alfworld.games import find_games, root_of
from agentprm_dagster.envs.alfworld.tasks import SPLITS
from agentprm_dagster.envs.alfworld.unplayable import refuse_unplayable
from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.iterations import FIRST
from agentprm_dagster.launch.play import Choice, Play
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.inference import InferenceResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.stages.available import require
from agentprm_dagster.stages.monitor import StageMonitor, progress_bars
from agentprm_dagster.stages.trials import name_of, once, row_of

_log = logging.getLogger(__name__)


def evaluate_policy(
    name: str,
    iteration: int,
    split: str,
    max_steps: int,
    best_of: int,
    seed: int,
    root: Path | None,
    compute: str,
    *,
    as_json: bool,
) -> None:
    """Plays a split with pi_i, or with the PRM of the iteration choosing among `best_of` answers (pi_0: of the first).

    Raises:
        ArtifactError: the policy or the PRM has not been made.
        GamesNotFoundError: the split's games are not there.
        GameFileError: some of them cannot be played.
        MissingError: this machine lacks what the compute asks for.
    """
    experiment, store, source = load_experiment(name), ArtifactsResource().store(), TasksResource()
    computed_by = load_compute(compute)
    require(computed_by)
    counts = experiment.environment.counts
    if counts.get(split, 0) == 0:
        splits = ", ".join(name for name, count in counts.items() if name != "train" and count != 0)
        raise typer.BadParameter(f"{name} has no games of {split}: choose another --split, of {splits}")
    policy = store.current(name, "improved_policy" if iteration else "initial_policy", iteration)
    choice, reward = None, experiment.improvement.reward
    if best_of > 1:
        if reward is None:
            raise typer.BadParameter(f"{name} trains no PRM that could choose: leave --best-of at 1")
        judge = store.current(name, reward, max(iteration, FIRST)).path
        choice = Choice(reward, judge, best_of, experiment.evaluation.best_of_prior)
    if root and experiment.environment.kind != "alfworld":
        raise typer.BadParameter(f"--games names ALFWorld's games; {name} plays {experiment.environment.kind}")
    games = (
        _games_in(root, split)
        if root
        else source.split(experiment.environment, experiment.seed, split, experiment.evaluation.games)
    )
    kind = experiment.environment.kind
    play = Play(
        policy=policy.path,
        iteration=iteration,
        environment=kind,
        split=split,
        games=games,
        dialogue=experiment.dialogue.format,
        how=once(experiment, max_steps, choice),
        seed=seed,
        choice=choice,
        engine=computed_by.engine,
    )
    monitor = StageMonitor("evaluate", _log.debug, SilentMonitor())
    with progress_bars():
        embedded = experiment.model.name == "embedded"
        where = computed_by.playing
        (played,) = InferenceResource().play({name_of(play): play}, monitor, embedded=embedded, where=where).values()
    print_rows([row_of(play, played, name)], kind, as_json=as_json)


def _games_in(root: Path, split: str) -> tuple[TaskRef, ...]:
    for known in SPLITS:
        if known == split:
            games = find_games(root_of(root), known)
            refuse_unplayable(games, to_be_explained=False)
            return games
    raise typer.BadParameter(f"{split} is cut from the experiment's own games: leave --games out")
