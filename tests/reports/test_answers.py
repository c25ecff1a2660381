"""The gate on a language model's answers, and what its page says of them."""

import pytest

from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.stage import Gate, StageReport
from agentprm_dagster.episodes.usage import Asked
from agentprm_dagster.reports.answers import EXAMPLE, answers_gate, with_answers_gate

GOOD = Turn("", "look", "Nothing.", write_answer("", "look"))


def bad(answer: str) -> Turn:
    return Turn("", "", "Nothing.", answer, parsed=False, admissible=False)


def episode(*turns: Turn) -> Episode:
    return Episode("e", "g", "pick_and_place_simple", "Look.", turns, reward=0.0)


REPORT = StageReport({"success_rate": 0.0}, (Gate("others", True, "fine"),), "| a table |")


@pytest.mark.parametrize(("limit", "passed"), [(0.25, True), (0.24, False), (0.0, False)])
def test_the_share_that_may_be_unparsed(limit: float, passed: bool) -> None:
    gate = answers_gate([episode(GOOD, bad("Hm."), GOOD), episode(GOOD)], max_parse_failures=limit, asked=Asked())
    assert (gate.name, gate.passed, gate.value) == ("parse_failures", passed, 0.25)
    assert gate.message.startswith("25.0% of 4 answers were not in the agreed form; at most ")


def test_answers_that_cannot_be_read_say_why_and_what_to_do() -> None:
    asked = Asked(cut_answers=3, empty_answers=2, filtered_answers=1)
    unparsed = [bad(""), bad(f"<think>\nI `should`\n{'look ' * EXAMPLE}"), bad(" ")]
    report = with_answers_gate(REPORT, [episode(*unparsed)], max_parse_failures=0.05, asked=asked)
    gate, other = report.gates
    assert (gate.passed, other.name) == (False, "others")
    assert "100.0% of 3 answers" in gate.message
    assert "3 were cut at llm.max_new_tokens, 2 were empty and 1 ended by a content filter" in gate.message
    assert "as `<think> I 'should' look look" in gate.message
    assert "raise llm.max_new_tokens" in gate.message
    assert report.preview.startswith("**What stands below says nothing about the model.** 100.0% of 3 answers")
    assert report.preview.endswith(REPORT.preview)


def test_refused_episodes_are_shown_and_block_where_they_are_all() -> None:
    some, every = Asked(refusals=("HTTP 400: too long",)), Asked(refusals=("HTTP 400: too long", "no"))
    episodes = [episode(GOOD), episode(GOOD, GOOD)]
    report = with_answers_gate(REPORT, episodes, max_parse_failures=0.05, asked=some)
    words = "of 2 episodes ended, lost, where the server refused the prompt for good: `HTTP 400: too long`"
    assert report.gates[0].passed
    assert report.preview == f"1 {words}\n\n| a table |"
    report = with_answers_gate(REPORT, episodes, max_parse_failures=0.05, asked=every)
    assert not report.gates[0].passed
    assert f"2 {words}" in report.gates[0].message
    assert report.preview.startswith("**What stands below says nothing about the model.**")


def test_good_answers_leave_the_page_as_it_is() -> None:
    report = with_answers_gate(REPORT, [episode(GOOD)], max_parse_failures=0.0, asked=Asked())
    assert (report.preview, report.metrics, report.gates[0].passed) == (REPORT.preview, REPORT.metrics, True)
    assert answers_gate([], max_parse_failures=0.0, asked=Asked()).passed
