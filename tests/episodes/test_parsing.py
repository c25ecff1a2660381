"""From answers to commands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.parsing import Answer, may_be_chosen, parse_answer
from agentprm_dagster.episodes.records import Response


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
        "Well.\nREASON: I see it.\nACTION: look",
        "REASON I see it.\nACTION look",
        "REASON\nI see it.\nACTION\nlook",
        "THOUGHT: I see it.\nACTION: look",
        "REASON: I see it.\n**ACTION:** look\n**ACTION:** inventory",
        "REASON: I see it.\nAction: look\nACTION: inventory",
        "REASON: I see it.\n## Action\nlook\n## Action\nlook",
        "REASON: I see it.\nACTION: look\nREASON: I saw it.",
        "REASON: I see it.\nACTION:\n```\nlook\ninventory\n```",
        "REASON: I see it.\nACTION:\n```\nlook\n```\n```\ninventory\n```",
        "REASON: I see it.\nACTION:\n```\nlook",
        "REASON: I see it.\nACTION: ** **",
        "<think>\nREASON: I see it.\nACTION: look\n</think>",
        "<think>Hm.</think>\nREASON: I see it.\nACTION: look",
    ],
)
def test_any_other_form_is_no_action(text: str) -> None:
    assert parse_answer(text) == Answer(reason="", action="", parsed=False)


@pytest.mark.parametrize(
    "text",
    [
        "reason: I see it.\naction: look",
        "Reason: I see it.\nAction: look",
        "**REASON:** I see it.\n**ACTION:** look",
        "**REASON**: I see it.\n**ACTION**: look",
        "**REASON: I see it.**\n**ACTION: look**",
        "*Reason:* I see it.\n_Action:_ look",
        "__REASON:__ I see it.\n***ACTION***: look",
        "# REASON\nI see it.\n\n## ACTION\nlook",
        "### Reason: I see it.\n### Action: look",
        "## **REASON**\nI see it.\n## **ACTION**\n`look`",
        "**REASON**\n\nI see it.\n\n**ACTION**\n\nlook",
        "- REASON: I see it.\n- ACTION: look",
        "1. **REASON:** I see it.\n2. **ACTION:** look",
        "> REASON: I see it.\n> ACTION: look",
        "REASON：I see it.\nACTION：look",
        "REASON: I see it.\r\nACTION: look\r\n",
        "**Reason**\r\nI see it.\r\n**Action**\r\nlook\r\n",
        "REASON: I see it.\nACTION: `look`",
        "REASON: I see it.\nACTION: ```look```",
        "REASON: I see it.\nACTION:\n```\nlook\n```",
        "REASON: I see it.\nACTION:\n```text\nlook\n```\n",
        "REASON: I see it.\nACTION:\n~~~\nlook\n~~~",
        'REASON: I see it.\nACTION: "look"',
        "REASON: I see it.\nACTION: 'look'",
        "REASON: I see it.\nACTION: “look”",
        "REASON: I see it.\nACTION: **look**",
        "REASON: I see it.\nACTION: **`look`**",
        '**REASON:** I see it.\n**ACTION:** "**look**"',
        "```\nREASON: I see it.\nACTION: look\n```",
        "```markdown\n**REASON:** I see it.\n**ACTION:** look\n```",
    ],
)
def test_formatting_is_looked_through(text: str) -> None:
    assert parse_answer(text) == Answer("I see it.", "look", parsed=True)


@pytest.mark.parametrize("command", ["`look` or `go`", '"look" and "go"', "`look", "look**", "[look]", "look."])
def test_what_is_no_enclosure_is_left_as_written(command: str) -> None:
    assert parse_answer(f"REASON: I see it.\nACTION: {command}").action == command


def test_the_word_action_within_a_reason_is_no_label() -> None:
    answer = parse_answer("REASON: The best action: look. Reason enough.\nACTION: look")
    assert answer == Answer("The best action: look. Reason enough.", "look", parsed=True)


@pytest.mark.parametrize("odd", ["`", "*", "```\n", "\n- ", "**action**\n", "\n", "“", "#"])
def test_long_odd_answers_take_no_longer_than_they_are_long(odd: str) -> None:
    """Quadratic or worse would not end within the suite."""
    assert not parse_answer("REASON: I see it.\n" + odd * 50_000).parsed
    parse_answer("REASON: I see it.\nACTION: " + odd * 50_000)


MARKS = "*_`\"'“”‘’~#"
texts = st.text().map(str.strip).filter(lambda text: "action" not in text.casefold())


@given(reason=texts, action=texts.filter(lambda text: text and "\n" not in text and not set(MARKS) & set(text)))
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
