"""Which processor this machine has, and the type in which it multiplies a small model's matrices fastest.

A CPU with instructions for bfloat16 (AMX, AVX512-BF16) multiplies it several times faster than float32; one without
emulates it, 5 to 20 times slower. Which is faster is measured once for a processor and a version of torch, and kept in
the user's cache, so that all runs on a machine compute alike. AGENTPRM_PRODUCTS (`float32` or `bfloat16`) chooses
instead.
"""

import json
import platform
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from os import environ, getpid
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Literal, get_args

VARIABLE = "AGENTPRM_PRODUCTS"

ProductType = Literal["float32", "bfloat16"]

_INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
"""Linux's flags of instructions for bfloat16, the fastest first, and what they are called."""
_ROUNDS = 9
_WORTH_LESS_PRECISION = 1.25
"""How many times faster bfloat16 has to be: less would be paid for with precision."""


class ProcessorError(ValueError):
    """AGENTPRM_PRODUCTS names no type."""


def processor() -> str:
    """The processor's name as the system has it, and what it multiplies bfloat16 with."""
    name = _described().get("model name") or platform.processor() or platform.machine()
    flags = _described().get("flags", "").split()
    return next((f"{name} with {words}" for flag, words in _INSTRUCTIONS.items() if flag in flags), name)


@cache
def _described() -> dict[str, str]:
    """What Linux says of the first core; nothing on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


@cache
def product_type() -> ProductType:
    """The type that products of small models are computed in; their operands and sums are kept in float32.

    Raises:
        ProcessorError: AGENTPRM_PRODUCTS is set to something else.
    """
    return chosen_type() or _kept() or _keep(_faster())


def chosen_type() -> ProductType | None:
    """What AGENTPRM_PRODUCTS says; None where it says nothing.

    Raises:
        ProcessorError: it names no type.
    """
    if not (chosen := environ.get(VARIABLE, "")):
        return None
    if (known := _known(chosen)) is None:
        raise ProcessorError(f"{VARIABLE}: expected {' or '.join(get_args(ProductType))}, got {chosen!r}")
    return known


def _known(value: object) -> ProductType | None:
    return next((known for known in get_args(ProductType) if value == known), None)


def _kept() -> ProductType | None:
    try:
        value = json.loads(_file().read_text(encoding="utf-8"))[_machine()]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _known(value)


def _keep(found: ProductType) -> ProductType:
    """Remembers it for later processes; those that this one starts are told even where nothing can be written."""
    environ[VARIABLE] = found
    new = _file().with_name(f"{_file().name}.{getpid()}")
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps({_machine(): found}), encoding="utf-8")
        new.replace(_file())
    except OSError:
        with suppress(OSError):
            new.unlink()
    return found


def _file() -> Path:
    cache_folder = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache_folder / "agentprm_dagster" / "products.json"


def _machine() -> str:
    return f"{processor()}, torch {version('torch')}"


def _faster() -> ProductType:
    """Measures both types in turns, on one thread, with the shapes of the embedded model's layers."""
    import torch

    def timed(dtype: torch.dtype) -> Callable[[], float]:
        x, weight = torch.ones(1024, 128, dtype=dtype), torch.ones(640, 128, dtype=dtype)

        def once() -> float:
            start = perf_counter()
            x @ weight.T
            return perf_counter() - start

        once()  # the first product of a shape takes longer
        return once

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    wide, narrow = timed(torch.float32), timed(torch.bfloat16)
    gains = [wide() / narrow() for _ in range(_ROUNDS)]
    torch.set_num_threads(threads)
    return "bfloat16" if median(gains) > _WORTH_LESS_PRECISION else "float32"
