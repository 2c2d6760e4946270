"""From one picture to millions: the only module that knows about batches.

Engine functions take one sample. Here they are vmapped and compiled for ONE tile size, and every batch, of one picture
or of millions, is cut into tiles of that size, the last one padded with zeros. The same machine code thus runs for
every picture, and no result depends on what else is in the batch, on the order or on the chunk size, bit for bit.

Tiles run on a few Python threads: XLA releases the interpreter lock while it computes, and copying one tile in and out
overlaps with computing another.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import jax
import numpy as np

Context = TypeVar("Context")
Result = TypeVar("Result")


def worker_count() -> int:
    """How many tiles run at once: one per core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(jax.vmap(function, in_axes=(None, 0)))


def map_samples(
    function: Callable[[Context, Any], Result],
    context: Context,
    samples: Any,
    tile_size: int,
    concurrent: bool = True,
) -> Result:
    """``function(context, sample)`` for every sample; results as NumPy arrays with the same leading axis.

    Args:
        function: defined at module level (it is compiled once); takes one sample without the leading axis.
        context: arrays and settings shared by all samples: body, betas, noise.
        samples: pytree of arrays with equal leading axes.
        concurrent: several tiles at once. Must be False for functions with batched LAPACK calls (Cholesky, triangular
            solves): jaxlib 0.10 lets two of those wait for each other for ever.

    Raises:
        ValueError: leading axes differ.
    """
    run = _compiled(function)
    return map_tiles(lambda tile: run(context, tile), samples, tile_size, concurrent)


def map_tiles(function: Callable[[Any], Result], samples: Any, tile_size: int, concurrent: bool = True) -> Result:
    """Like ``map_samples``, for a function that takes a whole tile of exactly ``tile_size`` samples."""
    leaves, structure = jax.tree.flatten(samples)
    arrays = [np.asarray(leaf) for leaf in leaves]
    counts = {len(array) for array in arrays}
    if len(counts) != 1:
        raise ValueError(f"samples have different counts: {sorted(counts)}")
    (count,) = counts

    def run(start: int) -> tuple[list[Any], Any]:
        tile = [pad_rows(array[start : start + tile_size], tile_size) for array in arrays]
        return jax.tree.flatten(function(jax.tree.unflatten(structure, tile)))

    # The first tile shows what the results look like; an empty batch runs one tile of padding for that.
    first, result_structure = run(0)
    results = [np.empty((count, *output.shape[1:]), output.dtype) for output in first]

    def store(start: int, outputs: list[Any]) -> None:
        stop = min(start + tile_size, count)
        for result, output in zip(results, outputs, strict=True):
            result[start:stop] = np.asarray(output)[: stop - start]

    store(0, first)
    starts = range(tile_size, count, tile_size)
    if starts:
        with ThreadPoolExecutor(worker_count() if concurrent else 1) as pool:
            for _ in pool.map(lambda start: store(start, run(start)[0]), starts):
                pass
    return jax.tree.unflatten(result_structure, results)


def pad_rows(array: np.ndarray, length: int) -> np.ndarray:
    """The array with rows of zeros appended up to a length."""
    if len(array) == length:
        return array
    return np.concatenate([array, np.zeros((length - len(array), *array.shape[1:]), array.dtype)])
