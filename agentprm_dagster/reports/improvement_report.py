"""What a policy update did: how the PRM's value of its answers rose, and how far it went from its reference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentprm_dagster.episodes.stage import Gate, StageReport
from agentprm_dagster.reports.overoptimization import Measurement

PICTURE = "training.png"
"""The file beside a policy that `reports.chart.training` draws."""

_WINDOW = 10
"""Steps at each end of the update over which its numbers are averaged."""

_COUNTS = ("draws", "pairs", "states", "rationalised", "tokens", "trained_tokens")
"""What is added up over shards and steps."""

_MEAN_OVER = {
    "value": "draws",
    "kl": "draws",
    "states_with_pair": "states",
    # A shard or step without a pair lacks these.
    "loss": "pairs",
    "pair_accuracy": "pairs",
    "gap": "pairs",
    "margin": "pairs",
    "clipped": "draws",
}
"""What each average is a mean of: a shard or step weighs as many as it has."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a policy was improved on, in the gate's words."""

    count: float
    what: str
    else_what: str
    """What it means where there is none."""


def together(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The numbers of several shards of a step, or of several steps, as one: counts are added up, all else averaged."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _together(name, [part for part in parts if name in part]) for name in names}


def _together(name: str, parts: Sequence[Mapping[str, float]]) -> float:
    if name in _COUNTS:
        return sum(part[name] for part in parts)
    weights = [part.get(_MEAN_OVER.get(name, ""), 1.0) for part in parts]
    return sum(weight * part[name] for weight, part in zip(weights, parts, strict=True)) / sum(weights)


def improvement_report(
    history: Sequence[Mapping[str, float]],
    *,
    planned: int,
    max_kl: float,
    kept: Measurement | None = None,
    kl: float | None = None,
    learnt: Learnt | None = None,
) -> StageReport:
    """Judges the numbers of every step; KL is in nats per answer, estimated from the policy's own draws.

    Args:
        kept: what a panel measured of the policy that a tripwire went back to. That policy is then judged, its KL by
            the panel's: the last numbers are those of the steps that led to it, and there are none where no step did.
        kl: the KL as it was measured when all steps were done; None: the last steps' own.
        learnt: what was learnt from, where it is no pairs of answers.
    """
    led_here = history if kept is None else history[: kept.step]
    first, last = together(history[:_WINDOW]), together(led_here[-_WINDOW:])
    if kl is None:
        kl = last["kl"] if kept is None else kept.kl
    finite = math.isfinite(kl) and all(math.isfinite(value) for step in led_here for value in step.values())
    whole, ends = together(history), (("first", first), ("last", last))
    averages = [name for name in whole if name not in _COUNTS]
    metrics = {
        "steps": float(len(history)),
        **{name: whole[name] for name in _COUNTS if name in whole},
        **{f"{name}_{when}": numbers[name] for name in averages for when, numbers in ends if name in numbers},
    }
    learnt = learnt or Learnt(metrics["pairs"], "pairs of answers", "the PRM tells no answers apart")
    gates = (
        Gate(
            "policy_finite",
            finite and len(history) == planned,
            f"{len(history)} of {planned} steps, all numbers finite: {finite}; expected both: lower the learning rate",
        ),
        Gate(
            "kl_budget",
            kl <= max_kl,
            f"the policy went {kl:.3f} nats an answer from its reference; at most {max_kl} are allowed: take fewer or "
            "smaller steps, or weigh the KL more (improvement.beta, improvement.kl_weight)",
            kl,
        ),
        Gate(
            "pairs_to_learn_from",
            learnt.count > 0,
            f"{learnt.count:.0f} {learnt.what}; expected at least one: {learnt.else_what}",
            learnt.count,
        ),
    )
    valued = _valued(first, last if led_here else {})
    words = valued + f"- The policy is now **{kl:.3f} nats** an answer from its reference.\n\n"
    return StageReport(metrics, gates, words + _preview(averages, metrics))


def _valued(first: Mapping[str, float], last: Mapping[str, float]) -> str:
    """How the PRM's value rose; nothing of a kind of improvement that asks no PRM."""
    if "value" not in first:
        return ""
    after = f"to **{last['value']:.3f}**" if "value" in last else "and back, as no step was kept"
    return f"- The PRM's value of the policy's answers went from {first['value']:.3f} {after}.\n"


def _preview(names: Sequence[str], metrics: Mapping[str, float]) -> str:
    def told(metric: str) -> str:
        return f"{metrics[metric]:.4g}" if metric in metrics else ""

    rows = "\n".join(f"| {name} | {told(f'{name}_first')} | {told(f'{name}_last')} |" for name in names)
    return (
        f"| | first {_WINDOW} steps | last {_WINDOW} steps |\n|---|---|---|\n{rows}\n\n"
        f"![numbers of every step]({PICTURE})\n"
    )
