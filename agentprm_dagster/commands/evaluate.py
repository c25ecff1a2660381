"""`agentprm evaluate`: one policy, judged once more, in any way; nothing is stored."""

import logging
from pathlib import Path

import typer

from agentprm_dagster.commands.report import print_rows
from agentprm_dagster.config.catalog import load_experiment
from agentprm_dagster.config.data import EvaluationSplit
from agentprm_dagster.envs.alfworld.games import GameRef, find_games, root_of
from agentprm_dagster.envs.alfworld.unplayable import refuse_unplayable
from agentprm_dagster.episodes.stage import SilentMonitor
from agentprm_dagster.iterations import FIRST
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.games import GamesResource
from agentprm_dagster.resources.inference import InferenceResource
from agentprm_dagster.stages.monitor import StageMonitor, progress_bars
from agentprm_dagster.stages.trials import Judge, Trial

_log = logging.getLogger(__name__)


def evaluate_policy(
    name: str,
    iteration: int,
    split: EvaluationSplit,
    max_steps: int,
    best_of: int,
    seed: int,
    root: Path | None,
    *,
    as_json: bool,
) -> None:
    """Plays a split with pi_i, or with the PRM of the iteration choosing among `best_of` answers (pi_0: of the first).

    Raises:
        ArtifactError: the policy or the PRM has not been made.
        GamesNotFoundError: the split's games are not there.
        GameFileError: some of them cannot be played.
    """
    experiment, store, source = load_experiment(name), ArtifactsResource().store(), GamesResource()
    if split == "train_held_out" and not experiment.games.held_out_rooms:
        raise typer.BadParameter(f"{name} holds out no rooms of train (games.held_out_rooms): choose another --split")
    policy = store.current(name, "improved_policy" if iteration else "initial_policy", iteration)
    reward = experiment.improvement.reward
    judge = None if best_of == 1 else Judge(reward, store.current(name, reward, max(iteration, FIRST)).path)
    games = _games_in(root, split) if root else source.split(experiment, split)
    trial = Trial(experiment, iteration, policy.path, judge, split, games, max_steps, best_of, seed)
    monitor = StageMonitor("evaluate", _log.debug, SilentMonitor())
    with progress_bars():
        (played,) = InferenceResource().play(experiment, [trial.task], monitor)
    print_rows([trial.row(played)], as_json=as_json)


def _games_in(root: Path, split: EvaluationSplit) -> tuple[GameRef, ...]:
    if split == "train_held_out":
        raise typer.BadParameter("train_held_out is cut from the experiment's own games: leave --games out")
    games = find_games(root_of(root), split)
    refuse_unplayable(games, to_be_explained=False)
    return games
