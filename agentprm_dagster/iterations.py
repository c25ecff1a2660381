"""The loop in Dagster: iterations as partitions, the policy that each starts from, and when a stage is due.

Dagster allows no cycle between assets. So the arrow from one iteration's improved policy to the next iteration's
rollouts is an external asset, `behaviour_policy`: `improved_policy[i]` announces `behaviour_policy[i + 1]` when it is
done, `initial_policy` announces `behaviour_policy[1]`. Iteration i is the i of the paper's Algorithm 1.
"""

from collections.abc import Callable
from re import fullmatch

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.store import ArtifactStore

ITERATION = "iteration"
"""The partitions' name in Dagster."""

ITERATIONS = dg.DynamicPartitionsDefinition(name=ITERATION)
"""One partition an iteration, "1", "2", ...; a partition is added when its policy is announced."""

FIRST = 1


class PartitionError(ValueError):
    """A partition that is no iteration."""


def iteration_of(partition: str) -> int:
    """The iteration that a partition is named after; PartitionError where it is named otherwise than by `str(i)`.

    Dagster lets a person add any name: "01" is not the partition "1", and must not make its artifacts.
    """
    if not fullmatch("[1-9][0-9]{0,5}", partition):
        raise PartitionError(
            f"partition {partition[:40]!r}: expected an iteration, 1 or more, written as in 1, 2, 10; delete this "
            "partition in Dagster (Deployment, or the asset's page) and take one that is so named"
        )
    return int(partition)


BEHAVIOUR_POLICY = dg.AssetSpec(
    "behaviour_policy",
    partitions_def=ITERATIONS,
    description="The policy that iteration i explores with, pi_(i-1); announced by the asset that made it.",
    kinds={"policy"},
)

WHEN_READY = (
    dg.AutomationCondition.missing()
    & ~dg.AutomationCondition.any_deps_missing()
    & ~dg.AutomationCondition.in_progress()
    & ~dg.AutomationCondition.execution_failed()
).with_label("when its inputs are there")
"""Once, when everything it reads is there; after a failure it waits for a person instead of trying for ever."""

WHEN_UPDATED = (
    dg.AutomationCondition.any_deps_updated().since_last_handled() & ~dg.AutomationCondition.in_progress()
).with_label("when an input is new")
"""Again whenever something it reads was made."""


def announce(
    instance: dg.DagsterInstance,
    store: ArtifactStore,
    experiment: str,
    iteration: int,
    policy: Artifact,
    report: Callable[[dg.AssetMaterialization], None],
) -> None:
    """Makes a policy the behaviour policy of an iteration, which can be launched from then on.

    The store's record is what stages read; the partition and the event that `report` logs show it in Dagster.
    """
    store.announce(experiment, iteration, policy)
    instance.add_dynamic_partitions(ITERATION, [str(iteration)])
    report(
        dg.AssetMaterialization(
            dg.AssetKey([experiment, BEHAVIOUR_POLICY.key.path[-1]]),
            partition=str(iteration),
            description=f"pi_{iteration - 1}, made by {policy.version.partition}",
            metadata={"made_by": str(policy.version.partition), "digest": policy.digest, "path": policy.uri},
            tags={DATA_VERSION_TAG: policy.digest},
        )
    )
