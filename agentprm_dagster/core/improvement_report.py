"""What a policy update did: how the PRM's value of its answers rose, and how far it went from its reference."""

import math
from collections.abc import Mapping, Sequence

from agentprm_dagster.core.stage import Gate, StageReport

_WINDOW = 10
"""Steps at each end of the update over which its numbers are averaged."""


COUNTS = ("pairs", "states", "rationalised", "tokens")
"""What is added up over all steps."""


def improvement_report(history: Sequence[Mapping[str, float]], *, planned: int, max_kl: float) -> StageReport:
    """Judges the numbers of every step; KL is in nats per answer, estimated from the policy's own draws."""
    first, last = _mean(history[:_WINDOW]), _mean(history[-_WINDOW:])
    sums = {name: sum(step[name] for step in history) for name in COUNTS if name in history[0]}
    finite = all(math.isfinite(value) for step in history for value in step.values())
    metrics = {
        "steps": float(len(history)),
        **sums,
        **{f"{name}_{when}": numbers[name] for name in first for when, numbers in (("first", first), ("last", last))},
    }
    gates = (
        Gate(
            "policy_finite",
            finite and len(history) == planned,
            f"{len(history)} of {planned} steps, all numbers finite: {finite}; expected both: lower the learning rate",
        ),
        Gate(
            "kl_budget",
            last["kl"] <= max_kl,
            f"the policy went {last['kl']:.3f} nats an answer from its reference; at most {max_kl} are allowed: raise "
            "improvement.beta or take fewer steps",
            last["kl"],
        ),
        Gate(
            "pairs_to_learn_from",
            metrics["pairs"] > 0,
            f"{metrics['pairs']:.0f} pairs of answers; expected at least one: the PRM tells no answers apart",
            metrics["pairs"],
        ),
    )
    return StageReport(metrics, gates, _preview(first, last))


def _mean(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(step[name] for step in steps) / len(steps) for name in steps[0] if name not in COUNTS}


def _preview(first: Mapping[str, float], last: Mapping[str, float]) -> str:
    rows = "\n".join(f"| {name} | {first[name]:.4g} | {last[name]:.4g} |" for name in first)
    return f"| | first {_WINDOW} steps | last {_WINDOW} steps |\n|---|---|---|\n{rows}\n"
