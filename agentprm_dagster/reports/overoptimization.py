"""Over-optimization of a PRM: what a panel measures while a policy is improved, and what says that it has gone too far.

A policy that is improved against a PRM for too long learns what the PRM overrates: the PRM's reward goes on rising
while success falls (the paper's section on reward hacking). Success tells, and costs episodes whose outcome somebody
must judge. Three other signals are watched beside it, none of which needs a success rate: how far the policy has gone
(KL), whether PRMs trained on disjoint games disagree about its answers, and whether the PRM promises more than fresh
episodes return.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from agentprm_dagster.algorithm.statistics import wilson_interval

Signal = Literal["success", "kl", "disagreement", "calibration"]

MEASUREMENTS = "panel.json"
"""The file beside a policy with what the panel measured while it was improved."""
PICTURE = "panel.png"
"""The file that shows it."""

LIMITS: Mapping[Signal, float] = {"success": 0.05, "kl": 0.1, "disagreement": 1.2, "calibration": 0.05}
"""Where each signal stops unless an experiment says otherwise; the table that says when each would have takes these."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The panel at one step."""

    step: int
    success: float
    """Share of the panel's games won, played once each at the rollouts' temperature."""
    games: int
    value: float
    """The PRM's mean value of answers drawn in held-out states, in [0, 1]: what improvement maximises."""
    kl: float
    """KL(pi || pi_(i-1)) over the same answers, in nats an answer."""
    validity: float
    """Share of the actions played that were admissible."""
    calibration: float | None
    """Mea predicted minus mean observed return over the panel's decisions; None where the PRM predicts none."""
    disagreement: float | None
    """Mean standard deviation of the committee's logits over answers drawn in one state, each PRM's own mean over the
    state taken off; None without a committee."""


def tripped(history: Sequence[Measurement], signal: Signal, limit: float) -> bool:
    """Whether the last measurement is out of order; the first one, with which the others are compared, never is."""
    if len(history) == 1:
        return False
    first, last = history[0], history[-1]
    if signal == "success":
        return max(each.success for each in history) - last.success > limit
    if signal == "kl":
        return last.kl > limit
    now, then = getattr(last, signal), getattr(first, signal)
    if now is None or then is None:
        raise ValueError(f"{signal} was not measured")
    return bool(now > limit * then if signal == "disagreement" else now - then > limit)


def to_go_back_to(history: Sequence[Measurement], signal: Signal) -> int:
    """Which measurement the policy goes back to when the last one tripped: the best, else the one before."""
    if signal == "success":
        return max(range(len(history)), key=lambda i: (history[i].success, -i))
    return max(len(history) - 2, 0)


def fires_at(history: Sequence[Measurement], signal: Signal) -> int | None:
    """The first measurement where a signal trips at its usual limit; None if none does, or it was not measured."""
    if history[0].calibration is None and signal == "calibration":
        return None
    if history[0].disagreement is None and signal == "disagreement":
        return None
    stops = (i for i in range(1, len(history)) if tripped(history[: i + 1], signal, LIMITS[signal]))
    return next(stops, None)


def panel_metrics(history: Sequence[Measurement]) -> dict[str, float]:
    """Success at its best, where that was, at the end, and what each signal would have kept."""
    best = max(history, key=lambda each: (each.success, -each.step))
    metrics = {
        "panel_success_first": history[0].success,
        "panel_success_best": best.success,
        "panel_best_step": float(best.step),
        "panel_success_last": history[-1].success,
        "panel_value_first": history[0].value,
        "panel_value_last": history[-1].value,
    }
    for signal in LIMITS:
        fired = fires_at(history, signal)
        if fired is not None:
            kept = history[to_go_back_to(history[: fired + 1], signal)]
            metrics |= {f"panel_{signal}_fires_at": float(history[fired].step), f"panel_{signal}_keeps": kept.success}
    return metrics


def panel_page(history: Sequence[Measurement], picture: str) -> str:
    """The measurements as a table, when each signal would have stopped, and the picture."""
    names = list(asdict(history[0]))
    rows = [" | ".join("" if value is None else f"{value:.4g}" for value in asdict(each).values()) for each in history]
    table = "\n".join(f"| {row} |" for row in (" | ".join(names), " | ".join(["---"] * len(names)), *rows))
    stops = "\n".join(f"| {signal} | {limit:g} | {_stop(history, signal)} |" for signal, limit in LIMITS.items())
    return (
        f"\n**Panel** of held-out games and states\n\n{table}\n\n"
        f"| signal | limit | would have stopped at |\n|---|---|---|\n{stops}\n\n![panel]({picture})\n"
    )


def _stop(history: Sequence[Measurement], signal: Signal) -> str:
    fired = fires_at(history, signal)
    if fired is None:
        return "no step"
    kept = history[to_go_back_to(history[: fired + 1], signal)]
    low, high = wilson_interval(kept.success * kept.games, kept.games)
    return f"step {history[fired].step}, keeping step {kept.step}: {kept.success:.1%} ({low:.1%} to {high:.1%})"
