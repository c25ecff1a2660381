"""`make memory`: the arithmetic beside fake tensors for Llama-3.2-3B's sizes, the table of docs/large_models.md; some
minutes. Exit code 1 where they differ by more than 15%.
"""

import sys

from agentprm_dagster.planning.memory import peak
from planning import fake_steps
from planning.asked import Asked

ASKED = {
    "SFT, 12 rows of 1,260 tokens at once": Asked(kind="sft", rows=12, tokens=1260, checkpointing=True),
    "SFT, in pieces of 16,384 tokens": Asked(
        kind="sft", rows=26, tokens=1260, checkpointing=True, micro_batch_tokens=16_384
    ),
    "SFT, 2 rows, activations kept": Asked(kind="sft", rows=2, tokens=1260),
    "PRM, in pieces of 16,384 tokens": Asked(
        kind="prm", rows=24, tokens=1360, checkpointing=True, micro_batch_tokens=16_384
    ),
    "Online DPO, in pieces of 16,384 tokens": Asked(
        kind="dpo", rows=22, tokens=1300, checkpointing=True, micro_batch_tokens=16_384
    ),
    "SFT with LoRA (rank 16), in pieces of 16,384 tokens": Asked(
        kind="sft", rows=26, tokens=1260, checkpointing=True, micro_batch_tokens=16_384, rank=16
    ),
    "Online DPO with LoRA, in pieces of 16,384 tokens": Asked(
        kind="dpo", rows=22, tokens=1300, checkpointing=True, micro_batch_tokens=16_384, rank=16
    ),
}


def main() -> bool:
    """Prints the table; whether all are within 15%."""
    print("| step | fake tensors, GB | arithmetic, GB | difference |\n|---|---|---|---|")
    within = True
    for name, asked in ASKED.items():
        measured, said = fake_steps.peak(asked) / 1e9, peak(asked.step()).total / 1e9
        off = said / measured - 1
        within &= abs(off) <= 0.15
        print(f"| {name} | {measured:.1f} | {said:.1f} | {off:+.1%} |", flush=True)
    return within


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
