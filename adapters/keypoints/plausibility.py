"""Tests, without a fit, that the keypoints of a row can be those of a person.

The distance of two neighbouring keypoints in pixels, divided by their distance on an average person in metres, is the
picture's scale if both lie across the view, and less if they are foreshortened. Two numbers are computed for each row:

    stretch   log of the largest of these ratios over their median
    clutter   mean of the ratios over the root mean square distance of the points from their centre, 1/m

A wrong order of keypoints joins distant points, so both numbers rise. One keypoint that is far off should not discard
the others, so a row is judged without its worst keypoint. ``file_plausibility`` judges the rows of a file together, by
these numbers and by three more:

    width     the larger of an upright person's shoulders and head over the trunk, each over its usual value. Shoulders
              of a person who turns away look shorter; the head does not, because it is as long as it is wide
    lying     the trunk is horizontal with the head on the left, as after an exchange of x and y
    mirrored  left and right are exchanged: a face that is turned to the left of the picture shows the left ear only,
              and a person who shows both ears has the left shoulder on the right
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from adapters.keypoints.table import KeypointTable, refuse_rows
from engine.scores import Status

FEWEST_SEEN = 8
ROW_STRETCH, ROW_CLUTTER = 2.0, 4.0
"""Beyond these a row is implausible (benchmarks/results.md, "Implausible keypoints")."""
CAUSES = (
    "likely causes: keypoints in another order than the schema's (--schema), pictures that were resized without "
    "keeping their proportions, x and y exchanged"
)

_SHORT_M = 0.05
"""Added to every length, because neighbours in a face are closer than a detector's error."""
_LENGTHS_M = {
    ("ankle", "knee"): 0.393,
    ("knee", "hip"): 0.386,
    ("shoulder", "hip"): 0.513,
    ("shoulder", "elbow"): 0.264,
    ("elbow", "wrist"): 0.243,
    ("eye", "ear"): 0.095,
    ("ear", "shoulder"): 0.213,
}
"""Lengths of the embedded body's mean shape at rest, for either side."""
_ACROSS_M = {
    ("left_hip", "right_hip"): 0.201,
    ("left_shoulder", "right_shoulder"): 0.319,
    ("left_eye", "right_eye"): 0.059,
    ("left_ear", "right_ear"): 0.148,
    ("nose", "left_eye"): 0.049,
    ("nose", "right_eye"): 0.049,
    ("nose", "left_shoulder"): 0.275,
    ("nose", "right_shoulder"): 0.275,
    ("left_shoulder", "right_hip"): 0.572,
    ("right_shoulder", "left_hip"): 0.572,
}
_NEIGHBOURS: dict[tuple[str, str], float] = {
    **{(f"{s}_{a}", f"{s}_{b}"): length for (a, b), length in _LENGTHS_M.items() for s in ("left", "right")},
    **_ACROSS_M,
}
_NAMES = tuple(dict.fromkeys(name for pair in _NEIGHBOURS for name in pair))
_START, _END = (np.array([_NAMES.index(pair[k]) for pair in _NEIGHBOURS]) for k in (0, 1))
_LENGTH = np.array(list(_NEIGHBOURS.values())) + _SHORT_M
_TRUNK = [_NAMES.index(f"{side}_{part}") for part in ("shoulder", "hip") for side in ("left", "right")]
_HEAD = [_NAMES.index(name) for name in ("nose", "left_ear", "right_ear", "left_eye", "right_eye")]
_SHOULDERS_OF_TRUNK, _HEAD_OF_TRUNK = 0.62, 0.29
"""Usual values for people in photographs who face the camera (benchmarks/results.md, "Implausible keypoints")."""

_FACING = 0.2
"""Largest distance of the nose from the middle, in distances of the ears: the head turned by 16 degrees."""
_UPRIGHT, _HORIZONTAL = np.tan(np.radians([30.0, 60.0]))

Numbers = Float[np.ndarray, " images"]


@dataclass(frozen=True)
class Measures:
    """See the module; NaN if too few keypoints are seen."""

    stretch: Numbers
    clutter: Numbers
    width: Numbers
    """NaN unless the person is upright and shows the head."""
    lying: Numbers
    """0 or 1."""
    mirrored: Numbers
    """0 or 1; NaN if the face is uninformative."""

    def rows(self, start: int, stop: int) -> "Measures":
        """Some rows."""
        return Measures(*(values[start:stop] for values in vars(self).values()))


def measure(table: KeypointTable) -> Measures:
    """Measures of every row."""
    columns = np.array(table.schema.columns_of(_NAMES))
    points = table.keypoints[:, columns].astype(np.float64)
    seen = (table.confidence[:, columns] > 0) & (columns >= 0)
    judged = np.flatnonzero(seen.sum(axis=1) >= FEWEST_SEEN)
    stretch, clutter = np.full(len(table), np.nan), np.full(len(table), np.nan)
    if len(judged):
        stretch[judged], clutter[judged], _ = _distances(points[judged], seen[judged])
    return Measures(stretch, clutter, *_attitude(points, seen))


def judged(table: KeypointTable, measures: Measures | None = None) -> KeypointTable:
    """The table with status IMPLAUSIBLE for rows that cannot be a person; such rows lose their keypoints.

    Args:
        measures: the table's measures, if they are known.
    """
    measures = measure(table) if measures is None else measures
    stretch, clutter = measures.stretch, measures.clutter
    # NaN fails the comparisons.
    suspicious = np.flatnonzero((table.status == Status.OK) & _is_beyond(stretch, clutter))
    bad = suspicious[_is_beyond(*_without_worst(table, suspicious))] if len(suspicious) else suspicious
    problems = {
        int(row): f"its keypoints are not those of a person: stretch {stretch[row]:.1f}, clutter {clutter[row]:.1f} "
        f"(at most {ROW_STRETCH}, {ROW_CLUTTER}); the detector failed, or {CAUSES.removeprefix('likely causes: ')}"
        for row in bad
    }
    return refuse_rows(table, problems, Status.IMPLAUSIBLE)


def _is_beyond(stretch: Numbers, clutter: Numbers) -> Bool[np.ndarray, " images"]:
    return (stretch > ROW_STRETCH) | (clutter > ROW_CLUTTER)


def _without_worst(table: KeypointTable, rows: np.ndarray) -> tuple[Numbers, Numbers]:
    """Stretch and clutter of some rows without one end of the worst distance, the end that leaves less stretch."""
    columns = np.array(table.schema.columns_of(_NAMES))
    points = table.keypoints[rows][:, columns].astype(np.float64)
    seen = (table.confidence[rows][:, columns] > 0) & (columns >= 0)
    _, _, worst = _distances(points, seen)
    found = []
    for ends in (_START, _END):
        rest = seen.copy()
        rest[np.arange(len(rows)), ends[worst]] = False
        found.append(_distances(points, rest)[:2])
    (stretch, clutter), (other_stretch, other_clutter) = found
    second = other_stretch < stretch
    return np.where(second, other_stretch, stretch), np.where(second, other_clutter, clutter)


def _distances(
    points: Float[np.ndarray, "images keypoints 2"], seen: Bool[np.ndarray, "images keypoints"]
) -> tuple[Numbers, Numbers, np.ndarray]:
    """Stretch, clutter, and the index in ``_NEIGHBOURS`` of the largest ratio."""
    both = seen[:, _START] & seen[:, _END]
    steps = points[:, _START] - points[:, _END]
    ratios = np.where(both, np.hypot(steps[..., 0], steps[..., 1]) / _LENGTH, np.inf)
    count = both.sum(axis=1)
    ordered = np.sort(ratios, axis=1)
    rows = np.arange(len(ratios))
    largest, middle = ordered[rows, np.maximum(count - 1, 0)], ordered[rows, np.maximum(count - 1, 0) // 2]
    worst = np.where(both, ratios, -1).argmax(axis=1)
    mean = np.where(both, ratios, 0).sum(axis=1) / np.maximum(count, 1)
    weight = seen[..., None] / np.maximum(seen.sum(axis=1), 1)[:, None, None]
    centred = points - (points * weight).sum(axis=1, keepdims=True)
    spread = np.sqrt((np.square(centred) * weight).sum(axis=(1, 2)))
    usable = (count > 0) & (spread > 0) & (largest > 0)
    # Neighbours on top of each other have no scale; the largest ratio is then beyond every bound.
    stretch = np.log(np.where(usable, largest, 1) / np.where(usable, np.maximum(middle, 1e-9 * largest), 1))
    clutter = mean / np.where(usable, spread, 1)
    return np.where(usable, stretch, np.nan), np.where(usable, clutter, np.nan), worst


def _attitude(
    points: Float[np.ndarray, "images keypoints 2"], seen: Bool[np.ndarray, "images keypoints"]
) -> tuple[Numbers, Numbers, Numbers]:
    """Width, lying, mirrored."""
    left, right, left_hip, right_hip = (points[:, k] for k in _TRUNK)
    nose, left_ear, right_ear = (points[:, k] for k in _HEAD[:3])
    has_nose, has_left, has_right = (seen[:, k] for k in _HEAD[:3])
    shoulders = left - right
    trunk = (left_hip + right_hip - left - right) / 2
    known = seen[:, _TRUNK].all(axis=1) & (trunk != 0).any(axis=1)
    across, along = np.abs(trunk[:, 0]), np.abs(trunk[:, 1])
    length = np.where(known, np.hypot(across, along), 1)

    head = np.where(seen[:, _HEAD], points[:, _HEAD, 0], np.nan)
    upright = known & (across < _UPRIGHT * along) & (has_nose.astype(int) + has_left + has_right > 1)
    head = np.where(upright[:, None], head, 0)
    breadth = np.nanmax(head, axis=1) - np.nanmin(head, axis=1)
    width = np.maximum(np.hypot(*shoulders.T) / _SHOULDERS_OF_TRUNK, breadth / _HEAD_OF_TRUNK) / length

    ears = left_ear - right_ear
    aside = np.abs(((nose - (left_ear + right_ear) / 2) * ears).sum(axis=1))
    facing = has_nose & has_left & has_right & (aside < _FACING * np.square(ears).sum(axis=1))
    one_ear = has_nose & (has_left != has_right)
    # These lie to the right of the trunk in the picture: the left shoulder of people who face the camera, and the nose
    # of people who show the right ear only.
    rightwards = np.where(facing[:, None], shoulders, np.where(has_left[:, None], left_ear - nose, nose - right_ear))
    mirrored = rightwards[:, 0] * trunk[:, 1] < rightwards[:, 1] * trunk[:, 0]
    return (
        np.where(upright, width, np.nan),
        np.where(known, (across > _HORIZONTAL * along) & (trunk[:, 0] > 0), np.nan),
        np.where(known & (facing | one_ear), mirrored, np.nan),
    )
