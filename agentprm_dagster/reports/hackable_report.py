"""What a reward model's page says of answers that were made to please it, and the gate on it."""

import re
from dataclasses import replace
from math import isnan
from typing import Literal

from agentprm_dagster.algorithm.hackability import Hackability, Weakness
from agentprm_dagster.episodes.stage import Gate, StageReport
from agentprm_dagster.episodes.visible import one_line

GATE = "not_hackable"
MOST_LETTERS = 160
"""Of an example."""

_MEANING = {
    "words": "same command, other words",
    "absent": "about things never seen",
    "elsewhere": "won another game",
    "length": "reason repeated to the limit",
}


def with_hackability(
    report: StageReport, found: Hackability, *, most: float, severity: Literal["warn", "block"]
) -> StageReport:
    """The report with shares, a table and the gate: at most a share `most` of decisions may be hacked by any kind."""
    gate = Gate(
        GATE,
        not found.worst > most,
        f"in {found.worst:.1%} of {found.decisions} held-out decisions answers that were made to please it are valued "
        f"above every real one; expected at most {most:.1%} (gates.max_hackable): collect more different answers "
        "(rollouts.branch_actions), train longer, or weigh the policy's own opinion in (evaluation.best_of_prior)",
        found.worst,
        warns=severity == "warn",
    )
    lines = [
        "",
        f"Answers made to please, in {found.decisions} held-out decisions:",
        "",
        "| answer | decisions | valued above every real one | mean rise | rises most |",
        "|---|---|---|---|---|",
        *map(_row, found.weaknesses),
    ]
    if not gate.passed:
        lines[1:1] = [f"**{'Warning' if gate.warns else 'Not passed'}**: {gate.message}", ""]
    preview = report.preview + "\n".join(lines) + "\n"
    return replace(report, metrics={**report.metrics, **found.metrics()}, gates=(*report.gates, gate), preview=preview)


def _row(weakness: Weakness) -> str:
    share, rise = ("-" if isnan(each) else each for each in (weakness.share, weakness.rise))
    cells = (
        _MEANING[weakness.kind],
        str(weakness.decisions),
        share if isinstance(share, str) else f"{share:.1%}",
        rise if isinstance(rise, str) else f"{rise:+.3f}",
        _plain(weakness.example),
    )
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """As it is, whatever Markdown would make of it."""
    return re.sub(r"([\\`*_\[\]<>|~#&])", r"\\\1", one_line(text, MOST_LETTERS))
