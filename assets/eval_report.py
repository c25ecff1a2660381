"""How good a policy is, with and without its PRM choosing for it."""

import json
from itertools import product
from pathlib import Path

import dagster as dg

from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.episodes.tables import write_episodes
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.iterations import FIRST, ITERATIONS, WHEN_READY
from agentprm_dagster.reports.chart import draw_scaling
from agentprm_dagster.reports.evaluation import EVALUATION, evaluation_report
from agentprm_dagster.resources.inference import InferenceResource
from agentprm_dagster.resources.stages import Stage, StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.stages.materialization import gates
from agentprm_dagster.stages.trials import Imagined, Judge, Trial

SCALING = "scaling.png"
"""The picture of success over N, where there are several."""


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["initial_policy", "improved_policy", "prm", "world_model"],
    check_specs=gates("eval_report", "all_games_accounted_for"),
    automation_condition=WHEN_READY,
    kinds={"table"},
)
def eval_report(
    context: dg.AssetExecutionContext, stages: StagesResource, tasks: TasksResource, inference: InferenceResource
) -> dg.MaterializeResult:
    """pi_i and BoN(pi_i, prm[i]) on games that nothing was learnt from; in iteration 1 also pi_0."""
    stage = stages.stage(context)
    asked = stage.settings(
        "dialogue", "engine", "evaluation", "improvement.reward", "rollouts.slots", "rollouts.max_new_tokens"
    )
    settings, ranked_by = asked.evaluation, asked.improvement.reward
    if settings.foresight.worlds:
        asked = stage.settings("targets.gamma", "world_model.max_reply_tokens")
    reward = Judge(ranked_by, stage.read(ranked_by).path)
    policies = {stage.iteration: stage.read("improved_policy").path}
    if stage.iteration == FIRST or "log_ratio" in settings.ranked_by:
        policies[stage.iteration - 1] = _policy_before(stage)
    judged = sorted(policies) if stage.iteration == FIRST else [stage.iteration]

    def judges(i: int) -> list[Judge]:
        known = {"reward": reward}
        if i and i - 1 in policies:
            known["log_ratio"] = Judge("log_ratio", policies[i - 1])
        return [known[kind] for kind in settings.ranked_by if kind in known]

    foresight = settings.foresight
    world_model = stage.read("world_model").path if "learned" in foresight.worlds else None
    worlds = [(world, world_model if world == "learned" else None) for world in foresight.worlds]
    ahead = [
        (reward, foresight.best_of, Imagined(world, model, h)) for (world, model), h in product(worlds, foresight.turns)
    ]

    games = {
        split: tasks.split(stage.environment, stage.experiment_seed, split, settings.games) for split in settings.splits
    }
    trials = [
        Trial(
            *(stage.experiment, stage.environment.kind, asked, i, policies[i], judge, split, refs, settings.max_steps),
            n,
            stage.seed,
            imagined,
        )
        for split, refs in games.items()
        for i in judged
        for judge, n, imagined in [(None, 1, None), *product(judges(i), settings.best_of, [None]), *ahead]
    ]

    embedded = stage.unrecorded("model.name").model.name == "embedded"

    def evaluate(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        played = inference.play([trial.task for trial in trials], monitor, resume, embedded=embedded)
        for trial, one in zip(trials, played, strict=True):
            (out / trial.name).mkdir()
            write_episodes(one.episodes, out / trial.name)
        rows = [trial.row(one) for trial, one in zip(trials, played, strict=True)]
        (out / EVALUATION).write_text(json.dumps(rows, indent=2), encoding="utf-8")
        usage = sum((one.usage for one in played), Usage())
        several = len(settings.best_of) > 1
        if several:
            draw_scaling(rows, out / SCALING)
        counts: dict[str, int] = {split: len(refs) for split, refs in games.items()}
        return evaluation_report(rows, counts, usage, SCALING if several else None)

    return stage.make(evaluate, games=[game for refs in games.values() for game in refs])


def _policy_before(stage: Stage) -> Path:
    """pi_(i-1)."""
    if stage.iteration == FIRST:
        return stage.read("initial_policy", 0).path
    return stage.read("improved_policy", stage.iteration - 1, role="previous_policy").path
