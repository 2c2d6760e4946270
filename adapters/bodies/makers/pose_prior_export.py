"""Make the shipped pose prior: ``python -m adapters.bodies.makers.pose_prior_export --poses poses.npz --out
PRIOR.npz``.

Input is one .npz with ``body_pose`` (poses × 23 × 3 rotation vectors in radians of SMPL's joints 1..23 relative to a
T-pose; x to the subject's left, y up, z to the front), ``root_orient`` (poses × 3) and ``source`` ("clip:frame").

The shipped prior was made from 3,000 poses of the CMU Graphics Lab Motion Capture Database, subjects 01 and 02 (21
clips: climbing, walking, jumping, stooping, swordplay, washing), thinned for diversity by farthest-point sampling; the
clips in ``HELD_OUT_CLIPS`` are left out. The originals are the ASF skeletons and AMC motions of those subjects at
mocap.cs.cmu.edu, free to use; converting them means writing each AMC bone rotation in SMPL's tree relative to the
T-pose. Only fitted parameters are written, never poses.

Every pose is used twice, unchanged and mirrored, so the density is exactly symmetric.
"""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click
import numpy as np
from jaxtyping import Float, Shaped

from engine.body.files import replace_file
from engine.body.pose_prior import FORMAT, POSED_JOINTS, VERSION, mirror_indices

CREDIT = (
    "The data used in this project was obtained from mocap.cs.cmu.edu. "
    "The database was created with funding from NSF EIA-0196217."
)

HELD_OUT_CLIPS = ("01_04", "01_09", "01_12", "02_02", "02_08")
"""Clips that are held out from the shipped prior, so that fits can be tested on their poses: 592 poses of 3,000."""

# Standard deviations in degrees, about x, y and z, added to those of the data for motions that the data lack. Collars
# and hands never move in it, elbows are perfect hinges and knees nearly so; wrists and toes are noisy, so their prior
# is loose. Nobody in it spreads or crosses the legs, so hips have added y and z (results.md, "Pose prior").
_FLOOR_DEGREES = {
    "hip": (3.0, 10.0, 10.0),
    "knee": (5.0, 5.0, 5.0),
    "ankle": (5.0, 5.0, 5.0),
    "foot": (10.0, 10.0, 10.0),
    "collar": (6.0, 6.0, 6.0),
    "elbow": (5.0, 5.0, 5.0),
    "wrist": (20.0, 20.0, 20.0),
    "hand": (10.0, 10.0, 10.0),
}
_OTHER_FLOOR_DEGREES = (3.0, 3.0, 3.0)

# Correlations between joints are partly habits of the captured people. Without shrinkage, poses of another subject are
# thousands of times less likely and fits of them are worse (benchmarks/results.md, "Pose prior").
_SHRINKAGE = 0.3

# Flexion of the left joint; the right one is its mirror image. Anatomical ranges, a little wider than the data's
# (elbows −4.5° to 150°, knees −3.1° to 153°). The elbows' axis is the data's: 30° forward of the vertical.
_HINGES = {
    "knee": ((1.0, 0.0, 0.0), (-5.0, 155.0)),
    "elbow": ((0.0, -(0.75**0.5), 0.5), (-5.0, 155.0)),
}
_HINGE_SOFTNESS_DEGREES = 5.0


class PoseFileError(ValueError):
    """A file does not hold poses for the prior."""


@dataclass(frozen=True)
class CapturedPoses:
    """Poses of motion capture, flat, and the clip that each was taken from."""

    poses: Float[np.ndarray, "poses coordinates"]
    """Radians, float64."""
    root_orient: Float[np.ndarray, "poses 3"]
    """Rotation of the pelvis in a world with y up; the prior does not use it."""
    clips: Shaped[np.ndarray, " poses"]


@dataclass(frozen=True)
class Mixture:
    """A fitted density; the prior file's arrays."""

    mean: Float[np.ndarray, "components coordinates"]
    axes: Float[np.ndarray, "components coordinates coordinates"]
    log_weights: Float[np.ndarray, " components"]


def read_poses(path: str | os.PathLike[str]) -> CapturedPoses:
    """Read a poses file.

    Raises:
        PoseFileError: not an .npz with ``body_pose`` and ``source`` that fit together.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            body_pose, root_orient, source = (stored[name] for name in ("body_pose", "root_orient", "source"))
    except (OSError, ValueError, KeyError) as error:
        raise PoseFileError(
            f"{os.fspath(path)}: no poses file with body_pose, root_orient and source ({error})"
        ) from error
    if (
        body_pose.shape[1:] != (len(POSED_JOINTS), 3)
        or root_orient.shape != (len(body_pose), 3)
        or source.shape != body_pose.shape[:1]
    ):
        raise PoseFileError(
            f"{os.fspath(path)}: body_pose, root_orient and source have shapes {body_pose.shape}, {root_orient.shape} "
            f"and {source.shape}, expected (poses, {len(POSED_JOINTS)}, 3), (poses, 3) and (poses,)"
        )
    if not (np.isfinite(body_pose).all() and np.isfinite(root_orient).all()):
        raise PoseFileError(f"{os.fspath(path)}: holds NaN or infinity")
    clips = np.array([str(name).partition(":")[0] for name in source])
    return CapturedPoses(
        body_pose.reshape(len(body_pose), -1).astype(np.float64), root_orient.astype(np.float64), clips
    )


def without_clips(captured: CapturedPoses, clips: Collection[str]) -> CapturedPoses:
    """The poses of all other clips."""
    kept = ~np.isin(captured.clips, list(clips))
    return CapturedPoses(captured.poses[kept], captured.root_orient[kept], captured.clips[kept])


def with_mirror_images(poses: Float[np.ndarray, "poses coordinates"]) -> Float[np.ndarray, "doubled coordinates"]:
    """The poses followed by their mirror images."""
    columns, signs = mirror_indices()
    return np.concatenate([poses, poses[:, columns] * signs])


def floor_deviations() -> Float[np.ndarray, " coordinates"]:
    """The standard deviation, in radians, that is added to each coordinate's spread."""
    degrees = [_FLOOR_DEGREES.get(joint.rpartition("_")[2], _OTHER_FLOOR_DEGREES) for joint in POSED_JOINTS]
    return np.radians(degrees).reshape(-1)


def symmetric_axes(
    covariance: Float[np.ndarray, "coordinates coordinates"],
) -> Float[np.ndarray, "coordinates coordinates"]:
    """Principal axes of a mirror-symmetric covariance, each exactly even or odd under mirroring.

    Even and odd coordinates, (x_a ± s x_b)/√2 over the pairs that mirroring swaps, do not correlate, so each half has
    its own eigenvectors, and mirroring a pose only flips the signs of the odd whitened coordinates.
    """
    columns, signs = mirror_indices()
    count = len(columns)
    halves = []
    for parity in (1.0, -1.0):
        basis = []
        for a, b in enumerate(columns):
            unit = np.zeros(count)
            if a < b:
                unit[[a, b]] = np.sqrt(0.5), parity * signs[a] * np.sqrt(0.5)
                basis.append(unit)
            elif a == b and signs[a] == parity:
                unit[a] = 1.0
                basis.append(unit)
        half = np.stack(basis, axis=1)
        variances, vectors = np.linalg.eigh(half.T @ covariance @ half)
        halves.append(half @ (vectors * np.sqrt(variances)))
    axes = np.concatenate(halves, axis=1)
    return axes[:, np.argsort(-np.sum(axes**2, axis=0), kind="stable")]


def fit_gaussian(
    poses: Float[np.ndarray, "poses coordinates"],
    shrinkage: float = _SHRINKAGE,
    floors: Float[np.ndarray, " coordinates"] | None = None,
) -> Mixture:
    """One mirror-symmetric Gaussian over poses and their mirror images.

    Args:
        shrinkage: share of every correlation between different joints that is removed (0 keeps all, 1 none).
        floors: radians; by default ``floor_deviations()``.
    """
    columns, signs = mirror_indices()
    both = with_mirror_images(poses)
    mean = both.mean(axis=0)
    # Summation order leaves rounding between the halves; averaging with the mirror image removes it.
    mean = 0.5 * (mean + signs * mean[columns])
    covariance = (both - mean).T @ (both - mean) / len(both)
    same_joint = np.kron(np.eye(len(POSED_JOINTS)), np.ones((3, 3)))
    covariance *= same_joint + (1 - shrinkage) * (1 - same_joint)
    covariance += np.diag((floor_deviations() if floors is None else floors) ** 2)
    covariance = 0.5 * (covariance + np.outer(signs, signs) * covariance[np.ix_(columns, columns)])
    return Mixture(mean[None], symmetric_axes(covariance)[None], np.zeros(1))


def write_prior(path: str | os.PathLike[str], mixture: Mixture, captured: CapturedPoses) -> None:
    """Write a prior file: the mixture, the hinges and their provenance."""
    columns, signs = mirror_indices()
    joints, axes, ranges = [], [], []
    for name, (axis, bounds) in _HINGES.items():
        left = POSED_JOINTS.index(f"left_{name}")
        joints += [left, columns[3 * left] // 3]
        axes += [np.array(axis), np.array(axis) * signs[:3]]
        ranges += [bounds, bounds]
    header = {
        "format": FORMAT,
        "version": VERSION,
        "joints": list(POSED_JOINTS),
        "source": f"CMU motion capture, {len(captured.poses)} poses of {len(set(captured.clips))} clips, and mirrored",
        "credit": CREDIT,
    }
    lower, upper = np.radians(np.array(ranges)).T
    arrays = {
        "mean": mixture.mean,
        "axes": mixture.axes,
        "log_weights": mixture.log_weights,
        "hinge_axes": np.array(axes),
        "hinge_lower": lower,
        "hinge_upper": upper,
        "hinge_softness": np.full(len(joints), np.radians(_HINGE_SOFTNESS_DEGREES)),
    }

    def write(stream: IO[bytes]) -> None:
        np.savez_compressed(
            stream,
            header=np.array(json.dumps(header)),
            hinge_joints=np.array(joints, np.int32),
            **{name: values.astype(np.float32) for name, values in arrays.items()},  # pyright: ignore[reportArgumentType]
        )

    replace_file(path, write)


@click.command()
@click.option("--poses", "poses_path", required=True, type=click.Path(path_type=Path), help="poses.npz, see above")
@click.option("--out", "out_path", required=True, type=click.Path(path_type=Path), help="the prior file to write")
def main(poses_path: Path, out_path: Path) -> None:
    """Fit the pose prior to motion capture poses and write its parameters."""
    try:
        captured = without_clips(read_poses(poses_path), HELD_OUT_CLIPS)
    except PoseFileError as error:
        raise click.UsageError(str(error)) from error
    write_prior(out_path, fit_gaussian(captured.poses), captured)
    click.echo(f"{out_path}: {out_path.stat().st_size / 1024:.0f} kB from {len(captured.poses)} poses")


if __name__ == "__main__":
    main()
