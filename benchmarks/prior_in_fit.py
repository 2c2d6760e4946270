"""``python -m benchmarks.prior_in_fit --poses poses.npz``: what the pose prior does to posed fits and to identity.

*Settings*: the shipped prior's shrinkage, floors and width are varied, one at a time. People are drawn in poses of
held-out clips, in the same poses with collars and hips moving more than any in the data, and in the poses of a subject
that the prior was not fitted to. PA-MPJPE is that of fits at the true shape; AUC that of the log Bayes factor of single
pictures against four references, all people against all. *Pull*: poses that a prior might pull towards standing. A fit
that is pulled misses the keypoints; where they are met and joints are not, a limb was taken for its mirror image in
depth, which no single picture forbids. COCO-17, weak perspective, any view.
"""

from collections.abc import Iterator
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
    floor_deviations,
    read_poses,
    without_clips,
)
from benchmarks.dense_fit import LIMBS, aligned_error_mm
from benchmarks.identity_metrics import separation
from benchmarks.pose_prior import UNUSUAL_POSES, unusual_pose
from benchmarks.synthetic import PoseSet, SyntheticPictures, SyntheticSettings, held_out_poses, make_pictures
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody, pose_skeleton, reduce_body
from engine.body.pose_prior import POSED_JOINTS, PosePrior, load_pose_prior
from engine.body.schemas import COCO_17
from engine.evidence.shape_evidence import Evidence, log_bayes_factor
from engine.picture.noise import NoiseModel
from engine.posed.fit import fit_poses, fit_shapes, make_context, observe_pictures
from engine.posed.results import shape_evidence
from engine.posed.search import PosedContext

_NOISE_LEVEL = 0.005
_PULL_NOISE_LEVEL = 0.01
_PICTURES = 8
_REFERENCES = 4

SETTINGS: dict[str, dict] = {
    "as shipped": {},
    "no shrinkage": {"shrinkage": 0.0},
    "shrinkage 0.5": {"shrinkage": 0.5},
    "shrinkage 1": {"shrinkage": 1.0},
    "covariance × 0.7": {"inflation": 0.7},
    "covariance × 1.4": {"inflation": 1.4},
    "hips' floor 3°": {"floors": {"hip": 3}},
    "collars' floor 4°": {"floors": {"collar": 4}},
    "collars' floor 8°": {"floors": {"collar": 8}},
}


def make_prior(
    poses: Float[np.ndarray, "poses 69"],
    shrinkage: float | None = None,
    inflation: float = 1.0,
    floors: dict[str, float] | None = None,
) -> PosePrior:
    """The shipped kind of prior with some settings changed; floors in degrees by body part."""
    deviations = floor_deviations().reshape(-1, 3)
    for joint, name in enumerate(POSED_JOINTS):
        part = name.rpartition("_")[2]
        if floors and part in floors:
            deviations[joint] = np.radians(floors[part])
    given = {} if shrinkage is None else {"shrinkage": shrinkage}
    fitted = fit_gaussian(poses, floors=deviations.reshape(-1), **given)
    arrays = jnp.asarray(fitted.mean[0], jnp.float32), jnp.asarray(fitted.axes[0] * np.sqrt(inflation), jnp.float32)
    return eqx.tree_at(lambda prior: (prior.mean, prior.axes), load_pose_prior(), arrays)


def _looser(poses: PoseSet) -> PoseSet:
    """Collars that turn by 8°, hips by 8° more about y and z, knees and elbows by 4°, as the data's never do."""
    generator, pose = np.random.default_rng(3), poses.body_pose.copy()
    degrees = {"collar": (8, 8, 8), "hip": (0, 8, 8), "knee": (4, 4, 4), "elbow": (4, 4, 4)}
    for joint, name in enumerate(POSED_JOINTS):
        spread = np.radians(degrees.get(name.rpartition("_")[2], (0, 0, 0)))
        pose[:, joint] += spread * generator.standard_normal((len(pose), 3))
    return PoseSet(pose, poses.root_orient)


def _trials(
    body: KeypointBody, captured: CapturedPoses, people: int
) -> Iterator[tuple[str, SyntheticPictures, Float[np.ndarray, "poses 69"]]]:
    """Name, pictures, and the poses that the prior may be fitted to."""
    settings = SyntheticSettings(people=people, pictures=_PICTURES, noise_level=_NOISE_LEVEL, seed=5)
    known, held_out = without_clips(captured, HELD_OUT_CLIPS).poses, held_out_poses(captured)
    yield "new clip", make_pictures(body, held_out, settings), known
    yield "new clip, looser", make_pictures(body, _looser(held_out), settings), known
    subjects = np.array([clip.partition("_")[0] for clip in captured.clips])
    for subject in np.unique(subjects):
        poses = held_out_poses(captured, tuple(np.unique(captured.clips[subjects == subject])))
        yield f"new subject {subject}", make_pictures(body, poses, settings), captured.poses[subjects != subject]


def _flat(pictures: SyntheticPictures) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keypoints = pictures.keypoints_px.reshape(-1, *pictures.keypoints_px.shape[2:]).astype(np.float32)
    confidence = pictures.confidence.reshape(len(keypoints), -1).astype(np.float32)
    return keypoints, confidence, np.repeat(pictures.betas, pictures.confidence.shape[1], axis=0).astype(np.float32)


@jax.jit
def _joints(
    body: KeypointBody, betas: Float[jax.Array, "images betas"], pose: Float[jax.Array, "images joints 3"]
) -> Float[jax.Array, "images joints 3"]:
    return jax.vmap(lambda b, p: pose_skeleton(body, b, p).positions)(betas, pose)


def pose_errors(
    context: PosedContext, pictures: SyntheticPictures
) -> tuple[Float[np.ndarray, " images"], Float[np.ndarray, " images"]]:
    """PA-MPJPE in mm, and root mean square of the distances to the keypoints in person heights, of each picture,
    fitted at its true shape."""
    keypoints, confidence, betas = _flat(pictures)
    fit = fit_poses(context, observe_pictures(context, keypoints, confidence), betas)
    found = np.asarray(_joints(context.model.body, jnp.asarray(betas), jnp.asarray(fit.pose)), np.float64)[:, LIMBS]
    truth = pictures.joints_m.reshape(-1, *pictures.joints_m.shape[2:])[:, LIMBS]
    missed = np.sqrt(np.mean(np.sum(np.asarray(fit.residuals, np.float64) ** 2, axis=-1), axis=-1))
    return np.array([aligned_error_mm(a, b) for a, b in zip(found, truth, strict=True)]), missed


def identity_auc(context: PosedContext, pictures: SyntheticPictures) -> float:
    """Log Bayes factor of every later picture against everybody's first four, fused."""
    keypoints, confidence, _ = _flat(pictures)
    people = len(pictures.betas)
    fit = fit_shapes(context, observe_pictures(context, keypoints, confidence))
    evidence = shape_evidence(context, fit)
    by_person = jax.tree.map(lambda leaf: jnp.asarray(leaf).reshape(people, -1, *leaf.shape[1:]), evidence)
    references = jax.tree.map(lambda leaf: leaf[:, :_REFERENCES].sum(axis=1), by_person)
    probes = jax.tree.map(lambda leaf: leaf[:, _REFERENCES:].reshape(-1, *leaf.shape[2:]), by_person)

    def against(probe: Evidence) -> Float[jax.Array, " people"]:
        return jax.vmap(lambda reference: log_bayes_factor(reference, probe))(references)

    score = np.asarray(jax.vmap(against)(probes))
    owner = np.repeat(np.arange(people), _PICTURES - _REFERENCES)
    return separation(score.reshape(-1), (owner[:, None] == np.arange(people)).reshape(-1)).auc


def settings_table(body: KeypointBody, captured: CapturedPoses, people: int) -> Table:
    """Error and separation for every setting."""
    trials = list(_trials(body, captured, people))
    table = Table("prior", *(name for name, _, _ in trials), title="PA-MPJPE in mm, AUC")
    for name, changes in SETTINGS.items():
        cells = []
        for _, pictures, poses in trials:
            context = make_context(body, make_prior(poses, **changes), NoiseModel(level=_NOISE_LEVEL))
            cells.append(f"{pose_errors(context, pictures)[0].mean():.1f}, {identity_auc(context, pictures):.3f}")
        table.add_row(name, *cells)
    return table


def pull_table(body: KeypointBody, people: int) -> Table:
    """Error of fits of unusual poses with the shipped prior, standing and lying."""
    context = make_context(body, noise=NoiseModel(level=_PULL_NOISE_LEVEL))
    table = Table(
        "pose", "upright", "lying", title="medians: PA-MPJPE, distance to the keypoints in % of person height"
    )
    for seed, name in enumerate(UNUSUAL_POSES):
        poses, cells = PoseSet(unusual_pose(name)[None], np.zeros((1, 3))), []
        for posture in ("upright", "lying"):
            settings = SyntheticSettings(people=people, noise_level=_PULL_NOISE_LEVEL, seed=10 + seed, posture=posture)
            errors, missed = pose_errors(context, make_pictures(body, poses, settings))
            cells.append(f"{np.median(errors):.0f} mm, {100 * np.median(missed):.2f} %")
        table.add_row(name, *cells)
    return table


@click.command()
@click.option("--poses", "poses_path", required=True, type=click.Path(path_type=Path), help="poses.npz")
@click.option("--people", default=100, show_default=True, help="of 8 pictures each")
def main(poses_path: Path, people: int) -> None:
    """Vary the pose prior and fit."""
    body, console = reduce_body(load_embedded_body(), COCO_17), Console(width=140)
    console.print(pull_table(body, max(1, people // 10)))
    console.print(settings_table(body, read_poses(poses_path), people))


if __name__ == "__main__":
    main()
