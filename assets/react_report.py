"""A language model that is only asked, beside the policies that are trained."""

import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
from agentprm_dagster.resources.llm import LlmResource
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.resources.tasks import TasksResource

from agentprm_dagster.episodes.stage import Monitor, PartMonitor, Resume, StageReport
from agentprm_dagster.episodes.tables import write_episodes
from agentprm_dagster.episodes.usage import Asked
from agentprm_dagster.iterations import MACHINE
from agentprm_dagster.reports.answers import with_answers_gate
from agentprm_dagster.reports.evaluation import EVALUATION, evaluation_report, evaluation_row
from agentprm_dagster.rollouts.collect import whole_episodes
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    check_specs=gates("react_report", "parse_failures", "all_games_accounted_for"),
    pool=MACHINE,
    kinds={"table"},
)
def react_report(
    context: dg.AssetExecutionContext, stages: StagesResource, tasks: TasksResource, llm: LlmResource
) -> dg.MaterializeResult:
    """ReAct with the paper's prompt by a language model behind a server, on the games that policies are judged on."""
    stage = stages.stage(context)
    settings = stage.settings("evaluation.splits", "evaluation.max_steps").evaluation
    count = stage.unrecorded("evaluation.games").evaluation.games  # the games themselves are recorded
    games = {s: tasks.split(stage.environment, stage.experiment_seed, s, count) for s in settings.splits}
    played = [game for refs in games.values() for game in refs]
    player = llm.player(stage, played)
    limit = stage.settings().gates.max_parse_failures  # asked for with the player

    def evaluate(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        rows, everything, total = [], [], Asked()
        for split, refs in games.items():
            starts = whole_episodes(tasks.open(refs), per_game=1)
            episodes, usage = player.play(starts, max_steps=settings.max_steps, monitor=PartMonitor(split, monitor))
            (out / split).mkdir()
            write_episodes(episodes, out / split)
            row = evaluation_row(
                episodes,
                experiment=stage.experiment,
                ranked_by=None,
                policy=f"ReAct({player.model.name})",
                iteration=None,
                split=split,
                max_steps=settings.max_steps,
                best_of=1,
                world=None,
                horizon=0,
                seed=stage.seed,
                tokens=usage.tokens,
                kinds=stage.kind.task_kinds,
            )
            rows.append(row)
            everything += episodes
            total += usage
        (out / EVALUATION).write_text(json.dumps(rows, indent=2), encoding="utf-8")
        counts: dict[str, int] = {split: len(refs) for split, refs in games.items()}
        report = evaluation_report(rows, counts, total)
        report = with_answers_gate(report, everything, max_parse_failures=limit, asked=total)
        return replace(report, metrics={**report.metrics, **player.numbers(everything, total)})

    return player.make(evaluate, games=played)
