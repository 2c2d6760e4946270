"""Widths of projected meshes along rays: where a line through a place leaves a mesh's silhouette on either side.

A triangle covers an interval of a line. Intervals become bits of samples along the line, and the OR over all triangles
is the silhouette on that line; the first sample that is not covered, from the middle outwards, ends the width. Samples
lie at a random place within a step, so that a width is right on average, and off by at most half a step.

Pictures are the last axis, along which processors compute side by side. The triangles are taken one after another in
each of several groups; more groups keep an accelerator busy, and their number does not change the result.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

STEPS = 64
"""Samples of a ray; one is a 64th of its greatest length."""
_WORD = 32
_WORDS = STEPS // _WORD
_ALL = 0xFFFFFFFF
_UNROLLED = 8
_ACCELERATOR_GROUPS = 48
_FAR = 1000.0
"""Steps; farther than any crossing."""


def silhouette_widths(
    corners: Float[Array, "3 2 faces images"],
    origins: Float[Array, "2 places images"],
    directions: Float[Array, "2 places images"],
    longest: Float[Array, " images"],
    shift: Float[Array, "places images"],
) -> Float[Array, "2 places images"]:
    """Width of each side in the units of the corners; NaN where a ray's origin is outside of the silhouette.

    Args:
        corners: x and y of the triangles' corners.
        directions: unit vectors of side 0.
        longest: length after which a ray gives up; widths are at most this.
        shift: position of the samples within a step, 0 to 1.
    """
    groups = 1 if jax.default_backend() == "cpu" else _ACCELERATOR_GROUPS
    faces, images = corners.shape[2:]
    padding = -faces % (groups * _UNROLLED)
    # A triangle whose corners coincide covers nothing.
    padded = jnp.concatenate([corners, jnp.zeros((3, 2, padding, images), corners.dtype)], axis=2)
    steps = jnp.moveaxis(padded.reshape(3, 2, -1, _UNROLLED, groups, images), (2, 3), (0, 1))
    step = jnp.where(longest > 0, longest, 1.0) / STEPS
    scaled = directions / step
    start = jnp.zeros((groups, *shift.shape), jnp.uint32)

    def cover(words: tuple[Array, ...], several: Array) -> tuple[tuple[Array, ...], None]:
        # Without the barrier the loop's slicing is merged into every use of the corners: eight times as slow on a CPU.
        several = jax.lax.optimization_barrier(several)
        for number in range(_UNROLLED):
            begins, ends = _interval(several[number, :, :, :, None], origins, scaled, shift)
            covered = (*_bits(begins, ends), *_bits(-ends, -begins))
            words = tuple(word | bits for word, bits in zip(words, covered, strict=True))
        return words, None

    words, _ = jax.lax.scan(cover, (start,) * (2 * _WORDS), steps)
    together = [jax.lax.reduce(word, jnp.uint32(0), jax.lax.bitwise_or, (0,)) for word in words]
    counts = jnp.stack([_run_length(together[:_WORDS]), _run_length(together[_WORDS:])])
    offset = jnp.stack([shift, 1 - shift])
    widths = step * jnp.where(counts == STEPS, STEPS, counts - 0.5 + offset)
    return jnp.where(jnp.all(counts > 0, axis=0), widths, jnp.nan)


def _interval(
    corner: Float[Array, "3 2 groups 1 images"],
    origins: Float[Array, "2 places images"],
    scaled: Float[Array, "2 places images"],
    shift: Float[Array, "places images"],
) -> tuple[Int[Array, "groups places images"], Int[Array, "groups places images"]]:
    """First sample of side 0 that a triangle covers, and the first beyond it, which is not greater if it covers none.

    Sample k of side 0 lies at shift + k steps, sample k of side 1 at shift − 1 − k: it is sample −1 − k of side 0.
    """
    across, along = [], []
    for number in range(3):
        x, y = corner[number, 0] - origins[0], corner[number, 1] - origins[1]
        across.append(x * scaled[1] - y * scaled[0])
        along.append(x * scaled[0] + y * scaled[1] - shift)
    enters = leaves = None
    for first, second in ((0, 1), (1, 2), (2, 0)):
        # Sums and products instead of selections, and no minimum that cares about NaN: six times as fast on a CPU.
        missed = (across[first] * across[second] >= 0).astype(shift.dtype)
        apart = across[first] - across[second] + _FAR * missed
        at = along[first] + (along[second] - along[first]) * (across[first] / apart)
        early, late = at + _FAR * missed, at - _FAR * missed
        enters = early if enters is None else _least(enters, early)
        leaves = late if leaves is None else _greatest(leaves, late)
    # Conversion to integers rounds towards zero: below, the arguments are positive.
    begins = STEPS - (STEPS - _least(_greatest(enters, -1.0 * STEPS), 1.0 * STEPS)).astype(jnp.int32)
    ends = (_greatest(_least(leaves, 1.0 * STEPS), -1.0 - STEPS) + (STEPS + 2)).astype(jnp.int32) - (STEPS + 1)
    return begins, ends


def _least(first: Any, second: Any) -> Array:
    return jnp.where(first < second, first, second)


def _greatest(first: Any, second: Any) -> Array:
    return jnp.where(first > second, first, second)


def _from_bit(place: Int[Array, "*n"]) -> UInt32[Array, "*n"]:
    """Ones from this bit upwards."""
    return jax.lax.shift_left(jnp.full_like(place, _ALL, jnp.uint32), jnp.clip(place, 0, _WORD).astype(jnp.uint32))


def _bits(begins: Int[Array, "*n"], ends: Int[Array, "*n"]) -> list[UInt32[Array, "*n"]]:
    """The words with ones from bit ``begins`` to bit ``ends`` − 1."""
    return [_from_bit(begins - word * _WORD) & ~_from_bit(ends - word * _WORD) for word in range(_WORDS)]


def _run_length(words: list[UInt32[Array, "*n"]]) -> Float[Array, "*n"]:
    """Number of ones before the first zero."""
    total = jnp.zeros(words[0].shape, jnp.int32)
    unbroken = jnp.ones(words[0].shape, bool)
    for word in words:
        lowest_zero = ~word & (word + jnp.uint32(1))
        ones = jax.lax.population_count(lowest_zero - jnp.uint32(1)).astype(jnp.int32)
        total = total + jnp.where(unbroken, jnp.where(lowest_zero == 0, _WORD, ones), 0)
        unbroken = unbroken & (lowest_zero == 0)
    return total.astype(jnp.float32)
