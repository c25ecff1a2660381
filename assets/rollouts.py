"""Stage 1 of the paper's Algorithm 1: the policy explores."""

from pathlib import Path

import dagster as dg

from agentprm_dagster.envs.base import TaskRef
from agentprm_dagster.episodes.engine_difference import GATE, with_engine_gate
from agentprm_dagster.episodes.stage import Monitor, Resume, StageReport
from agentprm_dagster.episodes.tables import read_episodes, write_episodes
from agentprm_dagster.iterations import FIRST, ITERATIONS, MACHINE
from agentprm_dagster.launch.play import Play
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.reports.chart.coverage import draw_coverage
from agentprm_dagster.reports.episode_page import PAGE, episode_page
from agentprm_dagster.reports.rollouts_report import rollouts_report
from agentprm_dagster.reports.transcript import with_transcripts
from agentprm_dagster.reports.watched import Watched, groups
from agentprm_dagster.resources.inference import InferenceResource
from agentprm_dagster.resources.stages import Stage, StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.rollouts.coverage import PICTURE, coverage
from agentprm_dagster.stages.failures import in_own_words
from agentprm_dagster.stages.materialization import gates


@dg.asset(
    partitions_def=ITERATIONS,
    # pi_0 itself is not read here; naming it makes a run of the whole graph wait until it has been announced.
    deps=["behaviour_policy", "initial_policy", "demonstrations"],
    check_specs=gates("rollouts", "parse_failures", "both_outcomes", GATE),
    pool=MACHINE,
    kinds={"episodes"},
)
@in_own_words
def rollouts(
    context: dg.AssetExecutionContext, stages: StagesResource, tasks: TasksResource, inference: InferenceResource
) -> dg.MaterializeResult:
    """Episodes of the behaviour policy on training games: whole ones, and branches from states along them.

    Part of them may begin where an expert has been (`rollouts.expert_starts`), and branches may be placed by the last
    iteration's reward model (`rollouts.branch_placement`).
    """
    stage = stages.stage(context)
    asked = stage.settings("dialogue", "rollouts", "gates.max_parse_failures", "gates.min_wins", "gates.min_losses")
    settings, limits = asked.rollouts, asked.gates
    around = stage.unrecorded("improvement.reward", "model.name")  # what is read in their place is recorded
    policy, demonstrations = stage.behaviour_policy(), stage.read("demonstrations", 0)
    by_value = settings.branch_placement in ("disagreement", "uncertainty") and stage.iteration > FIRST
    reward = around.improvement.reward
    last_prm = stage.read(reward, stage.iteration - 1, role=f"previous_{reward}") if by_value else None
    games = tasks.explored(stage.environment, stage.experiment_seed, settings.games, stage.seed)
    stage.refuse_other_games("demonstrations", _demonstrated(stage, tasks, demonstrations))

    play = Play(
        policy=policy.path,
        iteration=stage.iteration - 1,
        environment=stage.environment.kind,
        split="train",
        games=games,
        dialogue=asked.dialogue.format,
        how=settings,
        seed=stage.seed,
        demonstrations=demonstrations.path if settings.expert_starts else None,
        placed_by=last_prm.path if last_prm else None,
        engine=stage.compute.engine,
    )

    def collect(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        embedded, where = around.model.name == "embedded", stage.compute.playing
        (played,) = inference.play({"": play}, monitor, resume, embedded=embedded, where=where).values()
        write_episodes(played.episodes, out)
        expert = [episode for episode in read_episodes(demonstrations.path) if episode.won]
        seen = coverage(played.episodes, expert, {game.id: game for game in tasks.open(games)})
        draw_coverage(seen, out / PICTURE)
        report = rollouts_report(
            played.episodes,
            played.usage,
            coverage=seen,
            max_parse_failures=limits.max_parse_failures,
            min_wins=limits.min_wins,
            min_losses=limits.min_losses,
        )
        watched = [Watched(episode) for episode in played.episodes]
        about = f"{len(watched):,} episodes and branches of pi_{stage.iteration - 1}; some of them are shown."
        page = episode_page(f"Episodes of {stage.name}", about, groups(watched), stage.kind.wording.task)
        (out / PAGE).write_text(page, encoding="utf-8")
        return with_engine_gate(with_transcripts(report, watched, PAGE), [played.difference])

    return stage.make(collect, games=games)


def _demonstrated(stage: Stage, tasks: TasksResource, demonstrations: Artifact) -> tuple[TaskRef, ...]:
    """The games that demonstrations were played in, whose states are gone back to."""
    episodes = stage.unrecorded("demonstrations.episodes").demonstrations.episodes
    order = demonstrations.manifest.seeds["stage"]
    return tasks.demonstrated(stage.environment, stage.experiment_seed, episodes, order)
