"""Finds the mask of each person of a picture by keypoints, and measures everybody's outline.

A person's mask holds at least half of the person's confidence, and nearly as much as any mask; the smallest such mask
is taken, since one of a group or of the whole picture holds everybody. A mask that several people would have is cut
into its connected pieces. Each goes to the person with most keypoints in it; those who share a piece have no outline.

Other masks of the picture count as other people, unless they hold most of the person's own mask or lie mostly within
it: the shirt is not somebody else.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.ndimage import label

from adapters.keypoints.outlines.mask_arrays import HALF, BadMask, Mask
from adapters.keypoints.outlines.measure import measure_outline
from engine.body.schemas import KeypointSchema
from engine.picture.outline_places import PLACES, SIDES

_LEAST_SHARE = 0.5
_NEARLY = 0.15
"""Share of a person's confidence that noise of keypoints puts beside the person's mask."""
_SHARED = 0.25
"""A piece of a mask with more than this share of two people's confidence is a piece of both."""
_MOST_OVERLAP = 0.5


def outlines_of_people(
    masks: Sequence[Mask],
    points: Float[np.ndarray, "people keypoints 2"],
    confidence: Float[np.ndarray, "people keypoints"],
    schema: KeypointSchema,
) -> tuple[Float32[np.ndarray, "people places 2"], list[str | None]]:
    """Everybody's outline, and a reason for each person who has none although there are masks.

    Args:
        masks: of the whole picture, all of one size.
        points: pixels; the centre of the first pixel is (0, 0).

    Raises:
        BadMask: the masks have different sizes, or people lie mostly beyond their border.
    """
    outlines = np.full((len(points), len(PLACES), SIDES), np.nan, np.float32)
    reasons: list[str | None] = [None] * len(points)
    if not masks or not len(points):
        return outlines, reasons
    if len({mask.shape for mask in masks}) > 1:
        raise BadMask("its masks have different sizes")
    height, width = masks[0].shape
    nearest = np.rint(np.nan_to_num(points)).astype(np.int64)
    inside = ((nearest >= 0) & (nearest < [width, height])).all(axis=-1)
    if (confidence * ~inside).sum() > _LEAST_SHARE * confidence.sum():
        raise BadMask(f"its mask has {width} × {height} pixels, and most keypoints lie beyond")
    weights = np.where(inside, confidence, 0.0)
    x, y = np.where(inside, nearest[..., 0], 0), np.where(inside, nearest[..., 1], 0)
    pieces, owner, shared = _own_pieces([mask > HALF for mask in masks], x, y, weights)
    for person, number in enumerate(owner):
        if number is None:
            reasons[person] = "no mask holds most of its keypoints"
        elif shared[person]:
            reasons[person] = "its mask covers several people"
        else:
            own = np.where(pieces[number][0], masks[pieces[number][1]], np.uint8(0))
            others = _others(pieces, number, [k for k in owner if k is not None])
            outlines[person] = measure_outline(own, points[person], confidence[person] > 0, schema, others)
    return outlines, reasons


Pieces = list[tuple[Bool[np.ndarray, "height width"], int]]
"""Where a mask, or a piece of one, is; and the number of that mask."""


def _own_pieces(
    masks: list[np.ndarray], x: np.ndarray, y: np.ndarray, weights: np.ndarray
) -> tuple[Pieces, list[int | None], list[bool]]:
    """All masks, with those of several people cut into pieces; the number of each person's; True for shared ones."""
    total = np.maximum(weights.sum(axis=1), 1e-9)
    share = np.stack([(mask[y, x] * weights).sum(axis=1) / total for mask in masks], axis=1)
    area = np.array([mask.sum() for mask in masks])
    likely = (share >= _LEAST_SHARE) & (share >= share.max(axis=1, keepdims=True) - _NEARLY)
    smallest = np.where(likely, area, np.iinfo(np.int64).max).argmin(axis=1).tolist()
    owner = [number if any_mask else None for number, any_mask in zip(smallest, likely.any(axis=1), strict=True)]
    pieces: Pieces = [(mask, number) for number, mask in enumerate(masks)]
    shared = [False] * len(owner)
    for number in sorted({k for k in owner if k is not None and owner.count(k) > 1}):
        people = [person for person, k in enumerate(owner) if k == number]
        labels, count = cast("tuple[np.ndarray, int]", label(masks[number]))
        held = np.stack([np.bincount(labels[y[p], x[p]], weights[p], count + 1) / total[p] for p in people])
        held[:, 0] = 0
        contested = (held > _SHARED).sum(axis=0) > 1
        winner = np.where(held.max(axis=0) > 0, held.argmax(axis=0), -1)
        for k, person in enumerate(people):
            shared[person] = bool((contested & (held[k] > _SHARED)).any())
            owner[person] = len(pieces)
            pieces.append(((winner == k)[labels], number))
        pieces[number] = (masks[number] & (winner == -1)[labels], number)
    return pieces, owner, shared


def _others(pieces: Pieces, number: int, owned: list[int]) -> Bool[np.ndarray, "height width"] | None:
    """Where other people are, without the person's own pixels; None if nobody is near."""
    own = pieces[number][0]
    beside = np.zeros(own.shape, bool)
    for other, (mask, _) in enumerate(pieces):
        if other == number:
            continue
        shared = np.count_nonzero(mask & own)
        mostly = shared > _MOST_OVERLAP * min(np.count_nonzero(mask), np.count_nonzero(own))
        if other in owned or not mostly:
            beside |= mask
    beside &= ~own
    return beside if beside.any() else None
