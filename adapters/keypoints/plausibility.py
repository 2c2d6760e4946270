"""Whether keypoints can be those of a person: a test that needs no fit.

The distance of two neighbouring keypoints, divided by what it measures on an average person in metres, is the scale of
the picture where both lie across the view, and less where they are foreshortened. For each row two numbers follow:

    stretch   log of the largest of these ratios over their median
    clutter   mean of the ratios over the root mean square distance of the points from their centre, 1/m

Keypoints in a wrong order join distant points, so both rise; one gross error raises the first only. Medians of rows
with at least ``FEWEST_SEEN`` points of COCO-17 (benchmarks/results.md, "Implausible keypoints"):

    real and simulated detections         stretch 0.22 to 0.41    clutter 1.5 to 2.2
    OpenPose's order read as COCO-17      stretch 0.75 to 0.91    clutter 3.5 to 4.2
    Human3.6M's order                     stretch 0.43 to 1.0     clutter 3.9 to 4.7
    Goliath's order, first 17             stretch 0.56 to 0.57    clutter 1.8 to 2.2
    pictures twice as wide as they were   stretch 0.55 to 0.74    clutter 2.0 to 2.5

Pictures half as wide pass: a person who turns away looks the same. So do exchanged axes: a person who lies, mirrored.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from adapters.keypoints.table import KeypointTable
from engine.scores import Status

FEWEST_SEEN = 8
ROW_STRETCH, ROW_CLUTTER = 2.0, 4.0
"""Beyond these a row is implausible: 1 % of simulated detections, which have gross errors and invented points, and 0 to
0.5 % of real ones."""
FILE_STRETCH, FILE_CLUTTER = 0.5, 2.8
"""Beyond these the median of many rows is implausible."""
CAUSES = (
    "likely causes: keypoints in another order than the schema's (--schema), pictures that were resized without "
    "keeping their proportions, x and y exchanged"
)

_SHORT_M = 0.05
"""Added to every length: neighbours in a face are closer than a detector is exact."""
_LENGTHS_M = {
    ("ankle", "knee"): 0.393,
    ("knee", "hip"): 0.386,
    ("shoulder", "hip"): 0.513,
    ("shoulder", "elbow"): 0.264,
    ("elbow", "wrist"): 0.243,
    ("eye", "ear"): 0.095,
    ("ear", "shoulder"): 0.213,
}
"""Of the embedded body's mean shape at rest, on either side."""
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

Numbers = Float[np.ndarray, " images"]


def measure(table: KeypointTable) -> tuple[Numbers, Numbers]:
    """Stretch and clutter of each row; NaN where too little is seen."""
    columns = np.array(table.schema.columns_of(_NAMES))
    points = table.keypoints[:, columns].astype(np.float64)
    seen = (table.confidence[:, columns] > 0) & (columns >= 0)
    count = seen.sum(axis=1)
    judged = np.flatnonzero(count >= FEWEST_SEEN)
    stretch, clutter = np.full(len(table), np.nan), np.full(len(table), np.nan)
    if len(judged):
        stretch[judged], clutter[judged] = _measured(points[judged], seen[judged])
    return stretch, clutter


def _measured(
    points: Float[np.ndarray, "images keypoints 2"], seen: Bool[np.ndarray, "images keypoints"]
) -> tuple[Numbers, Numbers]:
    both = seen[:, _START] & seen[:, _END]
    steps = points[:, _START] - points[:, _END]
    ratios = np.where(both, np.hypot(steps[..., 0], steps[..., 1]) / _LENGTH, np.inf)
    count = both.sum(axis=1)
    ordered = np.sort(ratios, axis=1)
    rows = np.arange(len(ratios))
    largest, middle = ordered[rows, np.maximum(count - 1, 0)], ordered[rows, np.maximum(count - 1, 0) // 2]
    mean = np.where(both, ratios, 0).sum(axis=1) / np.maximum(count, 1)
    weight = seen[..., None] / seen.sum(axis=1)[:, None, None]
    centred = points - (points * weight).sum(axis=1, keepdims=True)
    spread = np.sqrt((np.square(centred) * weight).sum(axis=(1, 2)))
    usable = (count > 0) & (spread > 0) & (largest > 0)
    # Neighbours on top of each other have no scale; the largest ratio is then beyond every bound.
    stretch = np.log(np.where(usable, largest, 1) / np.where(usable, np.maximum(middle, 1e-9 * largest), 1))
    return np.where(usable, stretch, np.nan), np.where(usable, mean / np.where(usable, spread, 1), np.nan)


@dataclass
class PlausibilityTally:
    """Rows that come in pieces, in histograms, so that memory does not grow."""

    _stretch: np.ndarray = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    _clutter: np.ndarray = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def add(self, stretch: Numbers, clutter: Numbers) -> None:
        """Count some rows."""
        for histogram, values, end in (
            (self._stretch, stretch, 2 * ROW_STRETCH),
            (self._clutter, clutter, 2 * ROW_CLUTTER),
        ):
            known = values[~np.isnan(values)]
            bins = np.minimum((known / end * _BINS).astype(np.int64), _BINS - 1)
            histogram += np.bincount(bins, minlength=_BINS)

    def problem(self) -> str | None:
        """What is wrong with the rows as a whole; None if nothing is."""
        stretch = _median(self._stretch) * 2 * ROW_STRETCH
        clutter = _median(self._clutter) * 2 * ROW_CLUTTER
        if stretch > FILE_STRETCH or clutter > FILE_CLUTTER:
            return (
                f"these keypoints are implausible as a whole: neighbours are too far apart (stretch {stretch:.2f}, of "
                f"people at most {FILE_STRETCH}; clutter {clutter:.1f}, at most {FILE_CLUTTER}); {CAUSES}"
            )
        return None


_BINS = 4096


def _median(histogram: np.ndarray) -> float:
    cumulative = np.cumsum(histogram)
    if not cumulative[-1]:
        return 0.0
    return float(np.searchsorted(cumulative, (cumulative[-1] + 1) // 2)) / _BINS


def judged(table: KeypointTable, tally: PlausibilityTally | None = None) -> KeypointTable:
    """The table with status IMPLAUSIBLE where a row cannot be a person; such rows lose their keypoints.

    Args:
        tally: counts all rows.
    """
    stretch, clutter = measure(table)
    if tally is not None:
        tally.add(stretch, clutter)
    # NaN fails the comparisons.
    bad = (table.status == Status.OK) & ((stretch > ROW_STRETCH) | (clutter > ROW_CLUTTER))
    if not bad.any():
        return table
    details = table.detail.to_pylist()
    for row in np.flatnonzero(bad):
        details[row] = (
            f"its keypoints are not those of a person: stretch {stretch[row]:.1f}, clutter {clutter[row]:.1f} "
            f"(at most {ROW_STRETCH}, {ROW_CLUTTER}); the detector failed, or {CAUSES.removeprefix('likely causes: ')}"
        )
    return replace(
        table,
        keypoints=np.where(bad[:, None, None], np.float32(0), table.keypoints),
        confidence=np.where(bad[:, None], np.float32(0), table.confidence),
        status=np.where(bad, np.int8(Status.IMPLAUSIBLE), table.status),
        detail=pa.array(details, pa.string()),
    )
