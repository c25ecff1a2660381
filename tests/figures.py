"""The figures that a module of charts writes, for a test to look at."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def noted(chart: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Those that are written from now on; they are written all the same."""
    seen: list[Any] = []
    write = chart.write

    def note(figure: Any, path: Path) -> None:
        seen.append(figure)
        write(figure, path)

    monkeypatch.setattr(chart, "write", note)
    return seen
