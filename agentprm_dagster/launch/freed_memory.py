"""What is freed goes back to the system at once, and not into the C library's heaps.

glibc raises the size from which it does so by itself, up to 32 MB, and keeps what is smaller. The activations of a step
are of many sizes: its heaps are torn into ever more pieces, and training a model of 135 million weights grew to several
times what was in use.
"""

import sys
from ctypes import CDLL

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_BYTES = 2**20
"""From this size on memory is the system's own; what is smaller adds up to little."""


def return_freed_memory() -> None:
    """From now on, in this process; nothing where the C library is another."""
    if sys.platform == "linux" and (mallopt := getattr(CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, _BYTES)
        mallopt(_M_TRIM_THRESHOLD, _BYTES)
