"""What the paper reports on ALFWorld's games: the rows of its Table 1 that it played itself.

On ALFWorld's unseen split, its policies being Llama-3.2-3B: 134 games, one pass, N = 16. The paper counts Q from zero,
we count it with the policy it was learnt from: its BoN(pi_1, Q_0) is our Bo16(pi_1, prm[1]).
"""

from typing import NamedTuple

from agentprm_dagster.envs.alfworld.tasks import SHORT_NAMES, TASK_TYPES


class PaperRow(NamedTuple):
    """A row of the paper's Table 1: success in percent, over all games and in the order of TASK_TYPES."""

    policy: str
    success: float
    actions: float
    by_task_type: tuple[float, float, float, float, float, float]


PAPER = (
    PaperRow("ReAct gpt-4o", 65.7, 20.2, (91.7, 100.0, 35.5, 56.5, 52.4, 76.5)),
    PaperRow("ReAct gpt-4o-mini", 29.9, 25.5, (33.3, 66.7, 25.8, 17.4, 14.3, 29.4)),
    PaperRow("ReAct claude-3.5-sonnet", 76.1, 19.0, (95.8, 88.9, 61.3, 60.9, 81.0, 76.5)),
    PaperRow("ReAct claude-3.5-haiku", 16.4, 27.2, (33.3, 38.9, 9.7, 8.7, 9.5, 0.0)),
    PaperRow("ReAct gemini-1.5-flash", 19.4, 26.3, (41.7, 16.7, 12.9, 13.0, 19.0, 11.8)),
    PaperRow("pi_0", 64.9, 14.9, (62.5, 66.7, 74.2, 69.6, 71.4, 35.3)),
    PaperRow("BoN(pi_0, Q_0)", 67.9, 15.1, (66.7, 66.7, 74.2, 69.6, 71.4, 52.9)),
    PaperRow("pi_1", 73.9, 14.0, (58.3, 100.0, 80.6, 73.9, 71.4, 58.8)),
    PaperRow("BoN(pi_1, Q_0)", 84.3, 13.5, (75.0, 100.0, 90.3, 95.7, 76.2, 64.7)),
    PaperRow("pi_2", 85.8, 12.6, (75.0, 100.0, 87.1, 91.3, 100.0, 58.8)),
    PaperRow("BoN(pi_2, Q_1)", 88.8, 12.0, (79.2, 100.0, 87.1, 91.3, 100.0, 76.5)),
    PaperRow("pi_3", 88.1, 12.7, (79.2, 100.0, 90.3, 91.3, 100.0, 64.7)),
    PaperRow("BoN(pi_3, Q_2)", 91.0, 12.5, (87.5, 100.0, 87.1, 91.3, 100.0, 82.4)),
)


def published() -> str:
    """The rows as a table in Markdown, with what they are of."""
    head = ("the paper's", "success", "actions", *(SHORT_NAMES[kind] for kind in TASK_TYPES))
    rows = [
        (row.policy, f"{row.success}%", str(row.actions), *(f"{rate:.0f}%" for rate in row.by_task_type))
        for row in PAPER
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))
    return f"Table 1 of the paper (pi: Llama-3.2-3B, valid_unseen, 134 games, N = 16):\n\n{table}\n"
