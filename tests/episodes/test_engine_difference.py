"""What a stage that has played says of its engine."""

import pytest

from agentprm_dagster.episodes.engine_difference import EngineDifference, with_engine_gate
from agentprm_dagster.episodes.stage import Gate, StageReport

REPORT = StageReport({"episodes": 3.0}, (Gate("parse_failures", True, "none"),), "A page.")


@pytest.mark.parametrize(("nats", "passed"), [(1e-6, True), (0.02, True), (0.021, False), (float("nan"), False)])
def test_the_largest_difference_is_judged(nats: float, passed: bool) -> None:
    report = with_engine_gate(REPORT, [EngineDifference(1e-7, 0.1), None, EngineDifference(nats, 0.02)])
    assert [gate.name for gate in report.gates] == ["parse_failures", "engine_agrees"]
    assert report.gates[1].passed is passed
    assert [*report.metrics] == ["episodes", "engine_log_prob_difference"]
    assert report.preview.startswith(REPORT.preview)
    assert (report.preview == REPORT.preview) is passed


def test_each_is_judged_by_the_numbers_it_was_computed_in() -> None:
    half, single = EngineDifference(0.05, 0.1), EngineDifference(0.03, 0.02)
    report = with_engine_gate(REPORT, [half, single])
    assert not report.gates[1].passed
    assert "differ from transformers' by up to 0.03 nats a token; at most 0.02 may be" in report.gates[1].message


def test_where_nothing_is_compared_the_gate_passes_and_there_is_no_metric() -> None:
    report = with_engine_gate(REPORT, [None, None])
    assert (report.gates[1].passed, report.gates[1].value) == (True, None)
    assert report.metrics == REPORT.metrics
