"""What a policy update did: how the PRM's value of its answers rose, and how far it went from its reference."""

import math
from collections.abc import Mapping, Sequence

from agentprm_dagster.core.overoptimization import Measurement
from agentprm_dagster.core.stage import Gate, StageReport

_WINDOW = 10
"""Steps at each end of the update over which its numbers are averaged."""


COUNTS = ("pairs", "states", "rationalised", "tokens")
"""What is added up over all steps."""


def improvement_report(
    history: Sequence[Mapping[str, float]], *, planned: int, max_kl: float, kept: Measurement | None = None
) -> StageReport:
    """Judges the numbers of every step; KL is in nats per answer, estimated from the policy's own draws.

    `kept` is what a panel measured of the policy that a tripwire went back to. That policy is then judged, its KL by
    the panel's: the last numbers are those of the steps that led to it, and there are none where no step did.
    """
    led_here = history if kept is None else history[: kept.step]
    first, last = _mean(history[:_WINDOW]), _mean(led_here[-_WINDOW:])
    kl = last["kl"] if kept is None else kept.kl
    sums = {name: sum(step[name] for step in history) for name in COUNTS if name in history[0]}
    finite = all(math.isfinite(value) for step in led_here for value in step.values())
    ends = (("first", first), ("last", last))
    metrics = {
        "steps": float(len(history)),
        **sums,
        **{f"{name}_{when}": numbers[name] for name in first for when, numbers in ends if name in numbers},
    }
    gates = (
        Gate(
            "policy_finite",
            finite and len(history) == planned,
            f"{len(history)} of {planned} steps, all numbers finite: {finite}; expected both: lower the learning rate",
        ),
        Gate(
            "kl_budget",
            kl <= max_kl,
            f"the policy went {kl:.3f} nats an answer from its reference; at most {max_kl} are allowed: raise "
            "improvement.beta or take fewer steps",
            kl,
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
    names = [name for name in steps[0] if name not in COUNTS] if steps else []
    return {name: sum(step[name] for step in steps) / len(steps) for name in names}


def _preview(first: Mapping[str, float], last: Mapping[str, float]) -> str:
    def told(name: str) -> str:
        return " | ".join(f"{numbers[name]:.4g}" if name in numbers else "" for numbers in (first, last))

    rows = "\n".join(f"| {name} | {told(name)} |" for name in first)
    return f"| | first {_WINDOW} steps | last {_WINDOW} steps |\n|---|---|---|\n{rows}\n"
