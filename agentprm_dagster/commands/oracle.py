"""`agentprm oracle play`: plays near-exact values once, and keeps them in the store with what they were made from."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from agentprm_dagster.algorithm.held_out import hold_out
from agentprm_dagster.commands.tables import print_table
from agentprm_dagster.config.catalog import load_compute, load_experiment
from agentprm_dagster.engine.kinds import KINDS as ENGINES
from agentprm_dagster.engine.kinds import REFERENCE
from agentprm_dagster.envs.base import Task
from agentprm_dagster.envs.kinds import KINDS, kind_of
from agentprm_dagster.episodes.engine_difference import with_engine_gate
from agentprm_dagster.episodes.stage import Monitor, Resume, SilentMonitor, StageReport
from agentprm_dagster.episodes.tables import iter_episodes, write_episodes
from agentprm_dagster.home import save_seconds
from agentprm_dagster.launch.play import Play
from agentprm_dagster.oracle.drawing import Point, draw_points
from agentprm_dagster.oracle.playing import TriedOut, try_states
from agentprm_dagster.oracle.source import Of, Source, find_source
from agentprm_dagster.oracle.tables import ANSWERS, ASSET, STATES, OracleError, metrics_of, state_row
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.code import current_code
from agentprm_dagster.provenance.manifest import GAMES_DIGEST, Recipe
from agentprm_dagster.provenance.unfinished import forget_unfinished, unfinished_folder
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.inference import InferenceResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.rollouts.replay import Replay
from agentprm_dagster.stages.available import require
from agentprm_dagster.stages.compute import UsedCompute
from agentprm_dagster.stages.monitor import StageMonitor, progress_bars
from agentprm_dagster.stages.page import PAGE

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What a person asks the oracle for."""

    states: int
    actions: int
    continuations: int
    temperature: float
    """At which answers are drawn; they are continued at the temperature of rollouts."""
    seed: int
    of: Of


def play_oracle(name: str, iteration: int, asked: Asked, compute: str) -> None:
    """Plays the oracle of pi_`iteration`, or finds the one that was made from the same before, and prints what it has.

    Raises:
        ArtifactError: the policy's episodes have not been made.
        OracleError: they were played in other games than those of now, or hold no state to ask about.
        MissingError: this machine lacks what the compute asks for.
    """
    settings, store, used = load_experiment(name), ArtifactsResource().store(), UsedCompute(load_compute(compute))
    require(load_compute(compute))
    source = find_source(store, TasksResource(), settings, kind_of(settings.environment.kind), iteration, asked.of)
    points = draw_points(iter_episodes(source.episodes), asked.states, asked.seed)
    if not points:
        raise OracleError(f"{source.made.version} holds no whole episode with a decision to ask about")
    recipe = _recipe(settings, iteration, asked, source)
    with store.lock(name, ASSET, iteration):
        made = store.reuse(recipe)
        if made is None:
            begun = unfinished_folder(store.work, recipe) / used.folder
            with store.draft(recipe) as draft, progress_bars():
                monitor = StageMonitor(f"{ASSET}[{iteration}]", _log.debug, SilentMonitor())
                report = _make(
                    settings, asked, source, points, used, draft.path, monitor, Resume(begun, save_seconds())
                )
                (draft.path / PAGE).write_text(report.preview, encoding="utf-8")
                around = used.environment([source.policy.path])
                made = draft.commit(metrics=report.metrics, gates=report.gates, used=around)
            forget_unfinished(store.work, made.version.partition)
    _print(made)


def _recipe(settings: Any, iteration: int, asked: Asked, source: Source) -> Recipe:
    """What decides what is played: the policy, its episodes, what is asked for, and how rollouts are played."""
    config = {
        **{name: value for name, value in vars(asked).items() if name != "seed"},
        "dialogue": settings.dialogue.format,
        "gamma": settings.targets.gamma,
        "held_out_games": settings.targets.held_out_games,
        "rollouts": settings.rollouts.model_dump(mode="json", include={"temperature", "patience", "max_new_tokens"}),
        "max_steps": _max_steps(settings, asked.of),
        GAMES_DIGEST: source.made.manifest.config[GAMES_DIGEST],
    }
    modules = (f"{KINDS[settings.environment.kind]}.kind", ENGINES[REFERENCE])
    return Recipe(
        experiment=settings.name,
        asset=ASSET,
        iteration=iteration,
        inputs=(source.policy.as_input("policy"), source.made.as_input(asked.of)),
        config=config,
        code=current_code("agentprm_dagster.oracle.playing", "agentprm_dagster.oracle.drawing", *modules),
        seeds={"experiment": settings.seed, "stage": asked.seed},
    )


def _max_steps(settings: Any, of: Of) -> int:
    """The cap under which the episodes were played, which is also that of the continuations."""
    return int((settings.rollouts if of == "rollouts" else settings.evaluation).max_steps)


def _make(
    settings: Any,
    asked: Asked,
    source: Source,
    points: Sequence[Point],
    used: UsedCompute,
    out: Path,
    monitor: Monitor,
    resume: Resume,
) -> StageReport:
    """Writes the tables into a folder and reports on them."""
    from agentprm_dagster.oracle.reading import read_log_probs  # loads torch
    from agentprm_dagster.oracle.tables import read_oracle

    kind, embedded = kind_of(settings.environment.kind), settings.model.name == "embedded"
    play = _play(settings, asked, source, used)
    tried = try_states(
        play,
        points,
        InferenceResource(),
        monitor,
        resume,
        gamma=settings.targets.gamma,
        embedded=embedded,
        where=used.playing,
    )
    states = _states(settings, asked, source, points, tried)
    answers = pd.DataFrame(tried.rows)
    write_episodes({point.episode.episode_id: point.episode for point in points}.values(), out)
    states.to_parquet(out / STATES, index=False)
    answers.to_parquet(out / ANSWERS, index=False)
    said = read_log_probs(source.policy.path, read_oracle(out), kind.wording, settings.dialogue.format, used.engine)
    answers.assign(log_probability=said).to_parquet(out / ANSWERS, index=False)
    metrics = {**metrics_of(states, answers), **tried.usage.metrics()}
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    about = f"Near-exact values of pi_{play.iteration}: {len(states)} states of {source.made.version}."
    report = StageReport(metrics, (), f"{about}\n\n| oracle | |\n|---|---|\n{rows}\n")
    return with_engine_gate(report, tried.differences)


def _play(settings: Any, asked: Asked, source: Source, used: UsedCompute) -> Play:
    how = settings.rollouts.model_copy(
        update={
            "branch_actions": asked.actions,
            "branch_continuations": asked.continuations,
            "branch_temperature": asked.temperature,
            "branch_placement": "uniform",
            "max_steps": _max_steps(settings, asked.of),
        }
    )
    return Play(
        policy=source.policy.path,
        iteration=source.policy.manifest.iteration,
        environment=settings.environment.kind,
        split=source.split,
        games=source.games,
        dialogue=settings.dialogue.format,
        how=how,
        seed=asked.seed,
        engine=used.engine,
    )


def _states(settings: Any, asked: Asked, source: Source, points: Sequence[Point], tried: TriedOut) -> pd.DataFrame:
    """The table of those states in which something could be tried, in their order."""
    kind, share = kind_of(settings.environment.kind), settings.targets.held_out_games
    games: dict[str, Task] = {game.id: kind.open(game) for game in source.games}
    played = {game.id for game in source.games}
    held_out = hold_out(played, share, settings.seed) if asked.of == "rollouts" else played
    rows = []
    for point in points:
        _, observation = Replay(games[point.episode.game], point.episode.turns[: point.turn]).open(point.turn)
        commands = observation.commands if settings.dialogue.format == "restated" else ()
        held = point.episode.game in held_out
        rows.append(state_row(point, commands, kind.wording, settings.dialogue.format, held_out=held))
    told = {row["state"] for row in tried.rows}
    return pd.DataFrame([row for row in rows if row["state"] in told])


def _print(made: Artifact) -> None:
    numbers = [(name, "-" if value is None else f"{value:.4g}") for name, value in made.manifest.metrics.items()]
    print_table(("oracle", str(made.version)), numbers, 2)
    print(made.uri)
