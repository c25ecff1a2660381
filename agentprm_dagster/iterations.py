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

ITERATIONS = dg.DynamicPartitionsDefinition(name="iteration")
"""One partition an iteration, "1", "2", ...; every experiment has its own in the place of this (`iterations_of`)."""

FIRST = 1

MACHINE = "machine"
"""The pool of the stages that take all of a machine: one run has it at a time, and the next in its turn."""


def iterations_of(experiment: str) -> dg.DynamicPartitionsDefinition:
    """The iterations of an experiment; one is added when its policy is announced."""
    return dg.DynamicPartitionsDefinition(name=_partitions_name(experiment))


def _partitions_name(experiment: str) -> str:
    return f"{experiment}_iteration"


def has_iteration(instance: dg.DagsterInstance, experiment: str, iteration: int) -> bool:
    """Whether Dagster shows an iteration of an experiment."""
    return instance.has_dynamic_partition(_partitions_name(experiment), str(iteration))


def add_iterations(instance: dg.DagsterInstance, experiment: str, *iterations: int) -> None:
    """Lets Dagster show these iterations of an experiment; some or all of them may be there."""
    instance.add_dynamic_partitions(_partitions_name(experiment), [str(iteration) for iteration in iterations])


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


def announce(
    instance: dg.DagsterInstance,
    store: ArtifactStore,
    experiment: str,
    iteration: int,
    policy: Artifact,
    report: Callable[[dg.AssetMaterialization], None],
    by: str | None = None,
    why: str | None = None,
) -> None:
    """Makes a policy the behaviour policy of an iteration, which can be launched from then on.

    The store's record is what stages read; the partition and the event that `report` logs show it in Dagster. `by` is
    who or what decided it, `why` for which reasons.
    """
    store.announce(experiment, iteration, policy, by, why)
    add_iterations(instance, experiment, iteration)
    report(
        dg.AssetMaterialization(
            dg.AssetKey([experiment, BEHAVIOUR_POLICY.key.path[-1]]),
            partition=str(iteration),
            description=f"pi_{iteration - 1}, made by {policy.version.partition}",
            metadata={
                "made_by": str(policy.version.partition),
                "digest": policy.digest,
                "path": policy.uri,
                **({"decided_by": by, "why": why or ""} if by else {}),
            },
            tags={DATA_VERSION_TAG: policy.digest},
        )
    )
