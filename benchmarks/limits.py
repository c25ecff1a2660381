"""What this machine does at best, measured: the share of it says how much there is still to gain."""

from functools import cache

import numpy as np
import torch

from benchmarks.measure import rate

SIZE = 1024


@cache
def matmul_flops(dtype: torch.dtype, threads: int) -> float:
    """Floating-point operations a second of a large product."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    a, b = torch.rand(SIZE, SIZE).to(dtype), torch.rand(SIZE, SIZE).to(dtype)

    def products() -> float:
        for _ in range(20):
            a @ b
        return 20 * 2 * SIZE**3

    try:
        return max(rate(products) for _ in range(5))
    finally:
        torch.set_num_threads(before)


@cache
def copy_bytes() -> float:
    """Bytes a second that are read and written again, out of any cache."""
    source = np.ones(64 << 20, dtype=np.uint8)
    target = np.empty_like(source)

    def copy() -> float:
        np.copyto(target, source)
        return 2 * source.nbytes

    return max(rate(copy) for _ in range(5))


def token_flops(model: torch.nn.Module) -> float:
    """Floating-point operations to read a token: two a parameter of the products, attention left out."""
    return 2.0 * sum(
        p.numel()
        for name, p in model.named_parameters()
        if p.ndim == 2 and not name.endswith(("embed_tokens.weight", "lm_head.weight"))
    )
