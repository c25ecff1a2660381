"""All evaluations of an experiment in one table. A row is what `reports.evaluation.evaluation_row` makes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.reports.evaluation import evaluation_name, in_words

Row = Mapping[str, Any]
"""One evaluation, with the keys of `reports.evaluation.evaluation_row`."""

COLUMNS = ("split", "policy", "n", "success", "95% interval", "reward", "actions")
"""What is told of every evaluation; its kinds of task follow."""


def in_order(rows: Iterable[Row]) -> list[Row]:
    """By split, then iteration, what no iteration made first; greedy before Best-of-N, then by who chose, then by what
    was predicted.
    """

    def place(row: Row) -> tuple[object, ...]:
        iteration = -1 if row["iteration"] is None else row["iteration"]
        chosen = (row["ranked_by"] or "", row["world"] or "", row["horizon"], row["best_of"])
        return row["split"], iteration, *chosen

    return sorted(rows, key=place)


def policy_name(row: Row) -> str:
    """`pi_2`, or `Bo4(pi_2, prm[2])` where a reward model chose among 4 answers; pi_0 is judged by that of iteration 1.

    `Bo4(pi_2, log pi_2/pi_1)` where what the improvement made likelier was taken; `MPR4(pi_2, prm[2], h=1)` where one
    turn was predicted first, by a world model or, as said behind it, by the oracle.
    """
    policy, i = row["policy"], row["iteration"]
    if row["ranked_by"] is None:
        return str(policy)
    judge = f"log pi_{i}/pi_{i - 1}" if row["ranked_by"] == "log_ratio" else f"{row['ranked_by']}[{max(i, 1)}]"
    if row["world"] is None:
        return f"Bo{row['best_of']}({policy}, {judge})"
    oracle = ", oracle" if row["world"] == "oracle" else ""
    return f"MPR{row['best_of']}({policy}, {judge}, h={row['horizon']}{oracle})"


def columns(kinds: Mapping[str, str]) -> tuple[str, ...]:
    """The heads of the table; `kinds` are those of its tasks, each with the head of its column."""
    return (*COLUMNS, *kinds.values())


def cells(row: Row, kinds: Mapping[str, str]) -> tuple[str, ...]:
    """One evaluation as a line of the table, in the order of `columns`."""
    played = row["by_task_type"]
    return (
        row["split"],
        policy_name(row),
        str(row["n"]),
        f"{row['success_rate']:.1%}",
        f"{row['ci_low']:.1%} to {row['ci_high']:.1%}",
        f"{row['mean_reward']:.3f}",
        f"{row['mean_actions']:.1f}",
        *(f"{played[kind]['success_rate']:.0%}" if kind in played else "" for kind in kinds),
    )


def results_report(
    rows: Sequence[Row], kinds: Mapping[str, str], pictures: Mapping[str, str], seeds: str = "", published: str = ""
) -> StageReport:
    """Success of every evaluation: our table, what other seeds gave (`reports.seeds`), pictures (file names by what
    they show), what others have `published`.
    """
    ours = in_markdown(columns(kinds), (cells(row, kinds) for row in in_order(rows)))
    figures = "".join(f"![{what}]({name})\n\n" for what, name in pictures.items())
    page = f"{in_words(in_order(rows))}\n\n{ours}\n\n{seeds}\n\n{figures}{published}"
    return StageReport({evaluation_name(row): row["success_rate"] for row in in_order(rows)}, (), page)


def in_markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; every line has as many cells as `head`."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))
