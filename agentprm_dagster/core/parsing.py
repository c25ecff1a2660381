"""From an answer's text to a command. What is not in the agreed form is counted, never guessed into shape."""

import re
from dataclasses import dataclass

from agentprm_dagster.core.types import Response

_AGREED = re.compile(r"\s*REASON:(?P<reason>.*?)\n\s*ACTION:\s*(?P<action>\S[^\n]*)\s*", re.DOTALL)


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

    An answer in any other form, with a second ACTION for one, has no action and is not parsed.
    """
    match = _AGREED.fullmatch(text)
    if match is None or text.count("ACTION:") > 1:
        return Answer(reason="", action="", parsed=False)
    return Answer(reason=match["reason"].strip(), action=match["action"].strip(), parsed=True)


def may_be_chosen(response: Response) -> bool:
    """Whether an answer ended by itself, in the agreed form.

    One that did not is never chosen while another is there, never branched to, and worth nothing to policy improvement.
    """
    return not response.cut and parse_answer(response.text).parsed
