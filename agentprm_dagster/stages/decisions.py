"""The decisions in the store: what became of every iteration, and which one is wanted next."""

from dataclasses import dataclass

import dagster as dg

from agentprm_dagster.iterations import FIRST, announce, has_iteration
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.errors import ArtifactError
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.reports.promotion import DECISION, Decision

PROMOTION = "promotion"
"""The asset that decides."""
ATTEMPT = "attempt"
"""Among the seeds of an artifact: how often its iteration was tried before; not there where it never was."""


@dataclass(frozen=True)
class Wanted:
    """An iteration that is to be made."""

    iteration: int
    attempt: int
    """How often it was tried before."""


def decision_of(made: Artifact) -> Decision:
    """The decision in an artifact of `promotion`."""
    return Decision.from_json((made.path / DECISION).read_text(encoding="utf-8"))


def current_decision(store: ArtifactStore, experiment: str, iteration: int) -> Decision | None:
    """What was decided last of an iteration; None where nothing was.

    Raises:
        ArtifactError: the decision is damaged.
    """
    if not store.has(experiment, PROMOTION, iteration):
        return None
    return decision_of(store.current(experiment, PROMOTION, iteration))


def attempt(store: ArtifactStore, experiment: str, iteration: int) -> int:
    """How often an iteration was tried before: once more than the last decision says if that asks for another seed."""
    return _attempt_after(current_decision(store, experiment, iteration))


def _attempt_after(decision: Decision | None) -> int:
    return 0 if decision is None else decision.attempt + (decision.verdict == "repeat")


def wanted(store: ArtifactStore, experiment: str, iterations: int) -> Wanted | str:
    """The next iteration to make of those that are planned, or why there is none, in a sentence."""
    for i in range(FIRST, iterations + 1):
        decision = current_decision(store, experiment, i)
        if decision is None or decision.verdict == "repeat":
            return Wanted(i, _attempt_after(decision))
        if decision.verdict == "stop":
            return f"{experiment} stopped at iteration {i}: {decision.words}"
        if not decision.goes_on:
            return f"{experiment} has used up its hours with iteration {i} (promotion.max_hours)"
    return f"all {iterations} iterations of {experiment} are made"


def announce_again(instance: dg.DagsterInstance, store: ArtifactStore, experiment: str, iteration: int) -> None:
    """Announces the policy before an iteration, where it is not yet: the last iteration that an experiment plans
    announces none, and a Dagster instance may be younger than the store.

    Raises:
        ArtifactError: the iteration before was not made, or its policy was not promoted.
    """
    before = iteration - 1
    policy = store.current(experiment, "improved_policy", before)
    decision = current_decision(store, experiment, before)
    if decision is not None and decision.verdict != "promote":
        raise ArtifactError(
            f"{experiment}/improved_policy[{before}] was not promoted ({decision.words}), so that iteration "
            f"{iteration} cannot begin: `agentprm promote {experiment} -i {before} --why ...` takes it on anyway"
        )
    announced = store.announcements(experiment, iteration)
    is_known = has_iteration(instance, experiment, iteration)
    if not is_known or not announced or announced[-1].policy.version != policy.version:
        announce(instance, store, experiment, iteration, policy, instance.report_runless_asset_event)
