"""Measures one thing after another: none stops the others, what lacks memory is tried smaller, time is kept."""

import json
import traceback
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.gpu_check.card import Card

Numbers = dict[str, Any]
"""What was measured, by name; `ok`: False where it is not as it should be."""

OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True)
class Measurement:
    """One line of the table."""

    part: str
    """The letter of the part that it belongs to."""
    name: str
    """With {size} in it where it has one."""
    measure: Callable[[int], Numbers]
    """Is given the size."""
    size: int = 0
    """Of what memory may not be enough for; it is then halved."""
    least: int = 1
    """Below this size there is nothing to measure."""


class Check:
    """The lines so far; every one is printed when it is there, and the file is written anew."""

    def __init__(self, card: Card, seconds: float, file: Path, about: Numbers) -> None:
        """`about` what is measured on; what would begin later than `seconds` from now is left out."""
        self.card, self.file, self.about = card, file, about
        self.rows: list[Numbers] = []
        self._end = perf_counter() + seconds
        self._longest: dict[str, float] = defaultdict(float)

    @property
    def failed(self) -> bool:
        """Whether anything was not as it should be."""
        return any(row["result"].startswith(("failed", "not ok")) for row in self.rows)

    def run(self, what: Measurement) -> None:
        """Measures it, at a smaller size where memory is not enough."""
        size = what.size
        while True:
            row = {"part": what.part, "name": what.name.format(size=f"{size:,}"), **self._row(what, size)}
            self.rows.append(row)
            print(line_of(row), flush=True)
            self.file.write_text(json.dumps({**self.about, "rows": self.rows}, indent=1) + "\n", encoding="utf-8")
            if row["result"] != OUT_OF_MEMORY or size // 2 < what.least:
                return
            size //= 2

    def _row(self, what: Measurement, size: int) -> Numbers:
        left, start = self._end - perf_counter(), perf_counter()
        if left < self._longest[what.part]:
            return {"result": f"left out: {max(left, 0):.0f} s are left, and others of its part took longer"}
        try:
            self.card.free()
            numbers = what.measure(size)
            self.card.settle()
            row = {"result": "ok" if numbers.pop("ok", True) else "not ok", **numbers}
        except Exception as error:  # whatever a card that was never tried makes of it
            row = _failure(error)
        took = perf_counter() - start
        self._longest[what.part] = max(self._longest[what.part], took)
        memory = self.card.peak_gb()
        return {**row, **({} if memory is None else {"peak_gb": memory}), "seconds": took}


def _failure(error: Exception) -> Numbers:
    message = traceback.format_exception_only(error)[-1].strip()
    told = {"error": message, "traceback": "".join(traceback.format_exception(error))}
    if "out of memory" in message or "ALLOC_FAILED" in message:
        return {"result": OUT_OF_MEMORY, **told}
    return {"result": f"failed: {message.splitlines()[0][:300]}", **told}


def line_of(row: Numbers) -> str:
    """A line as it is printed."""
    hidden = ("part", "name", "result", "error", "traceback")
    numbers = [f"{name} {_short(value)}" for name, value in row.items() if name not in hidden]
    return ", ".join([f"{row['part']}  {row['name']}: {row['result']}", *numbers])


def table_of(rows: list[Numbers]) -> str:
    """All lines as a table in Markdown."""
    names = ("tokens_per_s", "decisions_per_s", "share_of_peak", "peak_gb", "difference", "seconds")
    lines = [["part", "what", "result", *names]]
    lines += [
        [row["part"], row["name"], row["result"][:60], *(_short(row.get(name, "")) for name in names)] for row in rows
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in [*lines[:1], ["---"] * len(lines[0]), *lines[1:]])


def _short(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
