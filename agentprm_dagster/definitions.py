"""Where everything meets: assets x experiments, resources, jobs, schedules, sensors. Dagster loads this module."""

import logging
from collections.abc import Iterator, Mapping

import dagster as dg

from agentprm_dagster import assets
from agentprm_dagster.config import Experiment
from agentprm_dagster.config.catalog import chosen_compute, load_compute
from agentprm_dagster.home import save_seconds, write_privately
from agentprm_dagster.iterations import FIRST, ITERATION
from agentprm_dagster.processor import chosen_type
from agentprm_dagster.resources.artifacts import ArtifactsResource
from agentprm_dagster.resources.inference import InferenceResource
from agentprm_dagster.resources.llm import LlmResource
from agentprm_dagster.resources.stages import StagesResource
from agentprm_dagster.resources.tasks import TasksResource
from agentprm_dagster.resources.tracker import MlflowTracker
from agentprm_dagster.stages.chosen import chosen_experiments
from agentprm_dagster.stages.databases import wait_for_locked_databases
from agentprm_dagster.stages.reconcile import UNDER_WAY, OwnedExecutor
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


def nightly(experiment: Experiment) -> dg.ScheduleDefinition:
    """One more iteration every night until the experiment has as many as it plans."""

    @dg.schedule(name=f"{experiment.name}_nightly", job_name=experiment.name, cron_schedule="0 1 * * *")
    def schedule(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        under_way = dg.RunsFilter(job_name=experiment.name, statuses=[dg.DagsterRunStatus.QUEUED, *UNDER_WAY])
        if context.instance.get_runs_count(under_way):
            yield dg.SkipReason(f"an iteration of {experiment.name} is under way")
            return
        evaluated = context.instance.get_materialized_partitions(dg.AssetKey([experiment.name, "eval_report"]))
        left = [i for i in range(FIRST, experiment.iterations + 1) if str(i) not in evaluated]
        if left:
            context.instance.add_dynamic_partitions(ITERATION, [str(left[0])])
            yield dg.RunRequest(partition_key=str(left[0]))
        else:
            yield dg.SkipReason(f"all {experiment.iterations} iterations of {experiment.name} are evaluated")

    return schedule


def automation(name: str) -> dg.AutomationConditionSensorDefinition:
    """While switched on, launches every stage of an experiment when its inputs are there."""
    return dg.AutomationConditionSensorDefinition(f"{name}_automation", target=dg.AssetSelection.groups(name))


def assets_of(experiment: Experiment) -> list[dg.AssetsDefinition]:
    """Every asset under the experiment's name, in its group, but those that its settings have no use for."""
    prefix = experiment.name
    unused = {
        dg.AssetKey([prefix, one]): dg.AssetKey([prefix, other]) for one, other in disabled_assets(experiment).items()
    }
    loaded = dg.load_assets_from_package_module(assets, key_prefix=prefix, group_name=prefix)
    return [
        asset.with_attributes(asset_key_replacements=unused)
        for asset in loaded
        if isinstance(asset, dg.AssetsDefinition) and asset.key not in unused
    ]


def disabled_assets(experiment: Experiment) -> dict[str, str]:
    """The assets that an experiment has no use for, each with one that its readers have in its place."""
    reward = experiment.improvement.reward
    used = {
        "prm": reward == "prm",
        "inverse_prm": reward == "inverse_prm",
        "prm_committee": "prm_committee" in experiment.improvement.reads,
        "reference_value": "reference_value" in target_kind(experiment.targets.kind).READS,
        "world_model": "learned" in experiment.evaluation.lookahead.worlds,
        "react_report": experiment.llm.evaluate,
    }
    instead = {"reference_value": "rollouts", "react_report": "eval_report"}
    return {asset: instead.get(asset, reward) for asset, is_used in used.items() if not is_used}


def build_definitions(
    experiments: Mapping[str, Experiment], bound: Mapping[str, object] | None = None
) -> dg.Definitions:
    """The same assets once for every experiment, each under its own key prefix and in its own group."""
    return dg.Definitions(
        assets=[asset for experiment in experiments.values() for asset in assets_of(experiment)],
        jobs=[
            dg.define_asset_job(
                name, dg.AssetSelection.groups(name), description=f"One iteration of: {experiment.description}"
            )
            for name, experiment in experiments.items()
        ],
        schedules=[nightly(experiment) for experiment in experiments.values()],
        sensors=[automation(name) for name in experiments],
        resources=bound or resources(),
        executor=EXECUTOR,
    )


def load() -> dg.Definitions:
    """Those of `chosen_experiments`; what cannot be read is named in the log."""
    catalog = chosen_experiments(ArtifactsResource().store())
    for error in catalog.errors:
        logging.getLogger(__name__).error("An experiment is left out: %s", error)
    return build_definitions(catalog.experiments)


write_privately()
wait_for_locked_databases()
defs = load()
