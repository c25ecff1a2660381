"""What is told of several PRMs together."""

import pytest

from agentprm_dagster.episodes.stage import Gate, StageReport
from agentprm_dagster.programs.prm_committee import _together


def member(loss: float, pleased: float, *, knows: bool = True) -> StageReport:
    gates = (
        Gate("better_than_constant", knows, f"loss {loss}", loss),
        Gate("orders_actions", True, "orders", 0.7),
        Gate("not_hackable", pleased <= 0.2, f"pleased {pleased}", pleased, warns=True),
    )
    return StageReport({"held_out_loss": loss, "tokens": 10.0}, gates, "page")


@pytest.mark.parametrize("first", [True, False])
def test_the_verdicts_are_those_on_the_worst_members(first: bool) -> None:
    members = [member(0.9, 0.1, knows=False), member(0.5, 0.4), member(0.4, 0.0)]
    report = _together(members if first else members[::-1])
    assert [(gate.name, gate.passed, gate.message) for gate in report.gates] == [
        ("better_than_constant", False, "loss 0.9"),
        ("not_hackable", False, "pleased 0.4"),
    ]
    assert report.gates[1].warns, "as the settings say"
    assert report.metrics["tokens"] == 30
