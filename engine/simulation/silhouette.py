"""Widths of projected meshes along rays: where a line through a place leaves a mesh's silhouette on either side.

A triangle covers an interval of a line. Intervals become bits of samples along the line, and the OR over all triangles
is the silhouette on that line; the first sample that is not covered, from the middle outwards, ends the width. Samples
lie at a random place within a step, so that a width is right on average, and off by at most half a step.

A convex shape may cover more. It is given by its extent in each of ``DIRECTIONS`` directions: the intersection of those
half planes covers an interval of a line, too.

Pictures are the last axis, along which processors compute side by side. The triangles are taken one after another in
each of several groups; more groups keep an accelerator busy, and their number does not change the result.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

STEPS = 64
"""Samples of a ray; one is a 64th of its greatest length."""
DIRECTIONS = 32
"""Evenly spread directions of a convex shape's extent; between them it is at most 0.5 % larger."""
NO_EXTENT = -1000.0
"""Extent of a shape that covers nothing."""
_WORD = 32
_WORDS = STEPS // _WORD
_ALL = 0xFFFFFFFF
_UNROLLED = 8
_ACCELERATOR_GROUPS = 48
_FAR = 1000.0
"""Steps; farther than any crossing."""
_PARALLEL = 1e-7


def _unit_vectors() -> Float[np.ndarray, "2 directions"]:
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    return np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def extents(points: Float[Array, "points 2"], members: Bool[Array, " points"]) -> Float[Array, " directions"]:
    """Extent of the convex hull of the members among points."""
    along = points[:, :1] * _unit_vectors()[0] + points[:, 1:] * _unit_vectors()[1]
    return jnp.max(along, axis=0, initial=NO_EXTENT, where=members[:, None])


def silhouette_widths(
    corners: Float[Array, "3 2 faces images"],
    origins: Float[Array, "2 places images"],
    directions: Float[Array, "2 places images"],
    longest: Float[Array, " images"],
    shift: Float[Array, "places images"],
    hulls: Float[Array, "directions images"] | None = None,
) -> Float[Array, "2 places images"]:
    """Width of each side in the units of the corners; NaN where a ray's origin is outside of the silhouette.

    Args:
        corners: x and y of the triangles' corners.
        directions: unit vectors of side 0.
        longest: length after which a ray gives up; widths are at most this.
        shift: position of the samples within a step, 0 to 1.
        hulls: ``extents`` of a convex shape that belongs to the silhouette.
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
            words = tuple(word | bits for word, bits in zip(words, _both_sides(begins, ends), strict=True))
        return words, None

    words, _ = jax.lax.scan(cover, (start,) * (2 * _WORDS), steps)
    together = [jax.lax.reduce(word, jnp.uint32(0), jax.lax.bitwise_or, (0,)) for word in words]
    if hulls is not None:
        inside = _samples(*_hull_interval(hulls, origins, directions * step, shift))
        together = [word | bits for word, bits in zip(together, _both_sides(*inside), strict=True)]
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
    return _samples(enters, leaves)


def _hull_interval(
    hulls: Float[Array, "directions images"],
    origins: Float[Array, "2 places images"],
    steps: Float[Array, "2 places images"],
    shift: Float[Array, "places images"],
) -> tuple[Float[Array, "places images"], Float[Array, "places images"]]:
    """Where a line enters and leaves all half planes, in samples of side 0."""
    enters, leaves = jnp.full(shift.shape, -_FAR), jnp.full(shift.shape, _FAR)
    for extent, (x, y) in zip(hulls, _unit_vectors().T, strict=True):
        speed = x * steps[0] + y * steps[1]
        speed = jnp.where(jnp.abs(speed) < _PARALLEL, _PARALLEL, speed)
        at = (extent - x * origins[0] - y * origins[1]) / speed - shift
        leaves = jnp.where(speed > 0, jnp.minimum(leaves, at), leaves)
        enters = jnp.where(speed < 0, jnp.maximum(enters, at), enters)
    return enters, leaves


def _samples(enters: Float[Array, "*n"], leaves: Float[Array, "*n"]) -> tuple[Int[Array, "*n"], Int[Array, "*n"]]:
    """The first sample in an interval, and the first beyond it."""
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


def _both_sides(begins: Int[Array, "*n"], ends: Int[Array, "*n"]) -> tuple[UInt32[Array, "*n"], ...]:
    """The words of both sides with ones for the samples of side 0 from ``begins`` to ``ends`` − 1."""
    return (*_bits(begins, ends), *_bits(-ends, -begins))


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
