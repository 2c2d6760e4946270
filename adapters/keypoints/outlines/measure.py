"""Widths of a person's mask at the places of ``engine.picture.outline``, measured along their rays.

A ray starts on the axis of a limb or of the trunk and ends where the mask, interpolated between the centres of its
pixels, falls to one half for the first time. It gives no width if

- its keypoints are missing, or its origin lies outside the mask;
- it comes to the border of the picture before it ends: the person is cut off there;
- another person's mask begins where it ends: it is unknown which of the two is in front.

A ray that is still inside after the greatest length (``OutlineRays.longest``) has that length as its width.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.ndimage import map_coordinates

from adapters.keypoints.outlines.mask_arrays import HALF, Mask
from engine.body.schemas import KeypointSchema
from engine.picture.outline import outline_rays
from engine.picture.outline_places import PLACES, SIDES

Points = Float[np.ndarray, "*any 2"]

_BORDER_PX = 1.5
"""Segmenters often leave out the outermost pixels of a picture. A ray that ends there is cut off."""
_GAP_SHARE = 0.02
_LEAST_GAP_PX = 2.0
"""Two masks that are no further apart, in shares of the greatest length and in pixels, touch each other."""
_MOST_STEPS = 160
"""Steps of a pixel, or longer ones on large people: a gap between arm and trunk is wider than 1/160 of a ray."""
_BLOCK = 24
"""Steps that are computed at once; most rays end within the first block."""


def measure_outline(
    mask: Mask,
    points: Float[np.ndarray, "keypoints 2"],
    seen: Bool[np.ndarray, " keypoints"],
    schema: KeypointSchema,
    others: Bool[np.ndarray, "height width"] | None = None,
) -> Float32[np.ndarray, "places 2"]:
    """Widths of one person in pixels; NaN if they were not seen.

    Args:
        mask: the person's own mask, as large as the picture.
        points: the person's keypoints; the centre of the first pixel is (0, 0).
        others: True where other people are.
    """
    rays = outline_rays(np.asarray(points, np.float64), np.asarray(seen, bool), schema)
    widths = np.full((len(PLACES), SIDES), np.nan, np.float32)
    longest, size = float(rays.longest), np.array(mask.shape[::-1])
    places = np.flatnonzero(rays.usable & _within(np.asarray(rays.origins), size))
    if not len(places) or not 0 < longest < np.inf:
        return widths
    origins = np.concatenate([rays.origins[places]] * SIDES)
    directions = np.concatenate([rays.directions[places], -rays.directions[places]])
    steps = np.linspace(0, longest, 1 + min(int(np.ceil(longest)), _MOST_STEPS))
    lengths = _lengths(mask, origins, directions, steps)
    if others is not None:
        lengths[_touched(others, origins, directions, lengths, steps)] = np.nan
    widths[places] = lengths.reshape(SIDES, len(places)).T
    return widths


def _lengths(mask: Mask, origins: Points, directions: Points, steps: Float[np.ndarray, " steps"]) -> np.ndarray:
    size = np.array(mask.shape[::-1])
    # Only this part of the mask is converted.
    reach = steps[-1] + 2
    low = np.clip(np.floor(origins.min(axis=0) - reach), 0, size - 1).astype(int)
    high = np.clip(np.ceil(origins.max(axis=0) + reach), low + 1, size).astype(int)
    part = mask[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    first = _first_outside(part, origins - low, directions, steps)
    whole = first == len(steps)
    # The step in which the ray ends is divided into pixels.
    stop = np.clip(first, 1, len(steps) - 1)
    pixels = int(np.ceil(steps[1]))
    fine = steps[stop - 1, None] + steps[1] * np.linspace(0, 1, pixels + 1)
    values = _values(part, (origins - low)[:, None] + fine[..., None] * directions[:, None])
    crossed = values[:, 1:] < HALF
    ray, pixel = np.arange(len(origins)), crossed.argmax(axis=1)
    before, after = values[ray, pixel], values[ray, pixel + 1]
    share = np.clip((before - HALF) / np.maximum(before - after, 1e-6), 0, 1)
    lengths = np.where(whole, steps[-1], fine[ray, pixel] + share * (steps[1] / pixels))
    ends = _within(origins + lengths[:, None] * directions, size, _BORDER_PX)
    return np.where((first > 0) & ends & (whole | crossed.any(axis=1)), lengths, np.nan)


def _first_outside(
    part: np.ndarray, origins: Points, directions: Points, steps: np.ndarray
) -> Int[np.ndarray, " rays"]:
    """Number of the first step at which each ray is outside of mask or picture; the count of steps if it never is."""
    size = np.array(part.shape[::-1])
    first = np.full(len(origins), len(steps))
    active = np.arange(len(origins))
    for start in range(0, len(steps), _BLOCK):
        block = steps[start : start + _BLOCK]
        samples = origins[active, None] + block[:, None] * directions[active, None]
        outside = (_values(part, samples) < HALF) | ~_within(samples, size)
        ended = outside.any(axis=1)
        first[active[ended]] = start + outside.argmax(axis=1)[ended]
        active = active[~ended]
        if not len(active):
            break
    return first


def _values(part: np.ndarray, samples: Points) -> np.ndarray:
    """The mask between the centres of its pixels."""
    places = samples.reshape(-1, 2).T[::-1]
    return map_coordinates(part, places, order=1, mode="nearest", prefilter=False).reshape(samples.shape[:-1])


def _touched(
    others: np.ndarray, origins: Points, directions: Points, lengths: np.ndarray, steps: np.ndarray
) -> Bool[np.ndarray, " rays"]:
    """True for rays that meet another person before their end or shortly behind it."""
    gap = max(_GAP_SHARE * steps[-1], _LEAST_GAP_PX)
    behind = np.concatenate([steps, steps[-1] + np.arange(1, np.ceil(gap) + 1)])
    samples = np.rint(origins[:, None] + behind[:, None] * directions[:, None]).astype(int)
    nearest = np.clip(samples, 0, np.array(others.shape[::-1]) - 1)
    return (others[nearest[..., 1], nearest[..., 0]] & (behind <= lengths[:, None] + gap)).any(axis=1)


def _within(points: Points, size: np.ndarray, margin: float = 0.0) -> Bool[np.ndarray, "*any"]:
    """True for points between the centres of the outermost pixels, and that far inside of them."""
    x, y = points[..., 0], points[..., 1]
    return (x >= margin) & (y >= margin) & (x <= size[0] - 1 - margin) & (y <= size[1] - 1 - margin)
