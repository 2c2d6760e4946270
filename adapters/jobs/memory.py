"""Freed memory goes back to the system during long runs.

The C library and Arrow keep freed memory for later use, in pieces for each thread. In a run of a million pictures this
grew to 0.4 GB (benchmarks/results.md, "Evidence by simulation").
"""

import ctypes
import sys

import pyarrow as pa


def give_back_memory() -> None:
    """Return memory that is not in use. It takes some milliseconds."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        # glibc only; other C libraries have no such function.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
