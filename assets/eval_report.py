"""How good a policy is, with and without its PRM choosing for it."""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import dagster as dg

from agentprm_dagster.episodes.engine_difference import GATE, with_engine_gate
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.episodes.tables import write_episodes
from agentprm_dagster.episodes.usage import Usage
from agentprm_dagster.episodes.values import write_values
from agentprm_dagster.iterations import FIRST, ITERATIONS, MACHINE
from agentprm_dagster.launch.play import Choice, Lookahead, Play
from agentprm_dagster.launch.pool import Played
from agentprm_dagster.reports.chart.success import draw_scaling
from agentprm_dagster.reports.episode_page import PAGE, episode_page
from agentprm_dagster.reports.evaluation import EVALUATION, evaluation_report
from agentprm_dagster.reports.transcript import with_transcripts
from agentprm_dagster.reports.watched import groups
from agentprm_dagster.resources.inference import InferenceResource
from agentprm_dagster.resources.stages import Stage, StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.stages.failures import in_own_words
from agentprm_dagster.stages.materialization import gates
from agentprm_dagster.stages.trials import name_of, once, row_of, valued_by, watched_of

SCALING = "scaling.png"
"""The picture of success over N, where there are several."""


@dg.asset(
    partitions_def=ITERATIONS,
    deps=["initial_policy", "improved_policy", "prm", "world_model"],
    check_specs=gates("eval_report", "all_games_accounted_for", GATE),
    pool=MACHINE,
    kinds={"table"},
)
@in_own_words
def eval_report(
    context: dg.AssetExecutionContext, stages: StagesResource, tasks: TasksResource, inference: InferenceResource
) -> dg.MaterializeResult:
    """pi_i and BoN(pi_i, prm[i]) on games that nothing was learnt from; in iteration 1 also pi_0.

    Best-of-N needs a judge: where no PRM is trained it is left out, but for `log_ratio`.
    """
    stage = stages.stage(context)
    asked = stage.settings("dialogue", "evaluation", "improvement.reward", "rollouts.slots", "rollouts.max_new_tokens")
    settings, ranked_by = asked.evaluation, asked.improvement.reward
    reward = stage.read(ranked_by).path if ranked_by else None
    policies = {stage.iteration: stage.read("improved_policy").path}
    if stage.iteration == FIRST or "log_ratio" in settings.ranked_by:
        policies[stage.iteration - 1] = _policy_before(stage)
    judged = sorted(policies) if stage.iteration == FIRST else [stage.iteration]
    observations = ranked_by == "prm" and stage.unrecorded("prm.reply_weight").prm.reply_weight > 0

    by_reward = {"reward": (ranked_by, reward)} if reward else {}
    ahead = [
        Choice(*by_reward["reward"], settings.lookahead.best_of, settings.lookahead.prior, lookahead)
        for lookahead in _lookaheads(stage)
    ]

    def choices(i: int) -> list[Choice | None]:
        judges: dict[str, tuple[str, Path]] = dict(by_reward)
        if i and i - 1 in policies:
            judges["log_ratio"] = "log_ratio", policies[i - 1]
        known = [judges[kind] for kind in settings.ranked_by if kind in judges]
        several = product(known, settings.best_of)
        return [None, *(Choice(*judge, n, settings.best_of_prior) for judge, n in several), *ahead]

    games = {
        split: tasks.split(stage.environment, stage.experiment_seed, split, settings.games) for split in settings.splits
    }
    plays = [
        Play(
            policy=policies[i],
            iteration=i,
            environment=stage.environment.kind,
            split=split,
            games=refs,
            dialogue=asked.dialogue.format,
            how=once(asked, settings.max_steps, choice),
            seed=stage.seed,
            choice=choice,
            valued_by=valued_by(reward, len(refs), observations=observations) if reward and not choice else None,
            engine=stage.compute.engine,
        )
        for split, refs in games.items()
        for i in judged
        for choice in choices(i)
    ]

    embedded = stage.unrecorded("model.name").model.name == "embedded"

    def evaluate(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        by_name = {name_of(play): play for play in plays}
        played = inference.play(by_name, monitor, resume, embedded=embedded, where=stage.compute.playing)
        for name, one in played.items():
            (out / name).mkdir()
            write_episodes(one.episodes, out / name)
            if one.values:
                write_values(one.values, out / name)
        rows = [row_of(play, one, stage.experiment) for play, one in zip(plays, played.values(), strict=True)]
        (out / EVALUATION).write_text(json.dumps(rows, indent=2), encoding="utf-8")
        usage = sum((one.usage for one in played.values()), Usage())
        several = len(settings.best_of) > 1
        if several:
            draw_scaling(rows, out / SCALING)
        counts: dict[str, int] = {split: len(refs) for split, refs in games.items()}
        report = evaluation_report(rows, counts, usage, SCALING if several else None)
        report = _with_episodes(report, stage, ranked_by, list(zip(plays, played.values(), strict=True)), out)
        return with_engine_gate(report, [one.difference for one in played.values()])

    return stage.make(evaluate, games=[game for refs in games.values() for game in refs])


def _with_episodes(
    report: StageReport, stage: Stage, judge: str | None, played: Sequence[tuple[Play, Played]], out: Path
) -> StageReport:
    """The report and, in `out`, the page of what pi_i played alone: beside pi_(i-1) where that was judged as well."""
    i = stage.iteration
    greedy = [(play.iteration, watched_of(play, one), one) for play, one in played if play.choice is None]
    now, before = ([each for k, watched, _ in greedy if k == who for each in watched] for who in (i, i - 1))
    games = sum(len(one.episodes) for k, _, one in greedy if k == i)
    read = f"{len(now):,} of {games:,} episodes were read by {judge}[{i}]" if judge else f"{games:,} episodes"
    about = f"pi_{i}, greedy: {read}; some of them are shown."
    page = episode_page(f"Episodes of {stage.name}", about, groups(now, before, f"pi_{i - 1}"), stage.kind.wording.task)
    (out / PAGE).write_text(page, encoding="utf-8")
    return with_transcripts(report, now, PAGE)


def _lookaheads(stage: Stage) -> list[Lookahead]:
    """What is predicted: every world, over every number of turns."""
    lookahead = stage.settings().evaluation.lookahead
    if not lookahead.worlds:
        return []
    asked = stage.settings("targets.gamma", "world_model.max_reply_tokens")
    models = [stage.read("world_model").path if world == "learned" else None for world in lookahead.worlds]
    gamma, most = asked.targets.gamma, asked.world_model.max_reply_tokens
    return [Lookahead(model, turns, gamma, most) for model, turns in product(models, lookahead.horizons)]


def _policy_before(stage: Stage) -> Path:
    """pi_(i-1)."""
    if stage.iteration == FIRST:
        return stage.read("initial_policy", 0).path
    return stage.read("improved_policy", stage.iteration - 1, role="previous_policy").path
