"""Places on the body at which a person's outline is measured, defined by keypoints alone.

A place lies on a segment between two joints, or between the middles of two pairs of joints. A line through the place,
perpendicular to the segment in the picture, meets the outline on both sides. The width of a side is the distance from
the segment to where the line leaves the person's mask for the first time. An outline is thus two widths for each place;
``PLACES`` is the table. Widths are NaN if they were not seen, and at most ``longest``, the length after which a ray
gives up.

A mirror exchanges left and right places, and the two sides of every place: ``mirrored_outline``.

The person's size, of which ``longest`` is a share, follows from limbs as in ``engine.picture.observation``, with limb
lengths of an average person (Drillis and Contini, "Body segment parameters", 1966).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from engine.batching import AnyArray
from engine.body.schemas import KeypointSchema
from engine.picture.outline_places import MIRRORED_PLACES, PLACES

LONGEST_SHARE = 0.25
"""Greatest width, in person heights: wider than a trunk in a coat, shorter than an arm."""
_SHORTEST_SHARE = 0.02
"""Segments that are shorter in the picture, in person heights, point towards the camera and have no direction in it."""

_LIMB_SHARES = (
    ("shoulder", "elbow", 0.186), ("elbow", "wrist", 0.146), ("hip", "knee", 0.245), ("knee", "ankle", 0.246),
    ("shoulder", "hip", 0.288),
)  # fmt: skip
"""Distances between joints in person heights."""


def mirrored_outline(widths: AnyArray) -> AnyArray:
    """The widths (..., places, sides) of the mirrored picture."""
    return widths[..., MIRRORED_PLACES, ::-1]


class OutlineRays(NamedTuple):
    """Where the outline of one picture is measured; of many pictures with leading axes."""

    origins: Float[AnyArray, "*images places 2"]
    """0 if not usable."""
    directions: Float[AnyArray, "*images places 2"]
    """Unit vector of side 0; side 1 goes the opposite way."""
    usable: Bool[AnyArray, "*images places"]
    """False if a keypoint is missing or the segment points towards the camera."""
    longest: Float[AnyArray, "*images"]
    """Length after which a ray gives up; 0 if no limb is seen."""


def outline_rays(
    points: Float[AnyArray, "*images keypoints 2"], seen: Bool[AnyArray, "*images keypoints"], schema: KeypointSchema
) -> OutlineRays:
    """The rays of all ``PLACES``, in the units of the points. NumPy arrays give NumPy arrays, JAX arrays JAX arrays.

    Args:
        points: keypoints of the schema, x right and y down; any value, NaN included, if not seen.
    """
    xp: Any = jnp if isinstance(points, jax.Array) or isinstance(seen, jax.Array) else np
    points = xp.where(seen[..., None], points, 0.0)
    (start, start_seen), (end, end_seen) = (
        _ends(points, seen, schema, [getattr(place, end) for place in PLACES]) for end in ("start", "end")
    )
    fractions = np.array([place.fraction for place in PLACES])[:, None].astype(points.dtype)
    origins = start + fractions * (end - start)
    along = end - start
    length = xp.sqrt(xp.sum(along**2, axis=-1))
    height = _person_height(xp, points, seen, schema)
    usable = start_seen & end_seen & (length > _SHORTEST_SHARE * height[..., None]) & (height > 0)[..., None]
    turned = xp.stack([-along[..., 1], along[..., 0]], axis=-1) / xp.where(usable, length, 1.0)[..., None]
    kept = usable[..., None]
    return OutlineRays(
        xp.where(kept, origins, 0.0), xp.where(kept, turned, 0.0), usable, (LONGEST_SHARE * height).astype(points.dtype)
    )


def _ends(points: Any, seen: Any, schema: KeypointSchema, pairs: list[tuple[str, str]]) -> tuple[Any, Any]:
    """The middle of each pair of keypoints, and whether both are seen."""
    first, second = np.array([schema.columns_of(pair) for pair in pairs], np.int32).T
    known = (first >= 0) & (second >= 0)
    middle = 0.5 * (points[..., first, :] + points[..., second, :])
    return middle, known & seen[..., first] & seen[..., second]


def _person_height(xp: Any, points: Any, seen: Any, schema: KeypointSchema) -> Any:
    """The second largest height that a limb asks for, or the only one; 0 if no limb is seen."""
    limbs = [
        (f"{side}_{first}", f"{side}_{second}", share)
        for first, second, share in _LIMB_SHARES
        for side in ("left", "right")
    ]
    columns = [(*schema.columns_of((first, second)), share) for first, second, share in limbs]
    known = [(first, second, share) for first, second, share in columns if first >= 0 and second >= 0]
    if not known:
        return xp.zeros(points.shape[:-2], points.dtype)
    first, second = np.array([(a, b) for a, b, _ in known], np.int32).T
    shares = np.array([share for _, _, share in known]).astype(points.dtype)
    length = xp.sqrt(xp.sum((points[..., first, :] - points[..., second, :]) ** 2, axis=-1)) / shares
    heights = xp.sort(xp.where(seen[..., first] & seen[..., second], length, 0.0), axis=-1)
    if len(known) == 1:
        return heights[..., -1]
    return xp.where(heights[..., -2] > 0, heights[..., -2], heights[..., -1])
