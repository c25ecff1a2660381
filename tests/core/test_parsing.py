"""From answers to commands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.core.dialogue import write_answer
from agentprm_dagster.core.parsing import Answer, may_be_chosen, parse_answer
from agentprm_dagster.core.types import Response


@pytest.mark.parametrize(
    ("text", "reason", "action"),
    [
        ("REASON: I see it.\nACTION: take mug 1 from desk 2", "I see it.", "take mug 1 from desk 2"),
        ("REASON:\nI see it.\nAnd I want it.\nACTION:\ntake mug 1 from desk 2", "I see it.\nAnd I want it.", None),
        ("\n  REASON: I see it.\n\n  ACTION:take mug 1 from desk 2  \n\n", "I see it.", None),
        ("REASON:\nACTION: look", "", "look"),
    ],
    ids=["one line each", "as the restated prompt asks", "blanks around", "no reason given"],
)
def test_the_agreed_form(text: str, reason: str, action: str | None) -> None:
    assert parse_answer(text) == Answer(reason, action or "take mug 1 from desk 2", parsed=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "go to desk 1",
        "REASON: I see it.",
        "ACTION: look",
        "REASON: I see it. ACTION: look",
        "REASON: I see it.\nACTION:",
        "REASON: I see it.\nACTION:  \n ",
        "REASON: I see it.\nACTION: look\nACTION: inventory",
        "REASON: I see it.\nACTION:\nACTION: inventory",
        "REASON: I see it.\nACTION: look\nand then some",
        "ACTION: look\nREASON: I see it.",
        "Well. REASON: I see it.\nACTION: look",
        "reason: I see it.\naction: look",
    ],
)
def test_any_other_form_is_no_action(text: str) -> None:
    assert parse_answer(text) == Answer(reason="", action="", parsed=False)


texts = st.text().map(str.strip).filter(lambda text: "ACTION:" not in text)


@given(reason=texts, action=texts.filter(lambda text: text and "\n" not in text))
def test_what_is_written_is_read_again(reason: str, action: str) -> None:
    assert parse_answer(write_answer(reason, action)) == Answer(reason, action, parsed=True)


@given(st.text())
def test_whatever_came_an_action_is_there_exactly_when_it_was_parsed(text: str) -> None:
    answer = parse_answer(text)
    assert bool(answer.action) is answer.parsed


def test_only_what_ended_in_the_agreed_form_may_be_chosen() -> None:
    agreed = "REASON: I see it.\nACTION: take mug 1 from desk 2"
    assert may_be_chosen(Response(agreed))
    assert may_be_chosen(Response(agreed, (7, 8)))
    assert not may_be_chosen(Response(agreed, (7, 8), cut=True)), "more might have followed"
    assert not may_be_chosen(Response("I see it.", (7, 8)))
