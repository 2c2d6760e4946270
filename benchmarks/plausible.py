"""Which keypoints are called implausible? ``python -m benchmarks.plausible [--people FILE.npz ...]``.

For detections as they are and for the same in wrong orders, proportions and axes: medians of what
``adapters.keypoints.plausibility`` measures, the share of rows that are called implausible, whether all rows together
are, and the share of files. FILE holds ``keypoints`` (N, 17, 2) in COCO-17's order, NaN where not seen, and ``item`` or
``person``: the rows of each are a file of their own. The figures are of every second of them; the bounds were chosen
mostly on the others. Without FILE the people are simulated, and a file is eight of them.
"""

from pathlib import Path

import click
import jax
import numpy as np
import pyarrow as pa

from adapters.commands.display import print_table
from adapters.keypoints.file_plausibility import Tally
from adapters.keypoints.plausibility import Measures, judged, measure
from adapters.keypoints.table import KeypointTable
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17
from engine.scores import Status
from engine.simulation.pictures import make_simulator, simulate
from engine.simulation.poses import pool_from_prior
from engine.simulation.settings import SimulationSettings

_H36M = (
    "hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine", "thorax", "nose",
    "head", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
)  # fmt: skip
_OPENPOSE = (
    "nose", "thorax", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear",
)  # fmt: skip
_GOLIATH = (*COCO_17.keypoint_names[:9], *COCO_17.keypoint_names[11:], "left_ankle", "left_ankle")


def _reordered(points: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    place = {name: points[:, k] for k, name in enumerate(COCO_17.keypoint_names)}
    place["hip"] = (place["left_hip"] + place["right_hip"]) / 2
    place["thorax"] = (place["left_shoulder"] + place["right_shoulder"]) / 2
    place["spine"] = (place["hip"] + place["thorax"]) / 2
    place["head"] = place["thorax"] + 1.6 * (place["nose"] - place["thorax"])
    return np.stack([place[name] for name in names], axis=1)


def _table(points: np.ndarray) -> KeypointTable:
    count = len(points)
    seen = np.all(np.isfinite(points), axis=-1)
    return KeypointTable(
        COCO_17,
        pa.array([str(row) for row in range(count)], pa.string()),
        np.zeros(count, np.int32),
        np.where(seen[..., None], points, 0).astype(np.float32),
        seen.astype(np.float32),
        np.zeros(count, np.int8),
        pa.nulls(count, pa.string()),
    )


def _simulated(count: int) -> np.ndarray:
    body = reduce_body(load_embedded_body(), COCO_17)
    pictures = simulate(
        make_simulator(body, pool_from_prior(load_pose_prior(), 2048)), SimulationSettings(), jax.random.key(0), count
    )
    points = np.where(np.asarray(pictures.confidence)[..., None] > 0, np.asarray(pictures.keypoints), np.nan)
    columns = body.schema.columns_of(COCO_17.keypoint_names)
    return 300 * points[:, columns] + 1000


def _variants(points: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "as they are": points,
        "OpenPose's order": _reordered(points, _OPENPOSE),
        "Human3.6M's order": _reordered(points, _H36M),
        "Goliath's order": _reordered(points, _GOLIATH),
        "reversed": points[:, ::-1],
        "twice as wide": points * [2, 1],
        "three quarters as wide": points * [0.75, 1],
        "half as wide": points * [0.5, 1],
        "x and y exchanged": points[..., ::-1],
        "turned to the left": np.stack([points[..., 1], 1000 - points[..., 0]], axis=-1),
    }


def _people(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints of the half for figures, and which file each is of."""
    stored = np.load(path)
    owner = np.unique(stored["item" if "item" in stored else "person"], return_inverse=True)[1]
    held_out = owner % 2 == 1
    return stored["keypoints"][held_out].astype(np.float64), owner[held_out]


def _is_refused(measures: Measures, rows: np.ndarray) -> bool:
    tally = Tally()
    tally.add(Measures(*(values[rows] for values in vars(measures).values())))
    return tally.problem() is not None


def _figures(points: np.ndarray, owner: np.ndarray, fewest: int) -> tuple[str, ...]:
    table = _table(points)
    measures = measure(table)
    columns = (measures.stretch, measures.clutter, measures.width)
    medians = [f"{np.nanmedian(values):.2f}" if np.isfinite(values).any() else "" for values in columns]
    bad = np.mean(judged(table, measures).status == Status.IMPLAUSIBLE)
    whole = "refused" if _is_refused(measures, np.arange(len(points))) else "passes"
    files = [np.flatnonzero(owner == number) for number in np.unique(owner)]
    files = [rows for rows in files if len(rows) >= fewest]
    shares = np.mean([_is_refused(measures, rows) for rows in files]) if files else np.nan
    return *medians, f"{bad:.1%}", whole, f"{shares:.1%} of {len(files)}"


@click.command()
@click.option("--people", "files", multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--count", default=2000, show_default=True, type=click.IntRange(min=1), help="Of simulated people.")
@click.option("--fewest", default=4, show_default=True, type=click.IntRange(min=1), help="Rows in a file.")
def main(files: tuple[Path, ...], count: int, fewest: int) -> None:
    """Measure people as they are, and wrong orders, proportions and axes of them."""
    sets = {path.stem: _people(path) for path in files}
    rows = [
        (name, variant, *_figures(changed, owner, fewest))
        for name, (points, owner) in (sets or {"simulated": (_simulated(count), np.arange(count) // 8)}).items()
        for variant, changed in _variants(points).items()
    ]
    names = ("people", "variant", "stretch", "clutter", "width", "bad rows", "as a whole", "files refused")
    print_table(f"Files of at least {fewest} rows", names, rows)


if __name__ == "__main__":
    main()
