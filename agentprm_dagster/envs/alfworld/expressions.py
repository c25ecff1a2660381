"""What a game's grammar may compute: TextWorld evaluates what stands in a grammar's braces as Python.

ALFWorld's grammar names things there and does nothing else. A grammar with any other expression is refused, whichever
engine plays the game.
"""

import json
import re
from functools import lru_cache

_VARIABLES = ("o", "o2", "r", "co", "ko", "outero", "outerr")
EXPRESSIONS = frozenset(
    (
        *(f"{variable}{field}" for variable in _VARIABLES for field in ("", ".name", ".indefinite")),
        "r.name or r.id",
        "o.indefinite + ' ' + o.name",
        "o2.indefinite + ' ' + o2.name",
    )
)
"""All that ALFWorld's grammar has between `{` and `|` or `}`, its references to rules (`#overview(o)#`) left out."""

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BETWEEN_STRINGS = re.compile(r"[\w\s:;,/{}\[\]-]*")
_BRACES = re.compile(r"\{(?:#[^#{}|]*#\s*|([^{}|]*))(?:\|[^{}]*)?\}")
_PLAIN_TASK = re.compile(r'(?<=Your task is to: )[^"\\{}#]*')


def is_allowed(expression: str) -> bool:
    """Whether ALFWorld's grammar has this expression too."""
    return expression.strip() in EXPRESSIONS


def foreign_code(grammar: str) -> str | None:
    """The first thing in a grammar that TextWorld might run and ALFWorld's grammar has not; None where all is known.

    A grammar (TextWorld's `.twl2`) is made of quoted texts, whose braces are evaluated, and of words and brackets
    around them; anything else between the quotes is foreign too, since it could hide what is quoted.
    """
    return _foreign_code(_PLAIN_TASK.sub("", grammar, count=1))  # most games differ in their task alone


@lru_cache(maxsize=64)
def _foreign_code(grammar: str) -> str | None:
    text = grammar.replace('"""', "")
    between = _STRING.sub("", text)
    if not _BETWEEN_STRINGS.fullmatch(between):
        return _BETWEEN_STRINGS.sub("", between, count=1)[:80]
    return next((code for quoted in _STRING.findall(text) if (code := _foreign_in(quoted)) is not None), None)


def _foreign_in(quoted: str) -> str | None:
    try:
        text = str(json.loads(f'"{quoted}"', strict=False))  # braces may be written as \\u007b
    except ValueError:
        return quoted[:80]
    found = [match[1] for match in _BRACES.finditer(text)]
    rest = _BRACES.sub("", text)
    unclosed = [rest[rest.index("{") :]] if "{" in rest else []
    return next((code for code in (*found, *unclosed) if code is not None and not is_allowed(code)), None)
