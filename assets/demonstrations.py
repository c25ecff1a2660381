"""What the expert shows."""

from dataclasses import replace
from pathlib import Path

import dagster as dg

from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.episodes.tables import write_episodes
from agentprm_dagster.episodes.usage import Asked
from agentprm_dagster.iterations import MACHINE
from agentprm_dagster.reports.answers import with_answers_gate
from agentprm_dagster.reports.demonstrations_report import copies_numbers, demonstrations_report
from agentprm_dagster.resources.llm import LlmResource
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.rollouts.demonstrations import collect_demonstrations, demonstrator, in_turn
from agentprm_dagster.rollouts.likeliest_first import likeliest_first
from agentprm_dagster.rollouts.rollout import Start
from agentprm_dagster.stages.failures import in_own_words
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    check_specs=gates("demonstrations", "parse_failures", "expert_success"),
    pool=MACHINE,
    kinds={"episodes"},
)
@in_own_words
def demonstrations(
    context: dg.AssetExecutionContext, stages: StagesResource, tasks: TasksResource, llm: LlmResource
) -> dg.MaterializeResult:
    """Episodes in which an expert plays training games, won and lost ones: made once, for all iterations.

    pi_0 learns from the won ones.
    """
    stage = stages.stage(context)
    asked = stage.settings("demonstrations", "dialogue.format", "gates.min_demonstration_success")
    settings, kind = asked.demonstrations, stage.kind
    games = tasks.demonstrated(stage.environment, stage.experiment_seed, settings.episodes, stage.seed)
    player = llm.player(stage, games) if settings.expert == "llm" else None

    # What a rule says is in the agreed form.
    most_failures = stage.settings().gates.max_parse_failures if player else 0.0

    def collect(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        keep_candidates = asked.dialogue.format == "restated"
        opened, took, usage = tasks.open(games), {}, Asked()
        if player:
            starts = [Start(*each) for each in in_turn(opened, settings.episodes)]
            episodes, usage = player.play(starts, max_steps=settings.max_steps, monitor=monitor)
            took = player.numbers(episodes, usage)
        else:
            episodes = collect_demonstrations(
                opened,
                kind,
                expert=settings.expert or kind.experts[0],
                episodes=settings.episodes,
                max_steps=settings.max_steps,
                seed=stage.seed,
                action_noise=settings.action_noise,
                place_noise=settings.place_noise,
                monitor=monitor,
                keep_candidates=keep_candidates,
            )
        report = demonstrations_report(episodes, min_success=asked.gates.min_demonstration_success)
        if settings.likeliest_first:
            begin = demonstrator(kind, settings, keep_candidates=keep_candidates)
            episodes = likeliest_first(
                episodes, opened, kind, begin, copies=settings.likeliest_first, seed=stage.seed, monitor=monitor
            )
            took = copies_numbers(episodes)
        write_episodes(episodes, out)
        report = with_answers_gate(report, episodes, max_parse_failures=most_failures, asked=usage)
        return replace(report, metrics={**report.metrics, **took})

    make = player.make if player else stage.make
    return make(collect, games=games)
