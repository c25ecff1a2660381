"""The policy after one iteration: the paper's Eq. 3."""

from pathlib import Path

import dagster as dg
import pandas as pd

from agentprm_dagster.core.stage import Monitor, StageReport
from agentprm_dagster.core.tables import read_episodes
from agentprm_dagster.core.targets import of_held_out_games
from agentprm_dagster.iterations import ITERATIONS, WHEN_READY
from agentprm_dagster.resources.materialization import gates
from agentprm_dagster.resources.stages import StagesResource


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["behaviour_policy", "rollouts", "mc_value_targets", "prm"],
    check_specs=gates("improved_policy", "policy_finite", "kl_budget", "pairs_to_learn_from"),
    automation_condition=WHEN_READY,
    kinds={"policy", "huggingface"},
)
def improved_policy(context: dg.AssetExecutionContext, stages: StagesResource) -> dg.MaterializeResult:
    """pi_i: pi_(i-1) improved by Online DPO against the PRM. Announces the behaviour policy of iteration i + 1."""
    stage = stages.stage(context)
    policy, rollouts = stage.behaviour_policy(), stage.read("rollouts")
    prm = stage.read(stage.experiment.improvement.reward)
    held_out = stage.read("mc_value_targets") if stage.experiment.improvement.games == "held_out" else None
    last = stage.iteration >= stage.experiment.iterations

    def train(out: Path, monitor: Monitor) -> StageReport:
        from agentprm_dagster.training.policy_improvement import improve_policy  # loads torch

        episodes = read_episodes(rollouts.path)
        if held_out:
            episodes = of_held_out_games(episodes, pd.read_parquet(held_out.path / "targets.parquet"))
        return improve_policy(
            policy.path,
            prm.path,
            episodes,
            {game.id: game for game in stage.games.play(stage.games.train(stage.experiment))},
            stage.experiment,
            out,
            seed=stage.seed,
            monitor=monitor,
        )

    return stage.make(
        train,
        settings=("dialogue", "prm.loss", "improvement", "gates.max_kl"),
        announces=None if last else stage.iteration + 1,
    )
