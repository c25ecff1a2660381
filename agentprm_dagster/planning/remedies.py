"""What to change where a training does not fit into a GPU's memory."""

from collections.abc import Callable
from dataclasses import replace

from agentprm_dagster.engine.settings import Lora, Model
from agentprm_dagster.planning.setup import Setup
from agentprm_dagster.planning.stages import stages

_PIECES = (65_536, 32_768, 16_384, 8192, 4096, 2048, 1024)
"""Values of `micro_batch_tokens` that are tried, largest first."""
_GPUS = (2, 4, 8, 16, 32, 64)

Change = tuple[str, Setup]
"""What is changed, in words, and what comes of it."""


def remedy(setup: Setup, stage: str, memory: float) -> str:
    """The settings with which a stage fits into so many bytes, the cheapest ways first; "" where none is known."""

    def fits(changed: Setup) -> bool:
        (found,) = [each for each in stages(changed) if each.name == stage]
        return found.memory is None or found.memory.total <= memory

    for change in (_pieces, _checkpointed, _lower, _low_rank, _sharded):
        tried = change(setup)
        for words, changed in tried:
            if fits(changed):
                return words
    return ""


def _pieces(setup: Setup) -> list[Change]:
    most = setup.training.micro_batch_tokens
    return [
        (f"training.micro_batch_tokens: {tokens}", _trained(setup, micro_batch_tokens=tokens))
        for tokens in _PIECES
        if most is None or tokens < most
    ]


def _checkpointed(setup: Setup) -> list[Change]:
    if setup.training.activation_checkpointing:
        return []
    changed = _trained(setup, activation_checkpointing=True)
    words = "training.activation_checkpointing: true"
    return [(words, changed), *((f"{words}, {more}", each) for more, each in _pieces(changed))]


def _lower(setup: Setup) -> list[Change]:
    if setup.dtype == "bfloat16":
        return []
    changed = _of_model(setup, dtype="bfloat16")
    return [(f"model.dtype: bfloat16{words}", each) for words, each in _with_all(changed)]


def _low_rank(setup: Setup) -> list[Change]:
    if setup.lora_rank is not None or setup.model.name == "embedded":
        return []
    changed = _of_model(setup, lora=Lora(), dtype="bfloat16")
    words = "model.lora: {rank: 16}" + ("" if setup.dtype == "bfloat16" else ", model.dtype: bfloat16")
    return [(f"{words}{more}", each) for more, each in _with_all(changed)]


def _sharded(setup: Setup) -> list[Change]:
    return [
        (f"training.strategy: fsdp2 on {gpus} GPUs{words}", each)
        for gpus in _GPUS
        if gpus > setup.gpus and setup.lora_rank is None
        for words, each in _with_all(_trained(replace(setup, gpus=gpus), strategy="fsdp2"))
    ]


def _with_all(setup: Setup) -> list[Change]:
    """As it is, and with what costs no more than time."""
    return [("", setup), *((f", {words}", each) for change in _CHEAP for words, each in change(setup))]


_CHEAP: tuple[Callable[[Setup], list[Change]], ...] = (_pieces, _checkpointed)


def _trained(setup: Setup, **changes: object) -> Setup:
    return replace(setup, training=setup.training.model_copy(update=changes))


def _of_model(setup: Setup, **changes: object) -> Setup:
    model: Model = setup.model.model_copy(update=changes)
    return replace(setup, experiment=setup.experiment.model_copy(update={"model": model}))
