"""The paper's pi_0."""

import shutil
from functools import partial
from pathlib import Path

import dagster as dg

from agentprm_dagster.engine.base_model import base_identity
from agentprm_dagster.episodes.stage import Gate, Monitor, Resume, StageReport
from agentprm_dagster.iterations import FIRST, MACHINE
from agentprm_dagster.programs.initial_policy import train
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.learnt_games import learnt_games, learnt_in_words
from agentprm_dagster.resources.stages import Stage, StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.stages.failures import in_own_words
from agentprm_dagster.stages.materialization import gates

BRANCHED_FROM = "branched_from"
"""The role of the policy that an experiment begins from where it begins from another's."""


@dg.asset(
    deps=["demonstrations"],
    check_specs=gates("initial_policy", "finite_loss"),
    pool=MACHINE,
    kinds={"policy", "huggingface"},
)
@in_own_words
def initial_policy(
    context: dg.AssetExecutionContext, stages: StagesResource, tasks: TasksResource
) -> dg.MaterializeResult:
    """pi_0: the experiment's model, fine-tuned on the won demonstrations; from scratch, it reads random play first.

    Where the experiment branches `from` another's iteration, it is the policy of that one.
    """
    stage = stages.stage(context)
    origin = stage.unrecorded("origin").origin
    if origin:
        policy = stage.read("improved_policy", origin.iteration, BRANCHED_FROM, origin.experiment)
        _refuse_learnt(stage, policy, tasks)
        return _taken_over(stage, policy)
    stage.read("demonstrations")
    settings = stage.settings("dialogue", "model", "pretraining", "sft")
    drawn = (stage.environment, stage.experiment_seed, settings.pretraining.episodes, stage.seed)
    games = tasks.demonstrated(*drawn) if settings.pretraining.episodes else ()
    return stage.train(train, games=games, identity=base_identity(settings.model), then=partial(stage.announce, FIRST))


def _refuse_learnt(stage: Stage, policy: Artifact, tasks: TasksResource) -> None:
    """ArtifactError where the policy has learnt from games that this experiment judges policies in."""
    judging, learnt = stage.unrecorded("evaluation").evaluation, learnt_games(stage.store, policy)
    for split in judging.splits:
        games = tasks.split(stage.environment, stage.experiment_seed, split, judging.games)
        if found := learnt_in_words([game.id for game in games], learnt):
            raise ArtifactError(
                f"{policy.version} has learnt from games of {split}, {found}: name in `from` an experiment that holds "
                "out the same games"
            )


def _taken_over(stage: Stage, policy: Artifact) -> dg.MaterializeResult:
    """Another experiment's policy, copied: what verifies this experiment must find it here."""
    ours, theirs = stage.settings("dialogue").dialogue, policy.manifest.config.get("dialogue")
    if theirs != ours.model_dump(mode="json"):
        raise ArtifactError(
            f"{policy.version} learnt dialogues as {theirs}, and {stage.experiment} writes them as "
            f"{ours.model_dump(mode='json')}: set `dialogue` to the same, or name another iteration in `from`"
        )

    def copy(out: Path, monitor: Monitor, resume: Resume) -> StageReport:
        for entry in policy.manifest.files:
            (out / entry.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(policy.path / entry.path, out / entry.path)
        gate = Gate("finite_loss", True, f"it is {policy.version}, which passed its gates")
        return StageReport({}, (gate,), f"pi_0 is {policy.version}, as it is there.\n")

    return stage.make(copy, then=partial(stage.announce, FIRST))
