"""What counts as an answer, as a server sends it and as a journal gives it back."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.engine.served.replies import (
    InvalidAnswer,
    Refusal,
    Reply,
    read_completion,
    read_record,
    tokens_in,
    tokens_kept,
)
from agentprm_dagster.episodes.usage import Usage
from chat_servers import LOOK, completion
from odd_servers import odd_answers

PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
    {"type": "text", "text": LOOK[:10]},
    {"type": "text", "text": LOOK[10:]},
    {"type": "refusal", "refusal": "No."},
]


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (completion(LOOK), Reply(LOOK, 100, 10, "stop")),
        (completion(LOOK, usage=(100.0, 0)), Reply(LOOK, 100, 0, "stop")),
        (completion(LOOK, finish=None), Reply(LOOK, 100, 10)),
        (completion(LOOK, reasoning_content="ACTION: go to bed 1 \ud83d"), Reply(LOOK, 100, 10, "stop")),
        (completion(PARTS), Reply(LOOK, 100, 10, "stop")),
        (completion([]), Reply("", 100, 10, "stop")),
        (completion(None, "length", reasoning="Hm."), Reply("", 100, 10, "length")),
        (completion("", "content_filter", refusal="No."), Reply("", 100, 10, "content_filter")),
        (completion("a\0b 🍎"), Reply("a\0b 🍎", 100, 10, "stop")),
        (completion(LOOK).replace(b'"usage"', b'"error": null, "usage"'), Reply(LOOK, 100, 10, "stop")),
        (completion(LOOK).decode().encode("utf-16"), Reply(LOOK, 100, 10, "stop")),
    ],
)
def test_what_is_an_answer(body: bytes, reply: Reply) -> None:
    assert read_completion(body) == reply


def test_how_an_answer_ended() -> None:
    ends = ("", "stop", "length", "MAX_TOKENS", "content_filter", "tool_calls")
    replies = [Reply("", 1, 1, finish) for finish in ends]
    assert [reply.finish for reply in replies if reply.cut] == ["length", "MAX_TOKENS"]
    assert [reply.finish for reply in replies if reply.filtered] == ["content_filter"]


def without(*path: str | int) -> bytes:
    """A completion without one of its fields."""
    body = json.loads(completion(LOOK))
    place = body
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return json.dumps(body).encode()


def replaced(value: object, *path: str | int) -> bytes:
    """A completion with another value in one of its fields."""
    body = json.loads(completion(LOOK))
    place = body
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(body).encode()


COUNTS = [None, -1, 1.5, "10", True, [10], float("nan"), float("inf"), 2**40, 10.0**30]
"""No counts of tokens."""


@pytest.mark.parametrize(
    ("body", "field"),
    [
        *((completion(LOOK, usage=(count, 10)), "usage.prompt_tokens: ") for count in COUNTS),
        *((completion(LOOK, usage=(100, count)), "usage.completion_tokens: ") for count in COUNTS),
        (completion(LOOK, usage=None), "usage: "),
        (completion(LOOK, usage={}), "usage.prompt_tokens: "),
        (completion(LOOK, usage=[]), "usage: "),
        (without("usage"), "usage: "),
        (without("choices"), "choices: "),
        (replaced([], "choices"), "choices: "),
        (replaced(None, "choices"), "choices: "),
        (replaced({}, "choices"), "choices: "),
        (without("choices", 0, "message"), "choices.0.message: "),
        (replaced(None, "choices", 0, "message"), "choices.0.message: "),
        (replaced("look", "choices", 0, "message"), "choices.0.message: "),
        (replaced(7, "choices", 0, "finish_reason"), "choices.0.finish_reason: "),
        (completion(7), "choices.0.message.content: "),
        (completion({"text": LOOK}), "choices.0.message.content: "),
        (completion("\ud83d"), "choices.0.message.content: "),
        (completion(["look"]), "choices.0.message.content: "),
        (completion([{"text": "look"}]), "choices.0.message.content: "),
        (completion([{"type": "text", "text": None}]), "choices.0.message.content: "),
        (completion([{"type": "text", "text": "\udc00"}]), "choices.0.message.content: "),
        (completion(LOOK)[:-9], "no JSON"),
        (b"", "no JSON"),
        (b"<html>", "no JSON"),
        (b"data: {}", "no JSON"),
        (b"\xff\xfe\xfd", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"usage": ' + b"1" * 5000 + b"}", "no JSON"),
        (b"null", "the body: "),
        (b"[]", "the body: "),
        (b'"Welcome"', "the body: "),
    ],
)
def test_what_is_none_names_the_field(body: bytes, field: str) -> None:
    with pytest.raises(InvalidAnswer) as failed:
        read_completion(body)
    assert str(failed.value).startswith(field)
    assert failed.value.status == 502


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 502, "message": "overloaded"}, 502),
        ({"code": 429}, 429),
        ({"code": 400}, 400),
        ({"code": "context_length_exceeded"}, 502),
        ({"code": 200}, 502),
        ("overloaded", 502),
    ],
)
def test_an_error_in_its_place_is_none(error: object, status: int) -> None:
    in_place = json.dumps({"error": error}).encode()
    for body in (in_place, replaced(error, "error"), replaced(error, "choices", 0, "error")):
        with pytest.raises(InvalidAnswer, match="an error in place of a completion") as failed:
            read_completion(body)
        assert failed.value.status == status


def test_what_no_answer_took_is_known_where_it_says() -> None:
    assert tokens_in(completion(None, usage=(7, 2)).replace(b'"message"', b'"massage"')) == Usage(7, 2)
    for body in (b"", b"null", b"{}", completion(LOOK, usage=(7, None)), completion(LOOK, usage=None)):
        assert tokens_in(body) == Usage()
    assert tokens_kept(b'{"question": "q", "text": ["look"], "tokens_read": 7, "tokens_drawn": 2}') == Usage(7, 2)
    assert tokens_kept(b'{"question": "q", "text": "look", "tokens_read": 7, "tokens_drawn": null}') == Usage()
    assert tokens_kept(b"{") == Usage()


texts = st.text()
counts = st.integers(0, 2**31)


@given(st.builds(Reply, texts, counts, counts, texts) | st.builds(Refusal, texts))
def test_what_is_kept_is_read_again(answer: Reply | Refusal) -> None:
    line = json.dumps({"question": "q", **asdict(answer)})
    assert read_record(json.loads(line)) == ("q", answer)


def test_a_record_without_how_it_ended_is_read() -> None:
    assert read_record({"question": "q", "text": "look", "tokens_read": 3, "tokens_drawn": 2}) == (
        "q",
        Reply("look", 3, 2),
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        *(({"tokens_read": count}, "tokens_read: ") for count in COUNTS),
        *(({"tokens_drawn": count}, "tokens_drawn: ") for count in COUNTS),
        *(({"text": text}, "text: ") for text in (None, 7, ["look"], [{"type": "text", "text": "look"}], "\ud83d")),
        ({"finish": None}, "finish: "),
        ({"refused": None}, "refused: "),
        ({"question": None}, ""),
    ],
)
def test_a_record_with_anything_else_is_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError) as failed:
        read_record({"question": "q", "text": "look", "tokens_read": 3, "tokens_drawn": 2, **change})
    assert str(failed.value).startswith(field)
    assert "look" not in str(failed.value), "no more is repeated of a value than its type"


def test_answers_damaged_at_random_are_borne_out_or_refused() -> None:
    odd_answers(seed=0, count=100)
