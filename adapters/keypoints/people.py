"""Sizes of the people in a picture that shows several, and the one that was taken."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from adapters.keypoints.table import KeypointTable
from engine.scores import Status


def box_areas(table: KeypointTable) -> Float[np.ndarray, " images"]:
    """Area of each person's box in squared pixels; -1 if no keypoint is seen.

    The box is the file's own if all people of the picture have one; otherwise it encloses the keypoints that are seen.
    """
    unseen = (table.confidence == 0)[..., None]
    high = np.where(unseen, -np.inf, table.keypoints).max(axis=1, initial=-np.inf)
    low = np.where(unseen, np.inf, table.keypoints).min(axis=1, initial=np.inf)
    seen = high[:, 0] >= low[:, 0]
    area = np.where(seen, np.prod(np.maximum(np.where(seen[:, None], high - low, 0), 0), axis=1), -1.0)
    if table.box is None:
        return area
    own = np.prod(np.maximum(table.box[:, 2:] - table.box[:, :2], 0).astype(np.float64), axis=1)
    # Areas of the two kinds of boxes cannot be compared.
    people = table.status == Status.OK
    without = {table.image[int(row)].as_py() for row in np.flatnonzero(people & np.isnan(own))}
    whole = np.array([name not in without for name in table.image.to_pylist()], bool) & people & seen
    return np.where(whole, own, area)


def chosen_lines(table: KeypointTable, rows: Int[np.ndarray, " references"], most: int = 5) -> Iterator[str]:
    """Lines that name the person of each of ``rows``, for pictures that show several people."""
    people = Counter(table.image[int(row)].as_py() for row in np.flatnonzero(table.status == Status.OK))
    several = [int(row) for row in rows if people[table.image[int(row)].as_py()] > 1]
    for row in several[:most]:
        image, confidence = table.image[row].as_py(), table.confidence[row]
        if not confidence.any():
            continue
        x, y = table.keypoints[row][confidence > 0].mean(axis=0)
        yield (
            f"{image}: person {table.instance[row]} of {people[image]}, around ({x:.0f}, {y:.0f}), is taken; "
            "--person all takes everybody"
        )
    if len(several) > most:
        yield f"and so in {len(several) - most:,} more pictures with several people"
