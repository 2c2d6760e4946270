"""``python -m benchmarks.pose_prior --poses poses.npz``: which form of pose prior is best.

Three tables. *Likelihood*: mean log density, in nats, of poses that the density was not fitted to, by five-fold
cross-validation over clips and by leaving one subject out. *Unusual poses*: their energy under the shipped prior beside
that of held-out poses. *Fits*: PA-MPJPE of COCO-17 fits at 1 % noise and known shape, by ``benchmarks.dense_fit``,
which takes any form. What the engine's own fits make of the chosen form is in ``benchmarks.prior_in_fit``.
"""

from pathlib import Path

import click
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.table import Table

from adapters.bodies.makers.pose_prior_export import (
    HELD_OUT_CLIPS,
    CapturedPoses,
    fit_gaussian,
    read_poses,
    without_clips,
)
from benchmarks.dense_fit import QuadraticParts, fit_pictures, parts_of_density, parts_of_gaussian
from benchmarks.pose_densities import Form, core_basis, fit_density, log_density
from benchmarks.synthetic import SyntheticPictures, SyntheticSettings, held_out_poses, make_pictures
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody, reduce_body
from engine.body.pose_prior import POSED_JOINTS, Hinges, hinge_residuals, load_pose_prior
from engine.body.schemas import COCO_17

_NOISE_LEVEL = 0.01

FORMS = {
    "diagonal Gaussian": Form(diagonal=True),
    "Gaussian": Form(),
    "Gaussian, rank 6": Form(rank=6),
    "Gaussian, rank 12": Form(rank=12),
    "Gaussian, rank 24": Form(rank=24),
    "Gaussian × 1.5": Form(inflation=1.5),
    "Gaussian × 3": Form(inflation=3),
    "Gaussian, floor 5°": Form(floor_degrees=5),
    "Gaussian, floor 8°": Form(floor_degrees=8),
    "Gaussian, shrunk 0.1": Form(shrinkage=0.1),
    "Gaussian, shrunk 0.3": Form(shrinkage=0.3),
    "Gaussian, shrunk 0.5": Form(shrinkage=0.5),
    "Gaussian, shrunk 1": Form(shrinkage=1.0),
    "t, ν = 5": Form(degrees_of_freedom=5),
    "t, ν = 20": Form(degrees_of_freedom=20),
    "t, ν = 10, shrunk 0.3": Form(degrees_of_freedom=10, shrinkage=0.3),
    "2 Gaussians": Form(singles=2),
    "3 Gaussians": Form(pairs=1),
    "5 Gaussians": Form(pairs=2),
    "8 Gaussians": Form(singles=0, pairs=4),
    "16 Gaussians": Form(singles=0, pairs=8),
    "3 Gaussians, shrunk 0.3": Form(pairs=1, shrinkage=0.3),
    "8 Gaussians, diagonal": Form(singles=0, pairs=4, diagonal=True),
    "8 Gaussians, rank 8": Form(singles=0, pairs=4, rank=8),
    "5 t, ν = 10": Form(pairs=2, degrees_of_freedom=10),
}
FITTED_FORMS = ("Gaussian", "Gaussian × 1.5", "t, ν = 5", "3 Gaussians", "Gaussian, shrunk 0.3", "Gaussian, shrunk 0.5")

# Degrees about x, y, z of the left joint; the right one is mirrored. What is not named stays at the prior's mean.
UNUSUAL_POSES: dict[str, dict[str, tuple[float, float, float]]] = {
    "standing": {"hip": (0, 0, 3), "knee": (5, 0, 0), "shoulder": (0, -20, -75), "elbow": (0, -15, 8)},
    "sitting": {"hip": (-90, 0, 3), "knee": (90, 0, 0)},
    "arms up": {"shoulder": (0, -20, 60), "elbow": (0, -20, 10)},
    "squatting": {"hip": (-110, 0, 5), "knee": (130, 0, 0)},
    "hugging the knees": {"hip": (-120, 0, 5), "knee": (140, 0, 0), "shoulder": (0, -60, -40), "elbow": (0, -60, 35)},
    "cross-legged": {"hip": (-85, 40, 45), "knee": (130, 0, 0)},
    "legs spread 120°": {"hip": (0, 0, 60), "knee": (0, 0, 0)},
}


def unusual_pose(name: str) -> Float[np.ndarray, "23 3"]:
    """Radians."""
    pose = np.asarray(load_pose_prior().mean, np.float64).reshape(-1, 3).copy()
    for joint, degrees in UNUSUAL_POSES[name].items():
        pose[POSED_JOINTS.index(f"left_{joint}")] = np.radians(degrees)
        pose[POSED_JOINTS.index(f"right_{joint}")] = np.radians(degrees) * [1, -1, -1]
    return pose


def _folds(captured: CapturedPoses) -> dict[str, np.ndarray]:
    order = np.random.default_rng(0).permutation(np.unique(captured.clips))
    of_clip = {clip: i % 5 for i, clip in enumerate(order)}
    subjects = np.array([clip.partition("_")[0] for clip in captured.clips])
    return {"clips": np.array([of_clip[clip] for clip in captured.clips]), "subject": subjects}


def _held_out_likelihood(form: Form, captured: CapturedPoses, fold: np.ndarray) -> np.ndarray:
    points, result = captured.poses @ core_basis().T, np.zeros(len(captured.poses))
    for value in np.unique(fold):
        inside = fold == value
        result[inside] = log_density(fit_density(form, captured.poses[~inside]), points[inside])
    return result


def _rarest(captured: CapturedPoses, fold: np.ndarray) -> np.ndarray:
    reference = _held_out_likelihood(Form(), captured, fold)
    return reference <= np.quantile(reference, 0.1)


def deep_bends(poses: Float[np.ndarray, "poses 69"]) -> np.ndarray:
    """A hip and the knee below it both bent by more than 70°."""

    def bend(part: str) -> np.ndarray:
        return poses[:, [3 * POSED_JOINTS.index(f"{side}_{part}") for side in ("left", "right")]]

    return np.any(np.minimum(-bend("hip"), bend("knee")) > np.radians(70), axis=1)


def raised_arms(poses: Float[np.ndarray, "poses 69"]) -> np.ndarray:
    """An upper arm above the shoulder."""
    left, right = (poses[:, 3 * POSED_JOINTS.index(f"{side}_shoulder") + 2] for side in ("left", "right"))
    return (left > 0) | (right < 0)


def likelihood_table(captured: CapturedPoses) -> Table:
    """Held-out log likelihood of every form; the clips that test fits are not used."""
    known = without_clips(captured, HELD_OUT_CLIPS)
    folds = _folds(known)
    subsets = {"rarest tenth": _rarest(known, folds["clips"]), "deep bends": deep_bends(known.poses)}
    subsets["raised arms"] = raised_arms(known.poses)
    table = Table("form", "new clip", *subsets, "new subject", title=f"nats per pose, {len(known.poses)} poses")
    for name, form in FORMS.items():
        clip, subject = (_held_out_likelihood(form, known, fold) for fold in folds.values())
        values = [clip.mean(), *(clip[chosen].mean() for chosen in subsets.values()), subject.mean()]
        table.add_row(name, *(f"{value:.1f}" for value in values))
    return table


def unusual_table(captured: CapturedPoses) -> Table:
    """Energies under the shipped prior."""
    prior = load_pose_prior()
    mean, axes = np.asarray(prior.mean, np.float64), np.asarray(prior.axes, np.float64)

    def energy(pose: np.ndarray) -> np.ndarray:
        whitened = ((pose.reshape(-1, len(mean)) - mean) @ axes) / np.sum(axes**2, axis=0)
        return 0.5 * np.sum(whitened**2, axis=-1)

    held_out = energy(np.asarray(held_out_poses(captured).body_pose))
    table = Table("pose", "energy", "held-out poses above it", title="½|z|² under the shipped prior")
    for name in UNUSUAL_POSES:
        value = energy(np.asarray(unusual_pose(name))).item()
        table.add_row(name, f"{value:.1f}", f"{np.mean(held_out > value):.0%}")
    for share in (5, 50, 95):
        table.add_row(f"held-out poses, {share} % below", f"{np.percentile(held_out, share):.1f}", "")
    return table


def fit_table(body: KeypointBody, captured: CapturedPoses, people: int) -> Table:
    """Error of fits with each form, on other clips and on another subject than it was fitted to."""
    known = without_clips(captured, HELD_OUT_CLIPS)
    subjects = np.array([clip.partition("_")[0] for clip in captured.clips])
    splits = {"new clip": (known.poses, HELD_OUT_CLIPS)}
    for subject in np.unique(subjects):
        clips = tuple(np.unique(captured.clips[subjects == subject]))
        splits[f"new subject {subject}"] = (captured.poses[subjects != subject], clips)
    settings = SyntheticSettings(people=people, noise_level=_NOISE_LEVEL, seed=4)
    table = Table("form", *splits, title="PA-MPJPE in mm: from the true pose / from four sides")
    limits, columns = load_pose_prior().hinges, []
    unlimited = eqx.tree_at(lambda hinges: hinges.softness, limits, limits.softness * 1e6)
    for poses, clips in splits.values():
        pictures = make_pictures(body, held_out_poses(captured, clips), settings)
        rows = [parts_of_density(fit_density(FORMS[name], poses), poses) for name in FITTED_FORMS]
        shipped = fit_gaussian(poses)
        rows.append(parts_of_gaussian(shipped.mean[0], shipped.axes[0]))
        cells = [_errors(body, parts, limits, pictures) for parts in rows]
        columns.append([*cells, _errors(body, rows[-1], unlimited, pictures)])
    for name, *cells in zip((*FITTED_FORMS, "as shipped", "as shipped, no hinges"), *columns, strict=True):
        table.add_row(name, *cells)
    return table


def _errors(body: KeypointBody, parts: QuadraticParts, limits: Hinges, pictures: SyntheticPictures) -> str:
    fits = (fit_pictures(body, parts, limits, pictures, _NOISE_LEVEL, from_truth) for from_truth in (True, False))
    return " / ".join(f"{fit.pa_mpjpe_mm.mean():.1f}" for fit in fits)


def share_within_hinges(poses: int = 20_000) -> float:
    """How much of the shipped Gaussian's mass lies where knees and elbows do not bend backwards."""
    prior = load_pose_prior()
    drawn = jax.random.normal(jax.random.key(0), (poses, len(prior.mean))) @ prior.axes.T + prior.mean
    beyond = jax.vmap(lambda pose: hinge_residuals(prior.hinges, pose.reshape(-1, 3)))(drawn)
    return float(jnp.mean(jnp.all(beyond == 0, axis=1)))


@click.command()
@click.option("--poses", "poses_path", required=True, type=click.Path(path_type=Path), help="poses.npz")
@click.option("--people", default=20, show_default=True, help="of 8 pictures each, in the tables of fits")
def main(poses_path: Path, people: int) -> None:
    """Compare forms of the pose prior."""
    captured, console = read_poses(poses_path), Console(width=140)
    body = reduce_body(load_embedded_body(), COCO_17)
    console.print(likelihood_table(captured))
    console.print(unusual_table(captured))
    inside = share_within_hinges()
    console.print(f"mass within the hinges: {inside:.2f}; cutting the rest off adds {-np.log(inside):.2f} nats")
    console.print(fit_table(body, captured, people))


if __name__ == "__main__":
    main()
