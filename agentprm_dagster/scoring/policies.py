"""Language models that are computed here as agents: a policy of an experiment, or a checkpoint's folder."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from pydantic import Field, JsonValue

from agentprm_dagster.config import Rollouts
from agentprm_dagster.config.catalog import load_experiment
from agentprm_dagster.config.kinds import AnyEngine
from agentprm_dagster.engine.checkpoint_files import checkpoint_files, weight_files
from agentprm_dagster.envs.base import Task
from agentprm_dagster.envs.kinds import kind_of
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.iterations import FIRST
from agentprm_dagster.launch.play import Choice, Play
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.learnt_games import learnt_games, learnt_in_words
from agentprm_dagster.provenance.lineage import with_ancestors
from agentprm_dagster.provenance.manifest import Version
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.rollouts.collect import whole_episodes
from agentprm_dagster.rollouts.rollout import play
from agentprm_dagster.scoring.card import EvaluationProtocol, Training
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.panel import Panel
from agentprm_dagster.scoring.players import AgentRecord, Played
from agentprm_dagster.scoring.prompts import FORMATS, PromptName, WrittenAnew, asking
from agentprm_dagster.section import Section
from agentprm_dagster.stages.seeds import way
from agentprm_dagster.stages.trials import once

LONG_ANSWER = 512
"""Tokens of an answer that thinks first."""
ANSWER = 64
"""Tokens of another, where no experiment says."""


class Wishes(Section):
    """What the user asks of an agent that reads text; None where its own way is to be taken."""

    prompt: PromptName | None = None
    temperature: float | None = None
    max_new_tokens: int | None = None
    best_of: int = 1
    llm: dict[str, JsonValue] = Field(default_factory=dict)
    """Settings of a model behind a server (`Llm`), but for those above."""


@dataclass(frozen=True)
class PolicyPlayer:
    """A model that plays in this process, or in one that it is sent to."""

    record: AgentRecord
    how: Play
    """Without its games."""
    prompt: PromptName
    embedded: bool = False
    """Whether it is so small that several processes play it faster than several threads."""

    @property
    def draws(self) -> bool:
        """Whether answers are drawn."""
        return self.how.how.temperature > 0

    @property
    def games_at_once(self) -> int:
        """As many as it answers at the same time."""
        return self.how.how.slots

    def play(self, games: Sequence[Task], *, seed: int, max_steps: int, monitor: Monitor) -> Played:
        """See `Player`."""
        from agentprm_dagster.launch.worker import ready

        agent = ready(replace(self.how, seed=seed))
        asked = asking(self.prompt, kind_of(self.how.environment).wording)
        if asked.dialogue is None:
            # a `Policy` alone: `policy_player` refuses judges, who have learnt other dialogues
            agent.dialogues = WrittenAnew(agent.engine, agent.chat, asked.prompt)  # type: ignore[attr-defined]
        episodes = play(
            agent,
            whole_episodes(games, per_game=1),
            max_steps=max_steps,
            total=len(games),
            monitor=monitor,
            parse=asked.parse,
        )
        return episodes, agent.usage


def policy_player(
    experiment: str, iteration: int, wishes: Wishes, engine: AnyEngine, panel: Panel
) -> tuple[PolicyPlayer, EvaluationProtocol]:
    """pi_i of an experiment, or with `best_of` its PRM choosing; and how it is asked.

    Raises:
        ExperimentError, ArtifactError: there is no such experiment, or it has not made that.
        ScoreError: the PRM has not learnt such a prompt, or the policy has learnt from games of the panel.
    """
    settings, store = load_experiment(experiment), ArtifactsResource().store()
    policy = store.current(experiment, "improved_policy" if iteration else "initial_policy", iteration)
    _refuse_learnt(store, policy, panel)
    own = FORMATS[settings.dialogue.format]
    choice, digests = None, {"policy": policy.digest}
    if wishes.best_of > 1:
        if wishes.prompt not in (None, own):
            raise ScoreError(f"--best-of: the PRM of {experiment} has learnt --prompt {own} and no other")
        if (reward := settings.improvement.reward) is None:
            raise ScoreError(f"--best-of: {experiment} trains no PRM that could choose: leave it at 1")
        judge = store.current(experiment, reward, max(iteration, FIRST))
        choice = Choice(reward, judge.path, wishes.best_of, settings.evaluation.best_of_prior)
        digests["prm"] = judge.digest
    prompt = wishes.prompt or own
    how = _asked(once(settings, panel.cap, choice), wishes)
    if prompt != own and wishes.max_new_tokens is None:
        how = how.model_copy(update={"max_new_tokens": _usual_tokens(prompt)})
    kind = settings.environment.kind
    record = AgentRecord(
        name=f"{experiment}:pi_{iteration}",
        kind="policy",
        digests=digests,
        parameters=parameters_in(policy.path),
        details={"experiment": experiment, "iteration": str(iteration), "environment": kind},
    )
    player = PolicyPlayer(
        record,
        _play(policy.path, kind, prompt, how, engine, iteration, choice),
        prompt,
        embedded=settings.model.name == "embedded" and engine.kind == "embedded",
    )
    return player, _protocol(player, wishes.best_of)


def _refuse_learnt(store: ArtifactStore, policy: Artifact, panel: Panel) -> None:
    """ScoreError where a policy has learnt from games of the panel."""
    learnt = learnt_games(store, policy)
    for split, games in panel.splits.items():
        if found := learnt_in_words([game.id for game in games], learnt):
            raise ScoreError(
                f"{policy.version} has learnt from games of {split}, {found}: choose with --panel an experiment that "
                "holds out the same games as it"
            )


def checkpoint_player(
    folder: Path, environment: str, wishes: Wishes, engine: AnyEngine, max_steps: int
) -> tuple[PolicyPlayer, EvaluationProtocol]:
    """The model in a checkpoint's folder, and how it is asked.

    Raises:
        CheckpointError: the folder holds no weights in safetensors.
        ScoreError: a PRM was asked for, which a folder has not.
    """
    if wishes.best_of > 1:
        raise ScoreError("--best-of needs the PRM of an experiment: name the agent as EXPERIMENT:pi_1")
    prompt = wishes.prompt or "ours"
    rollouts = Rollouts(
        per_game=1,
        branch_states=0,
        max_steps=max_steps,
        temperature=0.0,
        slots=32,
        max_new_tokens=_usual_tokens(prompt),
    )
    record = AgentRecord(
        name=folder.resolve().name,
        kind="checkpoint",
        digests={"weights": digest_of_folder(folder)},
        parameters=parameters_in(folder),
    )
    how = _asked(rollouts, wishes)
    player = PolicyPlayer(record, _play(folder.resolve(), environment, prompt, how, engine), prompt)
    return player, _protocol(player, 1)


def _usual_tokens(prompt: PromptName) -> int:
    return LONG_ANSWER if prompt == "verl-agent" else ANSWER


def _asked(how: Rollouts, wishes: Wishes) -> Rollouts:
    asked = {"temperature": wishes.temperature, "max_new_tokens": wishes.max_new_tokens}
    return how.model_copy(update={name: value for name, value in asked.items() if value is not None})


def _play(
    policy: Path,
    environment: str,
    prompt: PromptName,
    how: Rollouts,
    engine: AnyEngine,
    iteration: int = 0,
    choice: Choice | None = None,
) -> Play:
    return Play(
        policy=policy,
        iteration=iteration,
        environment=environment,
        split="",
        games=(),
        dialogue=asking(prompt, kind_of(environment).wording).dialogue or "restated",
        how=how,
        seed=0,
        choice=choice,
        engine=engine,
    )


def _protocol(player: PolicyPlayer, best_of: int) -> EvaluationProtocol:
    how = player.how
    return EvaluationProtocol(
        prompt=player.prompt,
        text=asking(player.prompt, kind_of(how.environment).wording).text,
        temperature=how.how.temperature,
        max_new_tokens=how.how.max_new_tokens,
        best_of=best_of,
    )


def digest_of_folder(folder: Path) -> str:
    """sha256 over the names and bytes of all files that a checkpoint is loaded from."""
    digest = hashlib.sha256()
    for path in checkpoint_files(folder):
        with path.open("rb") as file:
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def parameters_in(folder: Path) -> int:
    """How many numbers the weights of a checkpoint are, told from the heads of its files."""
    from safetensors import safe_open

    count = 0
    for path in weight_files(folder):
        with safe_open(path, framework="numpy") as weights:
            count += sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return count


def training_of(policies: Sequence[tuple[str, int]]) -> Training:
    """What everything took that policies were made from, themselves included, each artifact once; a mean over them."""
    seconds, processors = 0.0, set[str]()
    for experiment, iteration in policies:
        made = {each.digest: each.manifest for each in with_ancestors(*_policy(experiment, iteration))}.values()
        seconds += sum(each.seconds for each in made)
        processors |= {each.environment.get("gpu") or each.environment.get("processor", "unknown") for each in made}
    hours = seconds / len(policies) / 3600
    return Training(hours=round(hours, 4), processor="; ".join(sorted(processors)), stated=False)


def way_of_policy(experiment: str, iteration: int) -> dict[tuple[str, int], tuple[object, ...]]:
    """How a policy and all that it was made from were made; alike where only the seed is another."""
    return way(*_policy(experiment, iteration))


def _policy(experiment: str, iteration: int) -> tuple[ArtifactStore, Version]:
    store = ArtifactsResource().store()
    return store, store.head(experiment, "improved_policy" if iteration else "initial_policy", iteration)
