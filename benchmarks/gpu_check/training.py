"""Part F: steps of our trainings: tokens a second, share of the card's peak (`operations`), memory."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter

import torch

from agentprm_dagster.launch.job import Job
from agentprm_dagster.training.loop import Plan, Training
from benchmarks.gpu_check.card import Card
from benchmarks.gpu_check.check import Measurement, Numbers
from benchmarks.gpu_check.shapes import Size
from benchmarks.gpu_check.trainings import Build, How, dpo, prm, sft

GOAL = 0.4
"""Share of the peak that a training of at least 100 million parameters should reach."""


@contextmanager
def products(how: How) -> Iterator[None]:
    """Within it float32 is computed by TF32 where that is asked for."""
    torch.set_float32_matmul_precision("high" if how.tf32 else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


def measure(build: Build, size: Size, card: Card, how: How) -> Numbers:
    """Steps of the loop of every training, the first of which is not timed."""
    work = build(size, card, how)
    training = Training(work.model, Plan(1 + size.steps, "adamw", 1e-5), Job(seed=0))
    seconds, losses, counts = [], [], []
    with work.shards as shards, products(how):
        start = perf_counter()
        for step in training.steps(shards, lambda _: [work.part], "steps"):
            card.settle()
            seconds.append(perf_counter() - start)
            losses.append(step.loss)
            counts.append(work.counted())
            start = perf_counter()
    took = sum(seconds[1:])
    tokens, operations = (sum(each) for each in zip(*counts[1:], strict=True))
    rate = operations / took / 1e12
    return {
        "ok": all(loss is not None and math.isfinite(loss) for loss in losses),
        "tokens_per_s": tokens / took,
        "tflops": rate,
        **({"share_of_peak": rate / card.peak} if card.peak else {}),
        "s_a_step": took / size.steps,
        "parameters": sum(parameter.numel() for parameter in work.model.parameters()),
    }


def measurements(sizes: list[Size], card: Card) -> Iterator[Measurement]:
    """Every training at every size of pieces, with and without recomputing, and what else is to be known of SFT."""

    def line(name: str, size: Size, build: Build, how: How) -> Measurement:
        def measured(tokens: int) -> Numbers:
            return measure(build, size, card, replace(how, micro_batch_tokens=tokens))

        kept = "recomputed" if how.recompute else "kept"
        dtype = "TF32" if how.tf32 else str(how.dtype).removeprefix("torch.")
        what = f"{name}, {size.what}, {dtype}, activations {kept}, {{size}} tokens a piece"
        return Measurement("F", what, measured, how.micro_batch_tokens, size.length)

    for size in sizes:
        kept, recomputed = [How(n) for n in size.kept], [How(n, recompute=True) for n in size.recomputed]
        yield from (line("SFT", size, sft, how) for how in (*kept, *recomputed))
        yield from (line("PRM", size, prm, how) for how in (kept[-1], recomputed[-1]))
        yield line("PRM of trees", size, lambda *given: prm(*given, branches=4), recomputed[0])
        yield line("Online DPO", size, dpo, recomputed[0])
        yield line("SFT, fused norms", size, lambda *given: sft(*given, fused_norms=True), kept[-1])
    small = sizes[0]
    how = How(small.kept[0] // 4, dtype=torch.float32)  # flash attention knows no float32: all scores are kept
    yield from (line("SFT", small, sft, each) for each in (how, replace(how, tf32=True)))


def goal(rows: list[Numbers]) -> str:
    """Whether it is reached."""
    large = [row for row in rows if row.get("parameters", 0) >= 1e8 and "share_of_peak" in row]
    if not large:
        return f"Goal, {GOAL:.0%} of the peak in training at 100 million parameters or more: not measured here."
    best = max(large, key=lambda row: row["share_of_peak"])
    reached = "reached" if best["share_of_peak"] >= GOAL else "not reached"
    return f"Goal, {GOAL:.0%} of the peak in training: {reached}, {best['share_of_peak']:.1%} ({best['name']})."
