"""Pictures that look alike, found by a perceptual hash. A near-duplicate is not independent evidence.

The hash is imagehash's ``phash`` (the signs of the 8 × 8 lowest cosine frequencies of a picture of 32 × 32) of the
thumbnail, which shows the person and a margin. Pictures are processed in the order of their names. Each joins the first
earlier picture whose hash differs in at most ``MOST_BITS`` of 64 bits, or else starts a new group. So all pictures of a
group are close to its first one; joining any two similar pictures would chain a whole film together.
"""

from collections.abc import Sequence

import imagehash
import numpy as np
from jaxtyping import Int
from PIL import Image

MOST_BITS = 8
"""515 frames of two people give 133 groups, none of which has both people; 4 bits give 199 groups, 10 bits 110
(benchmarks/results.md, "From a folder to a decision")."""


def picture_hash(picture: Image.Image) -> int:
    """Perceptual hash of a picture, 64 bits."""
    return int(str(imagehash.phash(picture)), 16)


def first_alike(
    hashes: Sequence[int | None], names: Sequence[str], most_bits: int = MOST_BITS
) -> Int[np.ndarray, " rows"]:
    """For each row the first row of its group: itself if no picture is similar, or if there is no picture."""
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
