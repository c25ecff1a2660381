"""Where everything meets: assets x experiments, resources, jobs, schedules, sensors."""

import warnings
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from inspect import getsourcefile, getsourcelines, unwrap
from re import sub

import dagster as dg
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction

from agentprm_dagster import assets
from agentprm_dagster.automation import schedule, sensor
from agentprm_dagster.config import Experiment
from agentprm_dagster.config.catalog import chosen_compute, load_compute
from agentprm_dagster.home import save_seconds
from agentprm_dagster.improvement.kinds import KINDS as IMPROVEMENTS
from agentprm_dagster.iterations import iterations_of
from agentprm_dagster.processor import chosen_type
from agentprm_dagster.provenance.code import source_digest
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.inference import InferenceResource
from agentprm_dagster.resources.llm import LlmResource
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.resources.tracker import MlflowTracker
from agentprm_dagster.stages.reconcile import OwnedExecutor
from agentprm_dagster.targets.kinds import KINDS as TARGETS
from agentprm_dagster.targets.kinds import target_kind


@dg.executor(
    name="multiprocess",
    config_schema=dg.multiprocess_executor.config_schema.as_field(),
    requirements=dg.multiple_process_executor_requirements(),
)
def owned_multiprocess_executor(context: dg.InitExecutorContext) -> dg.Executor:
    """Every step in a process of its own, in a run that names its process."""
    create = dg.multiprocess_executor.executor_creation_fn
    assert create is not None
    return OwnedExecutor(create(context))


EXECUTOR = owned_multiprocess_executor.configured(
    {
        # One stage at a time: each takes all cores.
        "max_concurrent": 1,
        # Steps are forked from a server that has imported torch once.
        "start_method": {"forkserver": {"preload_modules": ["agentprm_dagster.definitions", "torch", "transformers"]}},
    }
)


def resources(compute: str = "") -> dict[str, object]:
    """What the assets ask for, by name; they are computed by a compute (a name or a path), or AGENTPRM_COMPUTE's.

    Raises:
        ProcessorError, HomeError, ExperimentError: a variable of the environment says what cannot be.
    """
    compute = compute or chosen_compute()
    # Refused now, and not when the first stage is done.
    chosen_type()
    load_compute(compute)
    return {
        "stages": StagesResource(
            artifacts=ArtifactsResource(), tracker=MlflowTracker(), save_seconds=save_seconds(), compute=compute
        ),
        "tasks": TasksResource(),
        "inference": InferenceResource(),
        "llm": LlmResource(),
    }


def assets_of(experiment: Experiment) -> list[dg.AssetsDefinition]:
    """Every asset under the experiment's name, in its group, but those that its settings have no use for."""
    prefix = experiment.name
    unused = {
        dg.AssetKey([prefix, one]): dg.AssetKey([prefix, other]) for one, other in disabled_assets(experiment).items()
    }
    loaded = dg.load_assets_from_package_module(assets, key_prefix=prefix, group_name=prefix)
    own = partial(_as_its_own, experiment)
    used = [asset for asset in loaded if isinstance(asset, dg.AssetsDefinition) and asset.key not in unused]
    return [
        (_linked(asset) if asset.is_executable else asset)
        .with_attributes(asset_key_replacements=unused)
        .map_asset_specs(own)
        for asset in used
    ]


def _linked(made_here: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """The same asset, with the place of its own source, which decorators do not hide."""
    compute = made_here.op.compute_fn
    function = unwrap(compute.decorated_fn if isinstance(compute, DecoratedOpFunction) else compute)
    file, (_, line) = getsourcefile(function), getsourcelines(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # once an asset and an experiment
        place = dg.LocalFileCodeReference(file_path=str(file), line_number=line)
        references = {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[place])}
    return made_here.map_asset_specs(lambda spec: spec.merge_attributes(metadata=references))


def _as_its_own(experiment: Experiment, spec: dg.AssetSpec) -> dg.AssetSpec:
    """An asset's spec with what belongs to its experiment: iterations, owners, tags, code, where it branches from."""
    origin, tags = experiment.origin, {"environment": experiment.environment.kind, "model": _tag(experiment.model.name)}
    own = spec.merge_attributes(tags=tags, owners=list(experiment.owners)).replace_attributes(
        code_version=_code_version(experiment, spec.key.path[-1])
    )
    if spec.partitions_def is not None:
        own = own.replace_attributes(partitions_def=iterations_of(experiment.name))
    hours = experiment.schedule and experiment.schedule.fresh_hours
    if hours and spec.key.path[-1] == "results":
        own = own.replace_attributes(freshness_policy=dg.FreshnessPolicy.time_window(timedelta(hours=hours)))
    if origin and spec.key.path[-1] == "initial_policy":
        begins_from = dg.AssetDep(
            dg.AssetKey([origin.experiment, "improved_policy"]),
            partition_mapping=dg.SpecificPartitionsPartitionMapping([str(origin.iteration)]),
        )
        own = own.replace_attributes(deps=[begins_from])
    return own


def _code_version(experiment: Experiment, asset: str) -> str:
    """The digest of the code that an asset and the kinds that its settings choose reach, as manifests record it."""
    kinds = {
        "improved_policy": IMPROVEMENTS[experiment.improvement.kind],
        "mc_value_targets": TARGETS[experiment.targets.kind],
    }
    chosen = [kinds[asset]] if asset in kinds else []
    return source_digest(f"{assets.__name__}.{asset}", *chosen)[:16]


def _tag(name: str) -> str:
    """A name as a tag's value can have it: a model's may hold slashes."""
    return sub(r"[^A-Za-z0-9_.-]", "_", name)[-63:]


def disabled_assets(experiment: Experiment) -> dict[str, str]:
    """The assets that an experiment has no use for, each with one that its readers have in its place."""
    reward, read = experiment.improvement.reward, experiment.improvement.reads
    targets = reward is not None or "mc_value_targets" in read
    used = {
        "mc_value_targets": targets,
        "prm": reward == "prm",
        "inverse_prm": reward == "inverse_prm",
        "prm_committee": "prm_committee" in read,
        "reference_value": targets and "reference_value" in target_kind(experiment.targets.kind).READS,
        "world_model": "learned" in experiment.evaluation.lookahead.worlds,
        "react_report": experiment.llm.evaluate,
    }
    instead = {"mc_value_targets": "rollouts", "reference_value": "rollouts", "react_report": "eval_report"}
    return {asset: instead.get(asset, reward or "behaviour_policy") for asset, is_used in used.items() if not is_used}


def build_definitions(
    experiments: Mapping[str, Experiment], bound: Mapping[str, object] | None = None
) -> dg.Definitions:
    """The same assets once for every experiment, each under its own key prefix and in its own group."""
    return dg.Definitions(
        assets=[asset for experiment in experiments.values() for asset in assets_of(experiment)],
        jobs=[
            dg.define_asset_job(
                name,
                dg.AssetSelection.groups(name),
                description=f"One iteration of: {experiment.description}",
                executor_def=EXECUTOR,  # another project, which takes it as a component, has its own
            )
            for name, experiment in experiments.items()
        ],
        schedules=[schedule(experiment) for experiment in experiments.values() if experiment.schedule],
        sensors=[sensor(experiment) for experiment in experiments.values() if not experiment.schedule],
        resources=resources() if bound is None else bound,
        executor=EXECUTOR,
    )
