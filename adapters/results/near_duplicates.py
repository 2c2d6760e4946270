"""Pictures that look alike, found by a perceptual hash: a twin is no second witness, and need not be looked at twice.

The hash is imagehash's ``phash`` (the signs of the 8 × 8 lowest cosine frequencies of a picture of 32 × 32), taken of
the thumbnail, so of the person and a margin. Pictures are gone through in the order of their names; each joins the
first picture before it whose hash differs in at most ``MOST_BITS`` of 64 bits, and otherwise begins a group of its own.
Groups therefore stay close to their first picture; joining any two that are alike would chain a whole film together.
"""

from collections.abc import Sequence

import imagehash
import numpy as np
from jaxtyping import Int
from PIL import Image

MOST_BITS = 8
"""Of 515 frames of two people 133 groups remain, none with both; at 4 bits 199, at 10 bits 110
(benchmarks/results.md, "From a folder to a decision")."""


def picture_hash(picture: Image.Image) -> int:
    """64 bits of what a picture looks like."""
    return int(str(imagehash.phash(picture)), 16)


def first_alike(
    hashes: Sequence[int | None], names: Sequence[str], most_bits: int = MOST_BITS
) -> Int[np.ndarray, " rows"]:
    """For each row the row that its group began with: itself where nothing is alike, or where there is no picture."""
    first = np.arange(len(hashes))
    order = sorted(range(len(hashes)), key=lambda row: (names[row], row))
    begun = np.zeros(len(hashes), np.uint64)
    rows: list[int] = []
    for row in order:
        value = hashes[row]
        if value is None:
            continue
        near = np.bitwise_count(begun[: len(rows)] ^ np.uint64(value)) <= most_bits
        if near.any():
            first[row] = rows[int(np.argmax(near))]
        else:
            begun[len(rows)] = value
            rows.append(row)
    return first
