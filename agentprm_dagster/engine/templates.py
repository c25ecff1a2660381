"""A tokenizer's chat template, rendered alike on every day, on every machine and in every process.

A template is a program. It may ask for the date (Llama 3, Granite, Mistral) or draw at random; here it is always given
the same date, in English, and the same random numbers.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from agentprm_dagster.episodes.dialogue import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOW = datetime(2024, 7, 26)
"""What a template is told that the time is: the date that those of Llama 3 fall back to where there is no clock."""

_ENGLISH = {
    "a": "Fri",
    "A": "Friday",
    "b": "Jul",
    "B": "July",
    "c": "Fri Jul 26 00:00:00 2024",
    "h": "Jul",
    "p": "AM",
    "P": "am",
    "r": "12:00:00 AM",
    "s": "1721952000",
    "x": "07/26/24",
    "X": "00:00:00",
    "Z": "",
    "z": "",
}
"""What `strftime` would write in the machine's language and time zone, by its codes."""

_NUMBERS = "dDeFfgGHIjklmMRSTuUVwWyY"
"""Its other codes, which mean the same everywhere."""


class ChatTemplateError(ValueError):
    """A chat template that cannot write the dialogues of this project, or a tokenizer without one."""


def _clock() -> str:
    """A Jinja macro that takes the place of `strftime_now`, which transformers gives to templates."""
    texts = {code: NOW.strftime(f"%{code}") for code in _NUMBERS} | _ENGLISH
    forms = {f"%{code}": text for code, text in texts.items()}
    forms |= {f"%-{code}": text.lstrip("0 ") or "0" for code, text in texts.items()}
    replaced = "".join(f"|replace({form!r}, {text!r})" for form, text in forms.items())
    parts = "{% for part in format.split('%%') %}{{ '' if loop.first else '%' }}{{ part" + replaced + " }}{% endfor %}"
    # On a line of its own, as a template's first line may be indented.
    return "{% macro strftime_now(format) %}" + parts + "{% endmacro %}\n"


_CLOCK = _clock()


def render(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> str:
    """The text of a dialogue up to where the agent's next answer begins.

    Raises:
        ChatTemplateError: the template refuses these messages.
    """
    try:
        with _drawing_alike():
            template = _CLOCK + tokenizer.get_chat_template()
            text = tokenizer.apply_chat_template(
                list(messages), chat_template=template, tokenize=False, add_generation_prompt=True
            )
    except Exception as error:  # a template is a foreign program: whatever it raises is its refusal
        roles = ", ".join(message["role"] for message in messages)
        raise ChatTemplateError(
            f"{tokenizer.name_or_path}: its chat template refuses messages of the roles {roles} ({error}): "
            + ("use dialogue.format: restated, or another model" if len(messages) > 1 else "use another model")
        ) from error
    return str(text)


@contextmanager
def _drawing_alike() -> Iterator[None]:
    """Jinja's `random` and `lipsum` draw from Python's own generator."""
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)
