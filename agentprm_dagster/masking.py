"""Secrets are taken out of what others say before it is shown or stored: whole ones, parts of them, other spellings."""

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from urllib.parse import quote, quote_plus

MASK = "***"
PART = 8
"""A part of a secret of so many characters is masked too; a shorter secret as a whole word only."""


def masked(text: str, secrets: Iterable[str]) -> str:
    """`text` with *** in the place of every secret and every part of one that has PART characters or more.

    A secret is also found as it stands in a URL, in JSON, in HTML, in hexadecimal and within base64.
    """
    short, parts = set[str](), set[str]()
    for secret in filter(None, secrets):
        if len(secret) < PART:
            short.add(secret)
        else:
            parts.update(form[i : i + PART] for form in _forms(secret) for i in range(len(form) - PART + 1))
    return _without_words(_without_parts(text, parts), short)


def _forms(secret: str) -> Iterator[str]:
    """How a secret may be spelt; every form has PART characters or more."""
    raw = secret.encode(errors="replace")
    yield from (secret, quote(secret, safe=""), quote_plus(secret), html.escape(secret), json.dumps(secret)[1:-1])
    yield from (raw.hex(), raw.hex().upper())
    for encode in (b64encode, urlsafe_b64encode):
        for before in range(3):  # Base64 within longer text depends on where a group of three bytes begins.
            encoded = encode(bytes(before) + raw).decode().rstrip("=")
            yield encoded[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]


def _without_parts(text: str, parts: set[str]) -> str:
    hidden = [False] * len(text)
    for i in range(len(text) - PART + 1):
        if text[i : i + PART] in parts:
            hidden[i : i + PART] = [True] * PART
    runs = groupby(zip(text, hidden, strict=True), key=itemgetter(1))
    return "".join(MASK if secret else "".join(letter for letter, _ in run) for secret, run in runs)


def _without_words(text: str, words: set[str]) -> str:
    if not words:
        return text
    return re.sub(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(words, key=len, reverse=True)))})(?!\w)", MASK, text)
