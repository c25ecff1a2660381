"""A template says the same today and tomorrow, here and elsewhere."""

import datetime
import random

import pytest
import transformers.utils.chat_template_utils as transformers_templates

from agentprm_dagster.engine.templates import ChatTemplateError, render
from pretrained import CHATML, byte_tokenizer

MESSAGES = [{"role": "system", "content": "Rules."}, {"role": "user", "content": "Hello."}]


def rendered(template: str) -> str:
    return render(byte_tokenizer(template), MESSAGES)


@pytest.mark.parametrize(
    "template", [CHATML, "\n  {% if messages %}\n  x\n{% endif %}\n", "  {{ messages[0].content }}"]
)
def test_a_template_without_a_clock_says_what_transformers_makes_of_it(template: str) -> None:
    tokenizer = byte_tokenizer(template)
    stock = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert render(tokenizer, MESSAGES) == stock


@pytest.mark.parametrize(
    ("called", "told"),
    [
        ("strftime_now('%d %b %Y')", "26 Jul 2024"),
        ("strftime_now('%A, %B %-d, %Y %H:%M:%S.%f')", "Friday, July 26, 2024 00:00:00.000000"),
        ("strftime_now(format='%Y-%m-%d')", "2024-07-26"),
        ("strftime_now('%F %T %p %j %-m %e %Z%z')", "2024-07-26 00:00:00 AM 208 7 26 "),
        ("strftime_now('100%% of %%d: %d')", "100% of %d: 26"),
        ("strftime_now('%s %c')", "1721952000 Fri Jul 26 00:00:00 2024"),
        ("'a clock' if strftime_now is defined", "a clock"),
    ],
)
def test_it_is_always_the_same_moment(called: str, told: str) -> None:
    assert rendered("{{ " + called + " }}") == told
    assert rendered("{% macro today() %}{{ " + called + " }}{% endmacro %}{{ today() }}") == told


def test_another_day_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tomorrow(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Tomorrow":
            return cls(2031, 1, 2)

    template = "{{ strftime_now('%d %b %Y') }}"
    before = rendered(template)
    monkeypatch.setattr(transformers_templates, "datetime", Tomorrow)
    assert byte_tokenizer(template).apply_chat_template(MESSAGES, tokenize=False) == "02 Jan 2031"
    assert rendered(template) == before


@pytest.mark.parametrize("template", ["{{ range(1000000 // 20) | random }}", "{{ lipsum(n=2) }}"])
def test_what_is_drawn_is_always_the_same(template: str) -> None:
    random.seed(1)
    first = rendered(template)
    state = random.getstate()
    assert rendered(template) == first
    assert random.getstate() == state, "others draw on as if nothing had been rendered"


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (
            "{{ raise_exception('System role not supported') }}",
            r"of the roles system, user \(System role not supported\)",
        ),
        ("{{ none_such.a }}", "'none_such' is undefined"),
        ("{% if %}", "Expected an expression"),
        ("{{ messages.__class__.__base__ }}", "is unsafe"),
        ("{{ 1 + 'a' }}", "unsupported operand"),
        ({"tools": CHATML}, "refuses messages"),
    ],
)
def test_what_a_template_refuses_is_told(template: str | dict[str, str], told: str) -> None:
    with pytest.raises(ChatTemplateError, match=f"{told}.*use dialogue.format: restated, or another model"):
        render(byte_tokenizer(template), MESSAGES)
    with pytest.raises(ChatTemplateError, match=r"use another model$"):
        render(byte_tokenizer("{{ raise_exception('no') }}"), MESSAGES[1:])
