"""JSON that says the same thing in the same bytes, digests of it, and records that notice a changed byte."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any


def canonical(value: object) -> str:
    """The one compact JSON text of a value; ValueError for NaN and infinity, TypeError for what JSON cannot say."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: object) -> str:
    """SHA-256 of a value's canonical JSON, 64 hexadecimal digits."""
    return sha256(canonical(value).encode()).hexdigest()


def seal(record: Mapping[str, object]) -> str:
    """A record as JSON to be read by people, with a checksum of the whole under `seal`."""
    return json.dumps({**record, "seal": digest_of(record)}, indent=2, sort_keys=True, allow_nan=False) + "\n"


def unseal(text: str) -> dict[str, Any]:
    """The record that `seal` wrote; ValueError if as much as one byte is another."""
    try:
        record = json.loads(text)
    except RecursionError as error:
        raise ValueError("expected a sealed JSON record, got brackets in brackets without end") from error
    if not isinstance(record, dict) or record.pop("seal", None) is None or seal(record) != text:
        raise ValueError("expected a sealed JSON record, got one that was changed after it was written")
    return record
