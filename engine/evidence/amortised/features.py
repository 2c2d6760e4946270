"""Features of a picture for the network, split into parts that a mirror keeps and parts that it negates.

The network takes the 26 keypoints of Halpe-26; those of another schema are matched by name, and a keypoint that is not
seen is masked. A mirror has this effect: keypoint k becomes its partner π(k) and x becomes −x. So every feature f of k
and π(k) gives an even part ½ (f_k + f_π) and an odd part ½ (f_k − f_π), for x the other way round; a mirrored picture
has the same even features and the opposite odd ones, exactly.

Features: coordinates in person heights from the centre (``engine.picture.observation``: resizing and shifting change
nothing), exactness of each keypoint (square root of its confidence over the detector's noise factor there), logarithms
of distances and directions between keypoints that one or two bones join, and the noise level. A picture with an outline
has more features, which follow those of the keypoints: the logarithms of its widths (``engine.picture.outline``) and of
the two sides' sums, what is seen of it, that there is an outline, and what is known of the clothes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine.batching import AnyArray
from engine.body.schema_tables import FACE_EDGES, FEET_EDGES, HEAD_EDGES, LIMB_EDGES
from engine.body.schemas import HALPE_26
from engine.picture.outline_places import MIRRORED_PLACES

NETWORK_SCHEMA = HALPE_26
"""The keypoints that the network takes."""

_SPANS = (
    *LIMB_EDGES, *FACE_EDGES, *FEET_EDGES, *HEAD_EDGES,
    ("left_shoulder", "left_wrist"), ("right_shoulder", "right_wrist"), ("left_hip", "left_ankle"),
    ("right_hip", "right_ankle"), ("left_shoulder", "right_hip"), ("right_shoulder", "left_hip"),
    ("left_shoulder", "left_knee"), ("right_shoulder", "right_knee"), ("left_ear", "left_shoulder"),
    ("right_ear", "right_shoulder"), ("left_eye", "left_shoulder"), ("right_eye", "right_shoulder"),
    ("nose", "left_shoulder"), ("nose", "right_shoulder"), ("nose", "left_hip"), ("nose", "right_hip"),
    ("left_eye", "right_eye"), ("left_ear", "right_ear"), ("neck", "left_shoulder"), ("neck", "right_shoulder"),
)  # fmt: skip
_SHORTEST = 0.004
"""Lower bound of distances, person heights."""
_TYPICAL_LEVEL = 0.01
_SMALLEST_WIDTH = 0.005
"""Added to widths before the logarithm, person heights: noise of small widths stays small."""
_TYPICAL_WIDTH = 0.06
_SMALLEST_CLOTHES_M = 0.002
_TYPICAL_CLOTHES_M = 0.015


class Outline(NamedTuple):
    """The outline of one picture, and what is known of the clothes."""

    widths: Float[AnyArray, "*images places 2"]
    """Person heights; NaN if not seen."""
    clothes: Float[AnyArray, "*images"]
    """Standard deviation of the half-normal thickness of clothes, metres; NaN if unknown."""


class Features(NamedTuple):
    """Inputs of the network."""

    even: Float[AnyArray, "*images even"]
    odd: Float[AnyArray, "*images odd"]


def _partner_spans() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start and end of each span, and the span that each becomes in a mirror (ends in matching order)."""
    column = {name: k for k, name in enumerate(NETWORK_SCHEMA.keypoint_names)}
    spans = [(column[a], column[b]) for a, b in _SPANS]
    swap = NETWORK_SCHEMA.swap
    partner = []
    for start, end in spans:
        image: tuple[int, int] = (swap[start], swap[end])
        # A span across the body becomes itself with its ends exchanged: its direction is negated twice.
        partner.append(spans.index(image) if image in spans else spans.index((image[1], image[0])))
    # 32 bits: JAX keeps constants between programs in single and double precision, and confuses longer indices.
    start, end = np.array(spans, np.int32).T
    return start, end, np.array(partner)


_START, _END, _PARTNER = _partner_spans()
_SWAP = np.array(NETWORK_SCHEMA.swap)


def _split(values: np.ndarray, partner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrices that give the even and the odd part of features that a mirror permutes with these signs."""
    count = len(partner)
    mirror = np.zeros((count, count))
    mirror[np.arange(count), partner] = values
    even, odd = 0.5 * (np.eye(count) + mirror), 0.5 * (np.eye(count) - mirror)

    def independent(rows: np.ndarray) -> np.ndarray:
        kept: list[np.ndarray] = []
        for row in rows:
            if row.any() and not any(np.array_equal(row, k) or np.array_equal(row, -k) for k in kept):
                kept.append(row)
        return np.array(kept).reshape(-1, count).T

    return independent(even), independent(odd)


def _span_signs() -> np.ndarray:
    """Sign of a span's x direction in a mirror: −1, times −1 if its ends change places."""
    same_order = (_START[_PARTNER] == _SWAP[_START]) & (_END[_PARTNER] == _SWAP[_END])
    return np.where(same_order, -1.0, 1.0)


_KEYPOINTS = len(NETWORK_SCHEMA)
_PARTS = (
    _split(-np.ones(_KEYPOINTS), _SWAP),  # x
    _split(np.ones(_KEYPOINTS), _SWAP),  # y
    _split(np.ones(_KEYPOINTS), _SWAP),  # exactness
    _split(np.ones(len(_PARTNER)), _PARTNER),  # log distance
    _split(_span_signs(), _PARTNER),  # direction, x
    _split(-_span_signs(), _PARTNER),  # direction, y
)
EVEN_COUNT = sum(even.shape[1] for even, _ in _PARTS) + 1
ODD_COUNT = sum(odd.shape[1] for _, odd in _PARTS)

# A mirror exchanges the sides of every place.
_MIRRORED_WIDTHS = (2 * MIRRORED_PLACES[:, None] + np.array([1, 0])).reshape(-1)
_OUTLINE_PARTS = (
    _split(np.ones(len(_MIRRORED_WIDTHS)), _MIRRORED_WIDTHS),  # log width
    _split(np.ones(len(_MIRRORED_WIDTHS)), _MIRRORED_WIDTHS),  # seen
    _split(np.ones(len(MIRRORED_PLACES)), MIRRORED_PLACES),  # log sum of both sides
)
OUTLINE_EVEN_COUNT = sum(even.shape[1] for even, _ in _OUTLINE_PARTS) + 3
"""Additional even features of a picture with an outline."""
OUTLINE_ODD_COUNT = sum(odd.shape[1] for _, odd in _OUTLINE_PARTS)


def picture_features(
    points: Float[Array, "keypoints 2"],
    exactness: Float[Array, " keypoints"],
    level: Float[Array, ""],
    outline: Outline | None = None,
) -> Features:
    """The features of one picture.

    Args:
        points: keypoints of ``NETWORK_SCHEMA``, person heights from the centre; 0 if not seen.
        exactness: assumed noise at the level over assumed noise of the keypoint; 0 if not seen.
        level: assumed noise level, person heights.
        outline: without it, features of outlines are left out.
    """
    dtype = points.dtype
    seen = (exactness > 0).astype(dtype)
    both = seen[_START] * seen[_END]
    span = (points[_END] - points[_START]) * both[:, None]
    squared = jnp.sum(span**2, axis=-1)
    length = jnp.sqrt(jnp.where(squared > 0, squared, 1.0))
    apart = both * (squared > 0)
    log_length = both * (jnp.log(jnp.where(apart > 0, jnp.maximum(length, _SHORTEST), _SHORTEST)) + 1.5)
    direction = jnp.where(apart[:, None] > 0, span / length[:, None], 0.0)
    values = (
        points[:, 0] * seen, points[:, 1] * seen, jnp.minimum(exactness, 2.0), log_length, direction[:, 0],
        direction[:, 1],
    )  # fmt: skip
    of_keypoints = _parts(values, _PARTS, jnp.log(level / _TYPICAL_LEVEL)[None])
    if outline is None:
        return of_keypoints
    of_outline = _outline_features(outline)
    return Features(*(jnp.concatenate(both) for both in zip(of_keypoints, of_outline, strict=True)))


def _outline_features(outline: Outline) -> Features:
    seen = jnp.isfinite(outline.widths)
    widths = jnp.where(seen, outline.widths, 0.0)
    dtype = widths.dtype
    values = (
        jnp.where(seen, _log_width(widths), 0.0).reshape(-1),
        seen.astype(dtype).reshape(-1),
        jnp.where(jnp.all(seen, axis=-1), _log_width(0.5 * (widths[:, 0] + widths[:, 1])), 0.0),
    )
    present = jnp.any(seen)
    known = present & jnp.isfinite(outline.clothes)
    thickness = jnp.where(known, outline.clothes, _TYPICAL_CLOTHES_M) + _SMALLEST_CLOTHES_M
    clothes = jnp.where(known, jnp.log(thickness / _TYPICAL_CLOTHES_M), 0.0)
    return _parts(values, _OUTLINE_PARTS, jnp.stack([present.astype(dtype), known.astype(dtype), clothes]))


def _log_width(width: Float[Array, "*n"]) -> Float[Array, "*n"]:
    return jnp.log((jnp.maximum(width, 0.0) + _SMALLEST_WIDTH) / _TYPICAL_WIDTH)


def _parts(
    values: Sequence[Float[Array, " _"]],
    matrices: Sequence[tuple[np.ndarray, np.ndarray]],
    more: Float[Array, " more"],
) -> Features:
    """Even and odd parts of the values, and more even features."""
    dtype = more.dtype
    even = [value @ jnp.asarray(matrix, dtype) for value, (matrix, _) in zip(values, matrices, strict=True)]
    odd = [value @ jnp.asarray(matrix, dtype) for value, (_, matrix) in zip(values, matrices, strict=True)]
    return Features(jnp.concatenate([*even, more]), jnp.concatenate(odd))
