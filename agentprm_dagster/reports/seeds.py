"""The same experiment with several seeds: how far what comes out depends on the seed.

The interval of a success rate says how well the games tell what one policy wins. Another seed, or another processor,
trains another policy; how much these differ, only several of them tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentprm_dagster.algorithm.statistics import Spread, spread
from agentprm_dagster.reports.evaluation import GAMES_ALONE
from agentprm_dagster.reports.results import Row, in_markdown, in_order, policy_name

SEED_COLUMNS = ("split", "policy", "seeds", "success", "95% over seeds", "lowest to highest", "more than pi_0", "95%")


@dataclass(frozen=True, slots=True)
class SeedRow:
    """What one policy won with every seed, alone and beside pi_0 of the same seed."""

    split: str
    policy: str
    seeds: tuple[int, ...]
    success: Spread
    gain: Spread | None
    """None for pi_0 itself, and where it was not played."""


def over_seeds(rows: Mapping[int, Sequence[Row]]) -> list[SeedRow]:
    """One line for every policy that at least two seeds have, in the order of the results' table.

    `rows` are the evaluations by seed.
    """
    rates = {
        seed: {(row["split"], policy_name(row)): row["success_rate"] for row in each} for seed, each in rows.items()
    }
    every = [(row["split"], policy_name(row)) for row in in_order(row for each in rows.values() for row in each)]
    lines = []
    for split, policy in dict.fromkeys(every):
        won = {seed: found[split, policy] for seed, found in sorted(rates.items()) if (split, policy) in found}
        if len(won) < 2:
            continue
        gains = [rate - rates[seed][split, "pi_0"] for seed, rate in won.items() if (split, "pi_0") in rates[seed]]
        beside = policy != "pi_0" and len(gains) == len(won)
        success = spread(list(won.values()))
        lines.append(SeedRow(split, policy, tuple(won), success, spread(gains) if beside else None))
    return lines


def seed_cells(line: SeedRow) -> tuple[str, ...]:
    """One policy as a line of the table, in the order of SEED_COLUMNS."""
    success, gain = line.success, line.gain
    low, high = max(success.low, 0.0), min(success.high, 1.0)
    return (
        line.split,
        line.policy,
        ", ".join(map(str, line.seeds)),
        f"{success.mean:.1%}",
        f"{low:.1%} to {high:.1%}",
        f"{success.least:.1%} to {success.most:.1%}",
        f"{100 * gain.mean:+.1f}" if gain else "",
        f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}" if gain else "",
    )


def seeds_in_words(lines: Sequence[SeedRow], seed: int, processors: Sequence[str]) -> str:
    """What the intervals of a table are of, and what stands in the table over seeds, if anything does.

    `seed` is that of the experiment, `processors` are those that its models were trained on.
    """
    limits = f"Trained on {' and '.join(processors)}. {GAMES_ALONE}"
    if lines:
        return f"{limits} The same settings and code with several seeds, each in the games that it draws:"
    return (
        f"Seed {seed} alone: a hint. {limits} Other seeds (`agentprm run EXPERIMENT --seeds 0,1,2`) stand here beside "
        "it once they have run."
    )


def seeds_page(lines: Sequence[SeedRow], seed: int, processors: Sequence[str]) -> str:
    """The table over seeds with its words, in Markdown."""
    table = f"\n\n{in_markdown(SEED_COLUMNS, map(seed_cells, lines))}" if lines else ""
    return f"{seeds_in_words(lines, seed, processors)}{table}"
