"""Ours against a baseline: both do the same work in the same process, in turns, several times."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.table import Table

from agentprm_dagster.processor import processor, product_type

RUNS = 5
OUT = Path(__file__).parent / "out"

Work = Callable[[], float]
"""Does the work once; answers how many units it did."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Row:
    """One line of a benchmark."""

    name: str
    unit: str
    ours: float
    """Median over the runs, in `unit`."""
    baseline: float | None
    ratio: float | None
    """How many times better ours is: the median over the runs of the ratio within a run."""
    limit: float | None
    """What the machine could do at best, in `unit`."""
    share_of_limit: float | None
    runs: int
    ours_range: Range
    """Least and most over the runs."""
    baseline_range: Range | None
    ratio_range: Range | None


def rate(work: Work) -> float:
    """Units of work a second."""
    start = perf_counter()
    units = work()
    return units / (perf_counter() - start)


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def compare(
    name: str, unit: str, ours: Work, baseline: Work | None = None, *, limit: float | None = None, runs: int = RUNS
) -> Row:
    """Rates of both, measured in turns so that a noisy moment meets both."""
    return summarise(name, unit, [(rate(ours), rate(baseline) if baseline else None) for _ in range(runs)], limit=limit)


def summarise(
    name: str,
    unit: str,
    pairs: Sequence[tuple[float, float | None]],
    *,
    limit: float | None = None,
    lower_is_better: bool = False,
) -> Row:
    """A line from (ours, baseline) of every run."""

    def better(one: float, other: float) -> float:
        return other / one if lower_is_better else one / other

    mine = [one for one, _ in pairs]
    theirs = [other for _, other in pairs if other is not None]
    ratios = [better(one, other) for one, other in pairs if other is not None]
    ours = median(mine)
    return Row(
        name=name,
        unit=unit,
        ours=ours,
        baseline=median(theirs) if theirs else None,
        ratio=median(ratios) if ratios else None,
        limit=limit,
        share_of_limit=better(ours, limit) if limit else None,
        runs=len(pairs),
        ours_range=(min(mine), max(mine)),
        baseline_range=(min(theirs), max(theirs)) if theirs else None,
        ratio_range=(min(ratios), max(ratios)) if ratios else None,
    )


def report(name: str, rows: Sequence[Row]) -> None:
    """Prints the table and writes benchmarks/out/NAME-PRODUCTS.json, both with what it was measured on."""
    products, cpu = product_type(), processor()
    title = f"{name}: {cpu}, products in {products}"
    table = Table("", "unit", "ours", "baseline", "ratio", "limit", "share", "runs", title=title)
    for line in rows:
        table.add_row(
            line.name,
            line.unit,
            _with_range(line.ours, line.ours_range),
            _with_range(line.baseline, line.baseline_range),
            _with_range(line.ratio, line.ratio_range),
            "" if line.limit is None else _short(line.limit),
            "" if line.share_of_limit is None else f"{line.share_of_limit:.1%}",
            str(line.runs),
        )
    console = Console()
    console.width = console.width if console.is_terminal else 170
    console.print(table)
    OUT.mkdir(exist_ok=True)
    told = {"processor": cpu, "products": products, "rows": [asdict(line) for line in rows]}
    (OUT / f"{name}-{products}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _with_range(value: float | None, ends: Range | None) -> str:
    if value is None or ends is None:
        return ""
    return f"{_short(value)} ({_short(ends[0])} to {_short(ends[1])})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
