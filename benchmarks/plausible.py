"""Which keypoints are called implausible? ``python -m benchmarks.plausible [--people FILE.npz ...]``.

Medians over rows of the two measures of ``adapters.keypoints.plausibility``, and shares of rows beyond the bounds for
rows, for detections as they are and for the same in wrong orders and proportions. FILE holds ``keypoints`` (N, 17, 2)
in COCO-17's order, NaN where not seen; without any the people are simulated.
"""

from pathlib import Path

import click
import jax
import numpy as np
import pyarrow as pa

from adapters.commands.display import print_table
from adapters.keypoints.plausibility import FILE_CLUTTER, FILE_STRETCH, ROW_CLUTTER, ROW_STRETCH, measure
from adapters.keypoints.table import KeypointTable
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17
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


@click.command()
@click.option("--people", "files", multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--count", default=2000, show_default=True, type=click.IntRange(min=1))
def main(files: tuple[Path, ...], count: int) -> None:
    """Measure people as they are, and wrong orders and proportions of them."""
    sets = {path.stem: np.load(path)["keypoints"][:count].astype(np.float64) for path in files}
    rows = []
    for name, points in (sets or {"simulated": _simulated(count)}).items():
        variants = {
            "as they are": points,
            "OpenPose's order": _reordered(points, _OPENPOSE),
            "Human3.6M's order": _reordered(points, _H36M),
            "Goliath's order": _reordered(points, _GOLIATH),
            "reversed": points[:, ::-1],
            "twice as wide": points * [2, 1],
            "half as wide": points * [0.5, 1],
        }
        for variant, changed in variants.items():
            stretch, clutter = measure(_table(changed))
            known = ~np.isnan(stretch)
            middle = np.median(stretch[known]), np.median(clutter[known])
            beyond = (stretch[known] > ROW_STRETCH) | (clutter[known] > ROW_CLUTTER)
            refused = middle[0] > FILE_STRETCH or middle[1] > FILE_CLUTTER
            figures = (f"{middle[0]:.2f}", f"{middle[1]:.2f}", f"{beyond.mean():.1%}")
            rows.append((name, variant, str(known.sum()), *figures, "refused" if refused else "passes"))
    names = ("people", "variant", "rows", "stretch", "clutter", "rows beyond", "as a whole")
    print_table(f"Bounds of a whole: stretch {FILE_STRETCH}, clutter {FILE_CLUTTER}", names, rows)


if __name__ == "__main__":
    main()
