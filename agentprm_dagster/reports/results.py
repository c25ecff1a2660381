"""All evaluations of an experiment beside the paper's Table 1.

A row is what `reports.evaluation.evaluation_row` makes. The paper's rows are those that it played itself on ALFWorld's
unseen split, its policies being Llama-3.2-3B: 134 games, one pass, N = 16. The paper counts Q from zero, we count it
with the policy it was learnt from: its BoN(pi_1, Q_0) is our Bo16(pi_1, prm[1]).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from agentprm_dagster.episodes.records import TASK_TYPES, TaskType
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.reports.evaluation import evaluation_name

Row = Mapping[str, Any]
"""One evaluation, with the keys of `reports.evaluation.evaluation_row`."""

SHORT_NAMES: dict[TaskType, str] = {
    "pick_and_place_simple": "pick",
    "look_at_obj_in_light": "look",
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
    "pick_two_obj_and_place": "pick two",
}


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

COLUMNS = ("split", "policy", "n", "success", "95% interval", "actions", *(SHORT_NAMES[kind] for kind in TASK_TYPES))


def in_order(rows: Iterable[Row]) -> list[Row]:
    """By split, then iteration, what no iteration made first; greedy before Best-of-N, then by who chose, then by what
    was imagined.
    """

    def place(row: Row) -> tuple[object, ...]:
        iteration = -1 if row["iteration"] is None else row["iteration"]
        chosen = (row["ranked_by"] or "", row["imagined"] or "", row["imagined_turns"], row["best_of"])
        return row["split"], iteration, *chosen

    return sorted(rows, key=place)


def policy_name(row: Row) -> str:
    """`pi_2`, or `Bo4(pi_2, prm[2])` where a reward model chose among 4 answers; pi_0 is judged by that of iteration 1.

    `Bo4(pi_2, log pi_2/pi_1)` where what the improvement made likelier was taken; `MPR4(pi_2, prm[2], h=1)` where one
    turn was imagined first, by a world model or, as said behind it, by the oracle.
    """
    policy, i = row["policy"], row["iteration"]
    if row["ranked_by"] is None:
        return str(policy)
    judge = f"log pi_{i}/pi_{i - 1}" if row["ranked_by"] == "log_ratio" else f"{row['ranked_by']}[{max(i, 1)}]"
    if row["imagined"] is None:
        return f"Bo{row['best_of']}({policy}, {judge})"
    oracle = ", oracle" if row["imagined"] == "oracle" else ""
    return f"MPR{row['best_of']}({policy}, {judge}, h={row['imagined_turns']}{oracle})"


def cells(row: Row) -> tuple[str, ...]:
    """One evaluation as a line of the table, in the order of COLUMNS."""
    kinds = row["by_task_type"]
    return (
        row["split"],
        policy_name(row),
        str(row["n"]),
        f"{row['success_rate']:.1%}",
        f"{row['ci_low']:.1%} to {row['ci_high']:.1%}",
        f"{row['mean_actions']:.1f}",
        *(f"{kinds[kind]['success_rate']:.0%}" if kind in kinds else "" for kind in TASK_TYPES),
    )


def results_report(rows: Sequence[Row], pictures: Mapping[str, str], seeds: str = "") -> StageReport:
    """Success of every evaluation, our table, what other seeds gave (`reports.seeds`), pictures (file names by what
    they show), the paper's table.
    """
    ours = in_markdown(COLUMNS, (cells(row) for row in in_order(rows)))
    paper = in_markdown(
        ("the paper's", "success", "actions", *(SHORT_NAMES[kind] for kind in TASK_TYPES)),
        (
            (row.policy, f"{row.success}%", str(row.actions), *(f"{rate:.0f}%" for rate in row.by_task_type))
            for row in PAPER
        ),
    )
    shown = "".join(f"![{what}]({name})\n\n" for what, name in pictures.items())
    theirs = f"Table 1 of the paper (pi: Llama-3.2-3B, valid_unseen, 134 games, N = 16):\n\n{paper}\n"
    page = f"{ours}\n\n{seeds}\n\n{shown}{theirs}"
    return StageReport({evaluation_name(row): row["success_rate"] for row in in_order(rows)}, (), page)


def in_markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; every line has as many cells as `head`."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))
