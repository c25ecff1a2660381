"""How good a policy is, with and without its PRM choosing for it."""

import json
from pathlib import Path

import dagster as dg

from agentprm_dagster.core.evaluation import evaluation_report
from agentprm_dagster.core.stage import Monitor, StageReport
from agentprm_dagster.core.tables import write_episodes
from agentprm_dagster.core.usage import Usage
from agentprm_dagster.iterations import FIRST, ITERATIONS, WHEN_READY
from agentprm_dagster.resources.evaluations import EVALUATION, Trial
from agentprm_dagster.resources.inference import InferenceResource
from agentprm_dagster.resources.materialization import gates
from agentprm_dagster.resources.stages import StagesResource


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["initial_policy", "improved_policy", "prm"],
    check_specs=gates("eval_report", "all_games_accounted_for"),
    automation_condition=WHEN_READY,
    kinds={"table"},
)
def eval_report(
    context: dg.AssetExecutionContext, stages: StagesResource, inference: InferenceResource
) -> dg.MaterializeResult:
    """pi_i and BoN(pi_i, prm[i]) on games that nothing was learnt from; in iteration 1 also pi_0."""
    stage = stages.stage(context)
    settings = stage.experiment.evaluation
    prm = stage.read(stage.experiment.improvement.reward)
    policies = {stage.iteration: stage.read("improved_policy")}
    if stage.iteration == FIRST:
        policies[0] = stage.read("initial_policy", 0)
    games = {split: stage.games.split(stage.experiment, split) for split in settings.splits}
    trials = [
        Trial(stage.experiment, i, policy.path, judge, split, refs, settings.max_steps, n, stage.seed)
        for split, refs in games.items()
        for i, policy in sorted(policies.items())
        for judge, n in ((None, 1), (prm.path, settings.best_of))
    ]

    def evaluate(out: Path, monitor: Monitor) -> StageReport:
        played = inference.play(stage.experiment, [trial.task for trial in trials], monitor)
        for trial, one in zip(trials, played, strict=True):
            (out / trial.name).mkdir()
            write_episodes(one.episodes, out / trial.name)
        rows = [trial.row(one.episodes) for trial, one in zip(trials, played, strict=True)]
        (out / EVALUATION).write_text(json.dumps(rows, indent=2), encoding="utf-8")
        usage = sum((one.usage for one in played), Usage())
        return evaluation_report(rows, {split: len(refs) for split, refs in games.items()}, usage)

    return stage.make(
        evaluate,
        settings=("dialogue", "evaluation", "rollouts.slots", "rollouts.max_new_tokens"),
        games=[game for refs in games.values() for game in refs],
    )
