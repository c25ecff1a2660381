"""Part G: whether attention and the optimizer take the card's fused kernels, and where a step waits for the card."""

from collections.abc import Callable, Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from agentprm_dagster.training.optimizers import build_optimizer
from benchmarks.gpu_check import decoding, shapes
from benchmarks.gpu_check.card import Card, counted_waits
from benchmarks.gpu_check.check import Measurement, Numbers
from benchmarks.gpu_check.shapes import Size
from benchmarks.gpu_check.trainings import Build, How, dpo, prm, sft

FLASH = [SDPBackend.FLASH_ATTENTION]
FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]
"""All that never hold the scores of every pair of tokens."""

_LAYERS = 2


def measurements(size: Size, card: Card) -> Iterator[Measurement]:
    """Each with the shape's heads, and two layers."""
    rows: dict[str, Build] = {
        "SFT": lambda *given: sft(*given, layers=_LAYERS),
        "PRM": lambda *given: prm(*given, layers=_LAYERS),
    }
    masked: dict[str, Build] = {
        "PRM of trees": lambda *given: prm(*given, branches=4, layers=_LAYERS),
        "Online DPO": lambda *given: dpo(*given, layers=_LAYERS),
    }

    def attends(build: Build, kernels: list[SDPBackend]) -> Callable[[int], Numbers]:
        return lambda _: attention(build, size, card, kernels)

    def waits(build: Build) -> Callable[[int], Numbers]:
        return lambda _: waiting(build, size, card)

    for name, build in rows.items():
        yield Measurement("G", f"{name} attends by flash attention alone", attends(build, FLASH))
    for name, build in masked.items():
        yield Measurement("G", f"{name} attends by fused kernels alone", attends(build, FUSED))
    yield Measurement("G", "slots attend by fused kernels alone", lambda _: slots(size, card))
    yield Measurement("G", "AdamW is one kernel", lambda _: fused_adamw(size, card))
    for name, build in (rows | masked).items():
        yield Measurement("G", f"where a step of {name} waits", waits(build))


def _how(size: Size) -> How:
    """Two pieces a step."""
    return How(-(-size.episodes // 2) * size.length)


def attention(build: Build, size: Size, card: Card, kernels: list[SDPBackend]) -> Numbers:
    """A step's gradients by these kernels; torch refuses where none of them can."""
    work = build(size, card, _how(size))
    with work.shards as shards, sdpa_kernel(kernels):
        return {"ok": shards.backward([work.part]).loss is not None}


def slots(size: Size, card: Card) -> Numbers:
    """Turns of a few conversations."""
    model = shapes.policy(shapes.config_of(size, _LAYERS), card.device, torch.bfloat16)
    with sdpa_kernel(FUSED):
        decoding.play(decoding.ENGINES["embedded"](model, 4), 4, 2, size)
    return {}


def fused_adamw(size: Size, card: Card) -> Numbers:
    """As it is built for a model on the card."""
    model = shapes.policy(shapes.config_of(size, 1), card.device)
    (group,) = build_optimizer(model, "adamw", learning_rate=1e-5).param_groups
    return {"ok": bool(group["fused"]) == card.is_gpu}


def waiting(build: Build, size: Size, card: Card) -> Numbers:
    """How often in a step of two pieces, by line."""
    work = build(size, card, _how(size))
    with work.shards as shards:
        shards.backward([work.part])
        with counted_waits(card) as found:
            shards.backward([work.part])
    return {"times": sum(found.values()), "lines": " ".join(f"{line} x{n}" for line, n in found.most_common())}
