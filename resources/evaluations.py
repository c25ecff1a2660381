"""Judging policies, and the evaluations that are in the store."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentprm_dagster.config import Experiment
from agentprm_dagster.core.evaluation import evaluation_row
from agentprm_dagster.core.results import Row, in_order
from agentprm_dagster.core.rollout import Agent, play, whole_episodes
from agentprm_dagster.core.stage import Monitor
from agentprm_dagster.core.types import Episode
from agentprm_dagster.envs.playable import PlayableGame
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.resources.games import EvaluationSplit
from agentprm_dagster.resources.inference import InferenceResource

EVALUATION = "evaluation.json"
"""The file of an `eval_report` with its rows."""


def evaluated_iterations(store: ArtifactStore, experiment: str) -> list[int]:
    """The iterations that have an `eval_report`."""
    manifests = (artifact.manifest for artifact in store.artifacts(experiment))
    return sorted({manifest.iteration for manifest in manifests if manifest.asset == "eval_report"})


def rows_of(report: Artifact) -> list[Row]:
    """The rows of one `eval_report`."""
    rows: list[Row] = json.loads((report.path / EVALUATION).read_text(encoding="utf-8"))
    return rows


def current_rows(store: ArtifactStore, experiment: str) -> list[Row]:
    """The rows of all current evaluations of an experiment, in the order of the table."""
    reports = (store.current(experiment, "eval_report", i) for i in evaluated_iterations(store, experiment))
    return in_order(row for report in reports for row in rows_of(report))


@dataclass(frozen=True)
class Trial:
    """One policy to be judged in one way."""

    experiment: Experiment
    iteration: int
    """Which pi_i."""
    policy: Path
    prm: Path | None
    """The PRM that chooses among sampled answers; None: the policy answers alone, as `best_of` 1 says."""
    split: EvaluationSplit
    max_steps: int
    best_of: int
    seed: int

    @property
    def name(self) -> str:
        """Names the trial among others of its experiment; fit for a folder."""
        return f"{self.split}-pi_{self.iteration}-best_of_{self.best_of}"

    def play(
        self, games: Sequence[PlayableGame], inference: InferenceResource, monitor: Monitor
    ) -> tuple[list[Episode], Row]:
        """Plays every game once; the episodes and their row of the table."""
        starts = whole_episodes(games, 1)
        agent, told = self._agent(inference), _Part(self.name, monitor)
        episodes = play(agent, starts, max_steps=self.max_steps, total=len(starts), monitor=told)
        row = evaluation_row(
            episodes,
            experiment=self.experiment.name,
            policy=f"pi_{self.iteration}",
            iteration=self.iteration,
            split=self.split,
            max_steps=self.max_steps,
            best_of=self.best_of,
            seed=self.seed,
        )
        return episodes, row

    def _agent(self, inference: InferenceResource) -> Agent:
        settings = self.experiment.evaluation
        if self.prm is None:
            return inference.policy(self.policy, self.experiment, temperature=settings.temperature, seed=self.seed)
        return inference.best_of_n(
            self.policy,
            self.prm,
            self.experiment,
            n=self.best_of,
            temperature=settings.best_of_temperature,
            seed=self.seed,
        )


@dataclass(frozen=True)
class _Part:
    """A monitor that says which part of a stage it is told about."""

    name: str
    monitor: Monitor

    def progress(self, done: int, total: int, what: str) -> None:
        self.monitor.progress(done, total, f"{self.name} {what}")

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self.monitor.metrics(values, step)
