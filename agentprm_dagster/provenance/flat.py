"""Nested settings with a value a line."""

import json
from collections.abc import Mapping


def flat(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Texts by dotted names, `sft.epochs: 3`; what is no text is written as JSON."""
    lines: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            lines |= flat(value, f"{prefix}{name}.")
        else:
            lines[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return lines
