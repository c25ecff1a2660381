"""Episodes as MLflow traces: one trace an episode, one span a turn.

The span of a turn has what was seen before it, the reason, the action and the observation that followed, Q(s, a) and
V(s') where the artifact holds a model's values (`values.parquet`), and the turn's return: gamma^(T-1-t) times the
outcome where the artifact's settings have a gamma, else the outcome. MLflow wants times: a turn takes one second from
when the artifact was begun, which orders the turns and means nothing. Ids follow from the experiment, the
artifact's digest and the episode's id, so that an episode written twice is one trace.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow.parquet as pq

from agentprm_dagster.algorithm.targets import discounted_outcome
from agentprm_dagster.episodes.chosen import choose_episodes
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tables import EPISODES
from agentprm_dagster.episodes.values import TurnValue, read_values
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.reports.evaluation import folder_name
from agentprm_dagster.tracking.evaluations import rows
from agentprm_dagster.tracking.models import policy_models

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Span, TraceInfo

SAMPLE = 5
"""Episodes that were won, and as many that were lost, that are written without being asked for."""
SAMPLED = ("eval_report", "rollouts")
SECOND = 1_000_000_000
"""Nanoseconds."""
PREVIEW = 500
"""Letters of what a list of traces shows."""


class Where(NamedTuple):
    """Episodes of one policy, in one folder of an artifact."""

    play: str
    """The folder's name in the artifact; empty where it is the artifact itself."""
    iteration: int
    """The policy's."""


def places(artifact: Artifact) -> list[Where]:
    """Where an artifact keeps episodes."""
    made = artifact.manifest
    if (artifact.path / EPISODES).exists():
        return [Where("", made.iteration - 1 if made.asset == "rollouts" else made.iteration)]
    return [Where(folder_name(row), row["iteration"]) for row in rows(artifact)]


def sample(artifact: Artifact) -> dict[Where, list[str]]:
    """Some won and some lost episodes of the newest policy, whole ones, drawn by a hash of their names."""
    if artifact.manifest.asset not in SAMPLED or not (found := places(artifact)):
        return {}
    newest = max(where.iteration for where in found)
    heads = [head for where in found if where.iteration == newest for head in _whole(artifact, where)]
    heads.sort(key=lambda head: sha256(f"{head[0].play} {head[1]}".encode()).digest())
    won = [head for head in heads if head[2]][:SAMPLE]
    lost = [head for head in heads if not head[2]][:SAMPLE]
    drawn: dict[Where, list[str]] = {}
    for where, episode_id, _ in won + lost:
        drawn.setdefault(where, []).append(episode_id)
    return drawn


def find(artifact: Artifact, episode_id: str) -> dict[Where, list[str]]:
    """Where an artifact has an episode of this id: an evaluation may have one of every play."""
    return {
        where: [episode_id]
        for where in places(artifact)
        if episode_id in _column(artifact.path / where.play / EPISODES, "episode_id")
    }


def _column(path: Path, name: str) -> set[str]:
    return set(pq.read_table(path, columns=[name])[name].to_pylist())


def _whole(artifact: Artifact, where: Where) -> Iterator[tuple[Where, str, bool]]:
    columns = ["episode_id", "parent", "reward"]
    for head in pq.read_table(artifact.path / where.play / EPISODES, columns=columns).to_pylist():
        if head["parent"] is None:
            yield where, head["episode_id"], head["reward"] == 1


def write_traces(
    client: "MlflowClient", run_id: str, artifact: Artifact, drawn: dict[Where, list[str]], begun: int
) -> list[str]:
    """Writes episodes of an artifact as traces of its run and of the policy's model; their ids.

    Args:
        drawn: ids of episodes, by where they lie; those that are not there are left out.
        begun: the time of their first turns, in ms since 1970.
    """
    from mlflow.tracing.client import TracingClient

    experiment_id = client.get_run(run_id).info.experiment_id
    models = policy_models(client, experiment_id, artifact)
    traces = [
        _Trace(artifact, where, episode, values, begun)
        for where, names in drawn.items()
        for episode, values in _read(artifact.path / where.play, names)
    ]
    if not traces:
        return []
    tracing = TracingClient(client.tracking_uri)
    tracing.log_spans(experiment_id, [span for trace in traces for span in trace.spans()])
    for trace in traces:
        tracing.start_trace(trace.info(experiment_id, run_id, models.get(trace.where.iteration)))
    return [trace.id for trace in traces]


def _read(folder: Path, names: Sequence[str]) -> Iterator[tuple[Episode, Sequence[TurnValue]]]:
    values = read_values(folder)
    for episode in choose_episodes(folder, names):
        yield episode, values.get(episode.episode_id, ())


class _Trace:
    """One episode, with the ids and times that MLflow wants."""

    def __init__(
        self, artifact: Artifact, where: Where, episode: Episode, values: Sequence[TurnValue], begun: int
    ) -> None:
        self.artifact, self.where, self.episode, self.values = artifact, where, episode, values
        self.begun = begun * 1_000_000
        known = artifact.version.experiment, artifact.digest, where.play, episode.episode_id
        self._number = sha256(" ".join(known).encode()).hexdigest()[:32]
        self.id = f"tr-{self._number}"

    def info(self, experiment_id: str, run_id: str, model_id: str | None) -> "TraceInfo":
        """What a list of traces shows."""
        from mlflow.entities import TraceInfo, TraceLocation, TraceState
        from mlflow.tracing.constant import TraceMetadataKey

        episode, made = self.episode, self.artifact.manifest
        ended = "won" if episode.won else f"lost, reward {episode.reward:g}"
        model = {TraceMetadataKey.MODEL_ID: model_id} if model_id else {}
        return TraceInfo(
            self.id,
            TraceLocation.from_experiment_id(experiment_id),
            self.begun // 1_000_000,
            TraceState.OK,
            request_preview=episode.first_observation[-PREVIEW:],
            response_preview=f"{ended} after {len(episode.turns)} turns",
            execution_duration=len(episode.turns) * 1000,
            trace_metadata={TraceMetadataKey.SOURCE_RUN: run_id, **model},
            tags={
                "mlflow.traceName": episode.game,
                "game": episode.game,
                "episode": episode.episode_id,
                "task_type": episode.task_type,
                "won": str(episode.won).lower(),
                "experiment": made.experiment,
                "asset": made.asset,
                "iteration": str(made.iteration),
                "policy": f"pi_{self.where.iteration}",
                "play": self.where.play,
                "digest": made.digest,
            },
        )

    def spans(self) -> Iterable["Span"]:
        """The episode, and its turns below it."""
        episode = self.episode
        task, outcome = {"observation": episode.first_observation}, {"won": episode.won, "reward": episode.reward}
        known = {"game": episode.game, "task_type": episode.task_type, "truncated": episode.truncated}
        yield self._span(0, episode.game, (0, len(episode.turns)), task, outcome, "AGENT", known)
        seen = episode.first_observation
        for i, turn in enumerate(episode.turns):
            answer = {"reason": turn.reason, "action": turn.action, "observation": turn.observation}
            span = (i, i + 1)
            yield self._span(
                i + 1, turn.action or "(no action)", span, {"observation": seen}, answer, "LLM", self._of(i)
            )
            seen = turn.observation

    def _of(self, i: int) -> dict[str, object]:
        """What is known of a turn besides its words."""
        episode, turn, gamma = self.episode, self.episode.turns[i], self.artifact.manifest.config.get("targets.gamma")
        known: dict[str, object] = {"turn": i, "admissible": turn.admissible, "parsed": turn.parsed}
        known["return"] = episode.reward
        if isinstance(gamma, float | int):
            known["return"] = discounted_outcome(episode.reward, i, len(episode.turns) - 1, gamma)
        if i < len(self.values):
            known |= {"q": self.values[i].q, "value_after": self.values[i].after}
        return {**known, "inherited": True} if i < episode.start else known

    def _span(
        self, n: int, name: str, seconds: tuple[int, int], inputs: object, outputs: object, kind: str,
        attributes: dict[str, Any],
    ) -> "Span":  # fmt: skip
        from mlflow.entities import Span
        from mlflow.tracing.constant import SpanAttributeKey
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

        def context(number: int) -> SpanContext:
            own = int(sha256(f"{self._number} {number}".encode()).hexdigest()[:16], 16)
            return SpanContext(int(self._number, 16), own, is_remote=False, trace_flags=TraceFlags(1))

        wanted = {
            SpanAttributeKey.REQUEST_ID: self.id,
            SpanAttributeKey.INPUTS: inputs,
            SpanAttributeKey.OUTPUTS: outputs,
            SpanAttributeKey.SPAN_TYPE: kind,
        }
        begun, ended = (self.begun + second * SECOND for second in seconds)
        return Span(
            ReadableSpan(
                name,
                context(n),
                context(0) if n else None,
                resource=Resource.get_empty(),
                attributes={key: json.dumps(value) for key, value in {**wanted, **attributes}.items()},
                status=Status(StatusCode.OK),
                start_time=begun,
                end_time=ended,
            )
        )
