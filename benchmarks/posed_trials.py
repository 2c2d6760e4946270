"""Synthetic pictures for the benchmarks of posed fits, their truth in the fit's own terms, and measures of error."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import click
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from rich.console import Console

from adapters.bodies.makers.pose_prior_export import read_poses
from benchmarks.dense_fit import LIMBS, aligned_error_mm
from benchmarks.synthetic import (
    PoseSet,
    SyntheticPictures,
    SyntheticSettings,
    held_out_poses,
    make_pictures,
    sampled_poses,
)
from engine.body import quaternions
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody, pose_skeleton, reduce_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import KeypointSchema
from engine.picture.noise import NoiseModel
from engine.picture.observation import Observation
from engine.posed.fit import make_context, observe_pictures
from engine.posed.problem import PictureUnknowns
from engine.posed.results import PosedFit
from engine.posed.search import PosedContext


class Trial(NamedTuple):
    """Pictures, one row each, and what they are fitted with."""

    context: PosedContext
    pictures: SyntheticPictures
    observations: Observation
    betas: Float[np.ndarray, "images betas"]
    """The truth."""


def choose_poses(path: Path | None) -> PoseSet:
    """Poses that the prior has not seen, or without a file of them poses drawn from the prior."""
    return sampled_poses(load_pose_prior()) if path is None else held_out_poses(read_poses(path))


def make_trial(
    schema: KeypointSchema, poses: PoseSet, settings: SyntheticSettings, assumed_noise: float, dtype: type = np.float32
) -> Trial:
    """Draw pictures and normalise them; float64 needs JAX's 64-bit mode."""
    body = reduce_body(load_embedded_body(), schema)
    pictures = make_pictures(body, poses, settings)
    context = make_context(body, noise=NoiseModel(level=assumed_noise))
    if dtype is np.float64:
        context = in_float64(context)
    count = settings.people * settings.pictures
    keypoints = pictures.keypoints_px.reshape(count, -1, 2).astype(dtype)
    confidence = pictures.confidence.reshape(count, -1).astype(dtype)
    observations = observe_pictures(context, keypoints, confidence)
    return Trial(context, pictures, observations, np.repeat(pictures.betas, settings.pictures, axis=0).astype(dtype))


def in_float64(context: PosedContext) -> PosedContext:
    """The same numbers in double precision."""

    def widen(leaf: object) -> object:
        real = isinstance(leaf, jax.Array | np.ndarray) and jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(leaf, jnp.float64) if real else leaf

    return jax.tree.map(widen, context)


def reprojection_error(fit: PosedFit) -> Float[np.ndarray, " images"]:
    """Root mean square distance between seen and fitted keypoints, person heights."""
    seen = np.asarray(fit.pictures.observation.confidence) > 0
    squared = np.sum(np.square(np.asarray(fit.residuals, np.float64)), axis=-1)
    return np.sqrt(squared.sum(axis=1) / np.maximum(seen.sum(axis=1), 1))


@jax.jit
def _joints(body: KeypointBody, betas: jax.Array, pose: jax.Array) -> jax.Array:
    return jax.vmap(lambda b, p: pose_skeleton(body, b, p).positions)(betas, pose)


def pose_error_mm(trial: Trial, fit: PosedFit) -> Float[np.ndarray, " images"]:
    """PA-MPJPE over the joints of limbs, neck and head."""
    found = np.asarray(_joints(trial.context.model.body, jnp.asarray(fit.betas), jnp.asarray(fit.pose)), np.float64)
    truth = trial.pictures.joints_m.reshape(len(found), -1, 3)
    return np.array([aligned_error_mm(a[list(LIMBS)], b[list(LIMBS)]) for a, b in zip(found, truth, strict=True)])


def true_unknowns(trial: Trial) -> PictureUnknowns:
    """The truth as the solver would say it; what the fit's own pose coordinates leave out is under 2 mm."""
    model, observations = trial.context.model, trial.observations
    pose = jnp.asarray(trial.pictures.pose.reshape(len(trial.betas), -1, 3), model.pose_mean.dtype)
    height = np.asarray(observations.person_height_px)
    translation = np.asarray(trial.pictures.camera.translation).reshape(-1, 2)
    return PictureUnknowns(
        orientation=np.asarray(jax.vmap(quaternions.from_rotation_vector)(pose[:, 0])),
        latent=np.asarray(jnp.einsum("zjc,njc->nz", model.pose_whitener, pose[:, 1:] - model.pose_mean)),
        log_scale=np.log(np.asarray(trial.pictures.camera.scale).reshape(-1) / height).astype(height.dtype),
        translation=((translation - np.asarray(observations.centre_px)) / height[:, None]).astype(height.dtype),
    )


Part = Callable[[PoseSet, int, Console], None]
"""One table of a benchmark: poses, how many pictures, where it is printed."""


def parts_command(parts: Mapping[str, Part], help_text: str, pictures: int) -> click.Command:
    """The command line of a benchmark whose tables can be asked for by name; all of them by default."""

    @click.command(help=help_text)
    @click.argument("names", metavar="[PARTS]...", nargs=-1, type=click.Choice(list(parts)))
    @click.option("--poses", type=click.Path(path_type=Path), help="poses.npz; without it poses come from the prior.")
    @click.option("--pictures", default=pictures, show_default=True, help="For each figure, or in the largest batch.")
    def command(names: tuple[str, ...], poses: Path | None, pictures: int) -> None:
        console = Console(width=120)
        for name in names or parts:
            parts[name](choose_poses(poses), pictures, console)

    return command
