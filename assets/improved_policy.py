"""The policy after one iteration: the paper's Eq. 3."""

import json
from pathlib import Path

import dagster as dg
import pandas as pd

from agentprm_dagster.algorithm.targets import of_held_out_games
from agentprm_dagster.envs.base import explain_in
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.iterations import ITERATIONS, WHEN_READY
from agentprm_dagster.reports.chart import draw_panel
from agentprm_dagster.reports.overoptimization import MEASUREMENTS, PICTURE, Watched
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.stages.materialization import gates
from agentprm_dagster.training.rationalisation import rationalise


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["behaviour_policy", "rollouts", "mc_value_targets", "prm", "prm_committee"],
    check_specs=gates("improved_policy", "policy_finite", "kl_budget", "pairs_to_learn_from"),
    automation_condition=WHEN_READY,
    kinds={"policy", "huggingface"},
)
def improved_policy(
    context: dg.AssetExecutionContext, stages: StagesResource, tasks: TasksResource
) -> dg.MaterializeResult:
    """pi_i: pi_(i-1) improved by Online DPO against the PRM. Announces the behaviour policy of iteration i + 1."""
    stage = stages.stage(context)
    settings = stage.experiment.improvement
    policy, rollouts, prm = stage.behaviour_policy(), stage.read("rollouts"), stage.read(settings.reward)
    partial = settings.games == "held_out" or settings.panel.every
    targets = stage.read("mc_value_targets") if partial or settings.rationalised_weight else None
    committee = stage.read("prm_committee") if settings.panel.committee else None
    explain = explain_in(kind_of(stage.experiment.environment.kind))
    last = stage.iteration >= stage.experiment.iterations
    seed = rollouts.manifest.seeds["stage"]
    games = tasks.explored(stage.experiment, stage.experiment.rollouts.games, seed)
    stage.refuse_other_games("rollouts", games)

    def train(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        from agentprm_dagster.training.policy_improvement import improve_policy  # loads torch

        episodes, watched, told = read_episodes(rollouts.path), None, None
        worth = pd.read_parquet(targets.path / "targets.parquet") if targets else pd.DataFrame()
        if settings.rationalised_weight:
            told = rationalise(episodes, worth, explain, margin=settings.rationalised_margin)
        if partial:
            held_out = of_held_out_games(episodes, worth)
            if settings.panel.every:
                watched = Watched(held_out, sorted(committee.path.glob("member_*")) if committee else ())
                kept = {episode.episode_id for episode in held_out}
                episodes = [episode for episode in episodes if episode.episode_id not in kept]
            else:
                episodes = held_out
        report = improve_policy(
            policy.path,
            prm.path,
            episodes,
            {game.id: game for game in tasks.open(games)},
            stage.experiment,
            out,
            watched=watched,
            rationalised=told,
            seed=stage.seed,
            monitor=monitor,
            resume=resume,
        )
        if watched:
            draw_panel(json.loads((out / MEASUREMENTS).read_text(encoding="utf-8")), out / PICTURE)
        return report

    return stage.make(
        train,
        settings=("dialogue", "rollouts", "targets", "prm.loss", "improvement", "gates.max_kl"),
        games=games,
        announces=None if last else stage.iteration + 1,
    )
