"""How far the engine that played is from transformers, with which policies are trained: a metric and a gate."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf, isnan

from agentprm_dagster.episodes.stage import Gate, StageReport

METRIC, GATE = "engine_log_prob_difference", "engine_agrees"


@dataclass(frozen=True, slots=True)
class EngineDifference:
    """What a sample of answers showed."""

    nats: float
    """The largest difference of an answer's log-probability, a token."""
    tolerance: float
    """How large it may be, in the type of numbers that was computed in."""

    @property
    def share(self) -> float:
        """Of the tolerance; what is no number is beyond it."""
        return inf if isnan(self.nats) else self.nats / self.tolerance


def with_engine_gate(report: StageReport, differences: Iterable[EngineDifference | None]) -> StageReport:
    """The report of a stage that has played, with what its plays showed; None: the engine was not compared."""
    compared = [difference for difference in differences if difference]
    if not compared:
        not_needed = "played by an engine that computes as transformers does, which tests and trials compare"
        return replace(report, gates=(*report.gates, Gate(GATE, True, not_needed)))
    worst = max(compared, key=lambda difference: difference.share)
    gate = Gate(
        GATE,
        worst.share <= 1,
        f"on a sample of answers the engine's log-probabilities differ from transformers' by up to {worst.nats:.2g} "
        f"nats a token; at most {worst.tolerance:g} may be, as what is played would else not be the policy that is "
        "trained: compare the type of numbers, the checkpoint that is served, the engine's version and transformers'",
        worst.nats,
    )
    # On the page too, so that the same answers by an engine that agrees are another version.
    preview = report.preview if gate.passed else f"{report.preview}\n\n{gate.message}"
    return StageReport({**report.metrics, METRIC: worst.nats}, (*report.gates, gate), preview)
