"""``python -m benchmarks.four_views DATA``: one man, four cameras, real keypoints; each picture is fitted on its own.

DATA is the folder with calib.json, labels.json and the recordings of Pose2Sim's demo (converted to MMPose's prediction
JSON). One shape is fitted to every tenth frame of all cameras. Then every picture is fitted alone at that shape, with
weak perspective and with the camera's own lens, and its 3D keypoints are compared with those triangulated from all four
cameras (linear, reprojection error weighted by confidence), after a similarity transform (PA-MPJPE), and with those of
the other cameras. Limb lengths are compared where every picture may have its own shape, which uses no calibration.
"""

import itertools
import json
from pathlib import Path
from typing import NamedTuple

import click
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.table import Table

from adapters.keypoints.readers import read_keypoints
from benchmarks.dense_fit import aligned_error_mm
from benchmarks.real_keypoints import load_labels
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody, pose_keypoints, reduce_body
from engine.body.schemas import COCO_17
from engine.picture.cameras import Lens, lens_in_person_heights
from engine.posed.fit import fit_poses, fit_shapes, make_context, observe_pictures
from engine.posed.results import PosedFit
from engine.posed.shared_shape import fit_shared_shapes
from engine.scores import Status

CAMERAS = ("cam01", "cam02", "cam03", "cam04")
PERSON, TRIAL = "adult_A", "T01_balancing"
REFERENCE_STRIDE = 10
BODY_COLUMNS = slice(5, 17)
"""Of COCO-17: without the face."""
LIMBS = {
    "upper arm": ((5, 7), (6, 8)),
    "forearm": ((7, 9), (8, 10)),
    "thigh": ((11, 13), (12, 14)),
    "shank": ((13, 15), (14, 16)),
    "shoulders": ((5, 6),),
}
_GROSS_PX = 60.0


class Views(NamedTuple):
    """Frames seen by all four cameras."""

    keypoints_px: Float[np.ndarray, "cameras frames keypoints 2"]
    confidence: Float[np.ndarray, "cameras frames keypoints"]


def read_views(data: Path) -> Views:
    """The frames in which every camera sees the person once."""
    labels, seen = load_labels(data / "single"), {}
    for camera in CAMERAS:
        table = read_keypoints([data / "single" / f"{TRIAL}_{camera}.json"])
        rows: dict[int, list[int]] = {}
        for row, (image, instance) in enumerate(zip(table.image.to_pylist(), table.instance, strict=True)):
            if labels.get((image, int(instance))) == PERSON and table.status[row] == Status.OK:
                rows.setdefault(int(image.rpartition("_")[2]), []).append(row)
        seen[camera] = table, {frame: found[0] for frame, found in rows.items() if len(found) == 1}
    frames = sorted(set.intersection(*(set(rows) for _, rows in seen.values())))
    picked = [(table, [rows[frame] for frame in frames]) for table, rows in seen.values()]
    return Views(
        np.stack([table.keypoints[rows] for table, rows in picked]).astype(np.float32),
        np.stack([table.confidence[rows] for table, rows in picked]).astype(np.float32),
    )


def triangulate(views: Views, calibration: dict) -> Float[np.ndarray, "frames keypoints 3"]:
    """Metres; NaN where fewer than three cameras agree on a keypoint within 60 pixels."""
    projections = []
    for camera in CAMERAS:
        one = calibration[camera]
        outer = np.concatenate([np.array(one["R_world_to_cam"]), np.array(one["T_m"]).reshape(3, 1)], axis=1)
        projections.append(np.array(one["K"]) @ outer)
    projections = np.array(projections)
    weights, points = np.asarray(views.confidence, np.float64), np.empty(0)
    for _ in range(3):
        rows = views.keypoints_px[..., None] * projections[:, None, None, 2:3] - projections[:, None, None, :2]
        rows = rows * weights[..., None, None]
        system = np.moveaxis(rows, 0, 2).reshape(*weights.shape[1:], -1, 4)
        points = np.linalg.svd(system)[2][..., -1, :]
        points = points / points[..., 3:]
        seen = np.einsum("cij,fkj->cfki", projections, points)
        error = np.linalg.norm(seen[..., :2] / seen[..., 2:] - views.keypoints_px, axis=-1)
        weights = np.where(error > _GROSS_PX, 0.0, views.confidence)
    return np.where((np.sum(weights > 0, axis=0) >= 3)[..., None], points[..., :3], np.nan)


def camera_lens(calibration: dict, views: Views, observations) -> Lens:
    """The calibrated lens of every picture, cameras first."""
    frames = views.confidence.shape[1]
    inner = np.repeat([calibration[camera]["K"] for camera in CAMERAS], frames, axis=0)
    lens = lens_in_person_heights(
        inner[:, 0, 0], inner[:, :2, 2], np.asarray(observations.centre_px), np.asarray(observations.person_height_px)
    )
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), lens)


@jax.jit
def _keypoints(body: KeypointBody, betas: jax.Array, pose: jax.Array) -> jax.Array:
    return jax.vmap(lambda b, p: pose_keypoints(body, b, p))(betas, pose)


def fitted_keypoints(body: KeypointBody, fit: PosedFit, shape: tuple[int, int]) -> np.ndarray:
    """In each camera's orientation, metres: (cameras, frames, keypoints, 3)."""
    points = np.asarray(_keypoints(body, jnp.asarray(fit.betas), jnp.asarray(fit.pose)), np.float64)
    return points.reshape(*shape, *points.shape[1:])


def distances_mm(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """PA-MPJPE of each frame over the keypoints that are known; NaN with fewer than 8."""
    errors = []
    for a, b in zip(found[:, BODY_COLUMNS], truth[:, BODY_COLUMNS], strict=True):
        known = np.isfinite(b).all(axis=1)
        errors.append(aligned_error_mm(a[known], b[known]) if known.sum() >= 8 else np.nan)
    return np.array(errors)


def limb_lengths(points: np.ndarray) -> dict[str, np.ndarray]:
    """Of each picture, as a share of their sum: no picture knows the stature."""
    lengths = {
        name: np.mean([np.linalg.norm(points[..., a, :] - points[..., b, :], axis=-1) for a, b in pairs], axis=0)
        for name, pairs in LIMBS.items()
    }
    total = np.sum(list(lengths.values()), axis=0)
    return {name: length / total for name, length in lengths.items()}


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--overlays", type=click.Path(path_type=Path), help="Draw 12 pictures into this PNG.")
def main(data: Path, overlays: Path | None) -> None:
    """Compare independent fits of four cameras with each other and with triangulation."""
    console, views = Console(width=120), read_views(data)
    calibration = json.loads((data / "calib_refined_estimate.json").read_text())
    truth = triangulate(views, calibration)
    cameras, frames = views.confidence.shape[:2]
    body = reduce_body(load_embedded_body(), COCO_17)
    context = make_context(body)
    pictures = observe_pictures(
        context, views.keypoints_px.reshape(-1, 17, 2), views.confidence.reshape(cameras * frames, 17)
    )
    chosen = np.flatnonzero(np.tile(np.arange(frames) % REFERENCE_STRIDE == 0, cameras))
    references = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], pictures)
    betas = fit_shared_shapes(context, references, np.zeros(len(chosen), int)).betas[0]
    console.print(f"{frames} frames, {len(chosen)} references, betas " + " ".join(f"{b:+.1f}" for b in betas))

    table = Table("camera model", *CAMERAS, "two cameras", "reprojection, %", title="PA-MPJPE in mm (medians)")
    weak = fit_poses(context, pictures, betas)
    seen_by = eqx.tree_at(lambda o: o.lens, pictures, camera_lens(calibration, views, pictures))
    full = fit_poses(context, seen_by, betas)
    for name, fit in (("weak perspective", weak), ("calibrated lens", full)):
        points = fitted_keypoints(body, fit, (cameras, frames))
        against = [f"{np.nanmedian(distances_mm(points[c], truth)):.0f}" for c in range(cameras)]
        between = [distances_mm(points[a], points[b]) for a, b in itertools.combinations(range(cameras), 2)]
        error = 100 * np.sqrt(np.mean(np.sum(np.square(fit.residuals), axis=-1), axis=1))
        table.add_row(name, *against, f"{np.median(between):.0f}", f"{np.median(error):.2f}")
    console.print(table)

    own = fit_shapes(context, pictures)
    found, known = limb_lengths(fitted_keypoints(body, own, (cameras, frames))), limb_lengths(truth)
    shared = limb_lengths(fitted_keypoints(body, weak, (cameras, frames))[:1, :1])
    table = Table("limb", *CAMERAS, "shared β", "triangulated", title="share of the limbs' sum, % (medians)")
    for limb in LIMBS:
        by_camera = [f"{100 * np.median(found[limb][c]):.1f}" for c in range(cameras)]
        table.add_row(limb, *by_camera, f"{100 * shared[limb][0, 0]:.1f}", f"{100 * np.nanmedian(known[limb]):.1f}")
    console.print(table)
    if overlays is not None:
        draw_overlays(overlays, views, weak)


def draw_overlays(path: Path, views: Views, fit: PosedFit) -> None:
    """Seen keypoints and the fitted skeleton of three frames of each camera."""
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

    cameras, frames = views.confidence.shape[:2]
    residuals = np.asarray(fit.residuals).reshape(cameras, frames, -1, 2)
    height = np.asarray(fit.pictures.observation.person_height_px).reshape(cameras, frames, 1, 1)
    fitted = views.keypoints_px - residuals * height
    figure = Figure(figsize=(12, 10), layout="constrained")
    axes = figure.subplots(3, cameras)
    for row, frame in enumerate(np.linspace(0, frames - 1, 3).astype(int)):
        for camera in range(cameras):
            axis, seen = axes[row, camera], views.confidence[camera, frame] > 0
            for a, b in (edge for edge in COCO_17.edges if seen[list(edge)].all()):
                axis.plot(*fitted[camera, frame, [a, b]].T, color="tab:blue", linewidth=2)
            axis.plot(*views.keypoints_px[camera, frame, seen].T, ".", color="tab:red")
            axis.set(title=f"{CAMERAS[camera]}, frame {frame}", aspect="equal", xticks=[], yticks=[])
            axis.invert_yaxis()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
