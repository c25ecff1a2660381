"""From an answer's text to a command. What is not in the agreed form is counted, never guessed into shape.

Only formatting is looked through: marks of Markdown around the labels, their case, and what encloses the command.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agentprm_dagster.episodes.records import Response

_LABEL = re.compile(
    r"""
    ^[^\S\n]* (?: (?: [-+*>] | \d+[.)] ) [ \t]+ )*  # list items and quotations
    (?P<heading> \#+ [ \t]* )?
    (?P<marks> [*_]+ )?
    (?P<label> REASON | ACTION )
    (?P<closed> (?(marks)[*_]*) )
    (?: [ \t]* [:：] (?P<late> (?(marks)[*_]*) )    # the colon of Chinese and Japanese text as well
      | (?P<bare> [^\S\n]* $ ) )
    """,
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
_FENCE = re.compile(r"(?P<fence>`{3,}|~{3,})[^\n`~]*\n(?P<inside>.*)\n[^\S\n]*(?P=fence)", re.DOTALL)
_ENCLOSED = re.compile(
    r"""(?P<mark>`{1,3}|[*_]{1,3}|["'])(?P<inside>(?:(?!(?P=mark)).)+)(?P=mark)|[“‘](?P<curly>[^“”‘’]+)[”’]"""
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer says."""

    reason: str
    action: str
    """The command, stripped; empty when the answer has no ACTION line."""
    parsed: bool
    """Whether the answer has the agreed form."""


def parse_answer(text: str) -> Answer:
    """Reads "REASON: ... ACTION: ...", the command on the same line or the next, as the two dialogue formats ask for.

    Accepted beside it, with the same meaning: labels in any case, in bold or italic, as headings or list items; the
    whole answer or its command in a fence of Markdown; the command in backticks, quotation marks, bold or italic.

    An answer in any other form, with a second ACTION for one, has no action and is not parsed.
    """
    text = _unfenced(text.strip())
    labels = list(_labels(text))
    names = [label["label"].upper() for label in labels]
    if "ACTION" in names and names.index("ACTION") == len(names) - 1 and text.count("ACTION:") <= 1:
        first, last = labels[0], labels[-1]
        command = _command(_within(last, text[last.end() :]))
        if names[0] == "REASON" and first.start() == 0 and command:
            return Answer(_within(first, text[first.end() : last.start()]), command, parsed=True)
    return Answer(reason="", action="", parsed=False)


def may_be_chosen(response: Response) -> bool:
    """Whether an answer ended by itself, in the agreed form.

    One that did not is never chosen while another is there, never branched to, and worth nothing to policy improvement.
    """
    return not response.cut and parse_answer(response.text).parsed


def _labels(text: str) -> Iterator[re.Match[str]]:
    """Every REASON and ACTION that begins a line: with a colon, or alone and set off as a heading or in bold."""
    for label in _LABEL.finditer(text):
        if label["bare"] is None or label["heading"] or label["closed"]:
            yield label


def _within(label: re.Match[str], text: str) -> str:
    """What stands behind a label, without the marks that open before it and close here: `**ACTION: look**`."""
    is_open = label["marks"] and not (label["closed"] or label["late"])
    return text.strip().removesuffix(label["marks"] if is_open else "").rstrip()


def _unfenced(text: str) -> str:
    """What a fence of Markdown holds, if `text` is one; else `text`."""
    fence = _FENCE.fullmatch(text)
    return fence["inside"].strip() if fence else text


def _command(text: str) -> str:
    """The command without what encloses it; empty if there is none or it has several lines."""
    command = _unfenced(text)
    while enclosed := _ENCLOSED.fullmatch(command):
        command = (enclosed["inside"] or enclosed["curly"]).strip()
    return "" if "\n" in command else command
