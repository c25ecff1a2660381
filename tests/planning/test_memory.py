"""The arithmetic of memory beside what lies on a fake GPU while our trainings run; 3 billion weights: `make memory`."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentprm_dagster.planning.memory import peak
from planning.asked import Asked, config

TESTS = Path(__file__).parents[1]
SMALL = config(num_hidden_layers=3, hidden_size=1024, intermediate_size=3072, num_attention_heads=8, vocab_size=32_000)
ASKED = (
    Asked(kind="sft", rows=8, tokens=500, config=SMALL),
    Asked(kind="sft", rows=32, tokens=500, config=SMALL, checkpointing=True, micro_batch_tokens=8192),
    Asked(kind="sft", rows=4, tokens=500, config=SMALL, dtype="float32"),
    Asked(kind="sft", rows=32, tokens=500, config=SMALL, checkpointing=True, rank=16),
    Asked(kind="prm", rows=8, tokens=500, config=SMALL),
    Asked(kind="prm", rows=32, tokens=500, config=SMALL, checkpointing=True, micro_batch_tokens=8192),
    Asked(kind="dpo", rows=6, tokens=500, config=SMALL),
    Asked(kind="dpo", rows=32, tokens=500, config=SMALL, checkpointing=True, micro_batch_tokens=8192),
)


def test_the_arithmetic_is_within_15_percent_of_what_is_allocated() -> None:
    command = [sys.executable, "-m", "planning.fake_steps", *(json.dumps(asdict(asked)) for asked in ASKED)]
    ran = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    measured = [int(line) for line in ran.stdout.splitlines()]
    assert [peak(asked.step()).total for asked in ASKED] == [pytest.approx(each, rel=0.15) for each in measured]


@given(
    st.builds(
        Asked,
        kind=st.sampled_from(["sft", "prm", "dpo"]),
        rows=st.integers(1, 64),
        tokens=st.integers(100, 4000),
        dtype=st.sampled_from(["float32", "bfloat16"]),
        checkpointing=st.booleans(),
        rank=st.sampled_from([None, 8]),
    )
)
def test_what_is_said_to_save_memory_does(asked: Asked) -> None:
    step = asked.step()
    all_of_it = peak(step).total
    assert peak(replace(step, rows=step.rows + 1)).total >= all_of_it
    assert peak(replace(step, lora_rank=8)).total <= all_of_it
    assert peak(replace(step, checkpointing=True)).total <= all_of_it * 1.02, "of one row it saves next to nothing"
    if asked.rank is None:
        shards = [peak(replace(step, sharded=gpus)).total for gpus in (2, 4, 8)]
        assert shards == sorted(shards, reverse=True)
        activations = step.rows * step.width * 4 * step.shape.hidden
        assert peak(replace(step, sharded=10_000)).total > activations + 2 * step.frozen, "they are each GPU's own"


def test_full_fine_tuning_takes_16_bytes_a_weight() -> None:
    step = Asked(kind="sft", rows=1, tokens=100).step()
    held = peak(step)
    assert held.weights + held.gradients + held.optimizer >= 12 * step.weights
    assert step.weights == pytest.approx(3.213e9, rel=1e-3)
