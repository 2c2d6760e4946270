"""Batches of pictures: the only module that knows about batches.

Engine functions take one sample. Here they are vmapped and compiled for ONE tile size, and every batch, of one picture
or of millions, is cut into tiles of that size, the last one padded with zeros. The same machine code thus runs for
every picture, and no result depends on what else is in the batch, on the order or on the chunk size, bit for bit.

Tiles run on a few Python threads: XLA releases the interpreter lock while it computes, and copying one tile in and out
overlaps with computing another.

Several devices take one tile each, side by side: the program of one tile is compiled once and sharded over them without
exchange, so a picture's result does not depend on the number of devices. On a CPU the tile has the size that was
measured there. Accelerators need more work at once: their tile is up to 64 times as large, as their memory allows.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AnyArray = jax.Array | np.ndarray
"""A JAX array inside a compiled function, a NumPy array outside."""

_TILES = "tiles"
_TILES_IN_FLIGHT = 2
"""Tiles in flight on an accelerator: one is computed while another is copied."""
_LARGEST_MULTIPLE = 64
_WORK_BYTES_PER_BYTE = 64
"""Working memory per byte of a sample, with room to spare: a posed fit uses 28 kB for a picture of 0.7 kB. Not measured
on accelerators."""
_MEMORY_OF_A_SMALL_ACCELERATOR = 4 << 30

Context = TypeVar("Context")
Result = TypeVar("Result")


def worker_count() -> int:
    """Number of tiles that run at once: one per core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def tile_rows(tile_size: int, row_bytes: int, accelerator_bytes: int | None) -> int:
    """Samples in one tile on a device: ``tile_size`` on a CPU, a multiple of it on an accelerator.

    The multiple is chosen so that a tile with its intermediate results fits into an eighth of the memory.

    Args:
        row_bytes: size of one sample.
        accelerator_bytes: memory of the accelerator; None for a CPU.
    """
    if accelerator_bytes is None:
        return tile_size
    fitting = accelerator_bytes // 8 // (_WORK_BYTES_PER_BYTE * row_bytes * tile_size)
    return tile_size * max(1, min(_LARGEST_MULTIPLE, fitting))


def accelerator_bytes(device: Any) -> int | None:
    """The memory of a ``jax.Device``; None for a CPU."""
    if device.platform == "cpu":
        return None
    return (device.memory_stats() or {}).get("bytes_limit", _MEMORY_OF_A_SMALL_ACCELERATOR)


def used_devices(concurrent: bool = True) -> tuple[Any, ...]:
    """The ``jax.Device``s that tiles run on: all local ones, or a single one if tiles must not run side by side."""
    devices = jax.local_devices()
    # The reason for ``concurrent`` being False holds for the CPU's LAPACK only.
    return tuple(devices if concurrent or devices[0].platform != "cpu" else devices[:1])


@cache
def _sharding(devices: tuple[Any, ...]) -> NamedSharding:
    return NamedSharding(Mesh(np.array(devices), (_TILES,)), PartitionSpec(_TILES))


_QUICK_COMPILATION = {"xla_backend_optimization_level": 1}
"""LLVM's first level: two thirds of the time to compile, at the same speed and with the same bits for programs that
consist of matrix products (benchmarks/results.md, "Evidence by simulation"). Posed fits would be a third slower."""


@cache
def _compiled(function: Callable[..., Any], devices: tuple[Any, ...], quick: bool) -> Callable[..., Any]:
    mapped = jax.vmap(function, in_axes=(None, 0))
    if len(devices) > 1:
        sharding = _sharding(devices)
        mapped = jax.shard_map(
            mapped,
            mesh=sharding.mesh,
            in_specs=(PartitionSpec(), sharding.spec),
            out_specs=sharding.spec,
            check_vma=False,  # tiles are independent, so the check of values that vary over the mesh is not needed
        )
    on_cpu = all(device.platform == "cpu" for device in devices)
    return jax.jit(mapped, compiler_options=_QUICK_COMPILATION if quick and on_cpu else None)


def map_samples(
    function: Callable[[Context, Any], Result],
    context: Context,
    samples: Any,
    tile_size: int,
    concurrent: bool = True,
    quick: bool = False,
) -> Result:
    """``function(context, sample)`` for every sample; results as NumPy arrays with the same leading axis.

    Args:
        function: defined at module level (it is compiled once); takes one sample without the leading axis.
        context: arrays and settings shared by all samples: body, betas, noise.
        samples: pytree of arrays with equal leading axes.
        concurrent: several tiles at once. Must be False for functions with batched LAPACK calls (Cholesky, triangular
            solves): jaxlib 0.10 lets two of those wait for each other for ever.
        quick: compile faster, for functions that consist of matrix products.

    Raises:
        ValueError: leading axes differ.
    """
    run = _compiled(function, used_devices(concurrent), quick)
    return map_tiles(lambda tile: run(context, tile), samples, tile_size, concurrent)


def map_samples_in_double(
    function: Callable[[Context, Any], Result], context: Context, samples: Any, tile_size: int, quick: bool = False
) -> Result:
    """``map_samples`` in double precision, for results that single precision would round away."""
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), samples)
        return map_samples(function, context, double, tile_size, quick=quick)


def map_tiles(function: Callable[[Any], Result], samples: Any, tile_size: int, concurrent: bool = True) -> Result:
    """Like ``map_samples``, for a function that takes a whole tile.

    The tile has exactly ``tile_size`` samples on one CPU, and a multiple of that on other devices.
    """
    leaves, structure = jax.tree.flatten(samples)
    arrays = [np.asarray(leaf) for leaf in leaves]
    counts = {len(array) for array in arrays}
    if len(counts) != 1:
        raise ValueError(f"samples have different counts: {sorted(counts)}")
    (count,) = counts
    devices = used_devices(concurrent)
    row_bytes = max(1, sum(array.dtype.itemsize * int(np.prod(array.shape[1:])) for array in arrays))
    tile_size = len(devices) * tile_rows(tile_size, row_bytes, accelerator_bytes(devices[0]))
    workers = worker_count() if devices[0].platform == "cpu" and len(devices) == 1 else _TILES_IN_FLIGHT

    def run(start: int) -> tuple[list[Any], Any]:
        tile: list[Any] = [pad_rows(array[start : start + tile_size], tile_size) for array in arrays]
        if len(devices) > 1:
            tile = jax.device_put(tile, _sharding(devices))
        return jax.tree.flatten(function(jax.tree.unflatten(structure, tile)))

    # The first tile gives shapes and types of the results; an empty batch runs one tile of padding for that.
    first, result_structure = run(0)
    results = [np.empty((count, *output.shape[1:]), output.dtype) for output in first]

    def store(start: int, outputs: list[Any]) -> None:
        stop = min(start + tile_size, count)
        for result, output in zip(results, outputs, strict=True):
            result[start:stop] = np.asarray(output)[: stop - start]

    store(0, first)
    # A new thread starts with the process's precision, so the caller's choice is passed on.
    double = bool(jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]

    def run_and_store(start: int) -> None:
        with jax.enable_x64(double):
            store(start, run(start)[0])

    starts = range(tile_size, count, tile_size)
    if starts:
        with ThreadPoolExecutor(workers if concurrent else 1) as pool:
            for _ in pool.map(run_and_store, starts):
                pass
    return jax.tree.unflatten(result_structure, results)


def pad_rows(array: np.ndarray, length: int) -> np.ndarray:
    """The array with rows of zeros appended up to a length."""
    if len(array) == length:
        return array
    return np.concatenate([array, np.zeros((length - len(array), *array.shape[1:]), array.dtype)])
