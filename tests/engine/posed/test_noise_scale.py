"""The noise of a picture is found from its own fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from benchmarks.synthetic import SyntheticSettings, make_pictures, sampled_poses
from engine.body.keypoint_body import KeypointBody
from engine.body.pose_prior import load_pose_prior
from engine.picture.noise import NoiseModel
from engine.posed.fit import fit_shapes, make_context, observe_pictures
from engine.posed.jacobian import linearise
from engine.posed.noise_scale import log_likelihood, noise_scale
from engine.solvers.levenberg_marquardt import LinearModel

LIKELIHOOD_TOLERANCE = 1e-3
"""Nats: float32 against a dense Gaussian in float64."""


def _rows(seed: int, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    root, frame, values = (
        draw.normal(size=(len(seen), 4)),
        draw.normal(size=(len(seen), 3)),
        draw.normal(size=len(seen)),
    )
    return (seen[:, None] * root) @ (seen[:, None] * root).T, seen[:, None] * frame, seen * values


def _likelihood(covariance, frame, values, seen, scale) -> float:
    parts = (jnp.asarray(part, jnp.float32) for part in (covariance, frame, values))
    return float(log_likelihood(*parts, jnp.asarray(seen), jnp.asarray(scale, jnp.float32)))


def test_likelihood_is_that_of_values_in_which_the_frame_cannot_be_seen() -> None:
    """Differences between scales: the Gaussian of Qᵀ y, Q the complement of the frame's columns."""
    seen = np.ones(12, bool)
    covariance, frame, values = _rows(0, seen)
    hidden = np.linalg.qr(frame, mode="complete")[0][:, 3:]

    def expected(scale: float) -> float:
        variance = hidden.T @ (covariance + scale**2 * np.eye(12)) @ hidden
        return scipy.stats.multivariate_normal(np.zeros(9), variance).logpdf(hidden.T @ values)

    base = _likelihood(covariance, frame, values, seen, 1.0) - expected(1.0)
    for scale in (0.3, 0.7, 3.0):
        ours = _likelihood(covariance, frame, values, seen, scale) - base
        assert ours == pytest.approx(expected(scale), abs=LIKELIHOOD_TOLERANCE)


def test_an_unseen_row_says_nothing() -> None:
    seen = np.arange(14) < 12
    covariance, frame, values = _rows(1, seen)
    part = (covariance[:12, :12], frame[:12], values[:12], seen[:12])
    for scale in (0.3, 3.0):
        whole = _likelihood(covariance, frame, values, seen, scale)
        assert whole == pytest.approx(_likelihood(*part, scale), abs=LIKELIHOOD_TOLERANCE)


def test_a_picture_in_which_nothing_was_seen_leaves_the_assumed_noise() -> None:
    nothing = LinearModel(*(jnp.zeros(shape) for shape in ((34,), (34, 5), (34, 16), (5,), (16,), (16,))))
    assert float(noise_scale(nothing, jnp.zeros(10), jnp.zeros(17, bool))) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_noise_is_found_between_what_was_assumed_and_the_truth(coco_body: KeypointBody) -> None:
    context = make_context(coco_body, noise=NoiseModel(0.01))
    poses = sampled_poses(load_pose_prior(), count=100)
    found = []
    for level in (0.005, 0.01, 0.02):
        drawn = make_pictures(coco_body, poses, SyntheticSettings(people=16, pictures=4, seed=3, noise_level=level))
        observed = observe_pictures(context, drawn.keypoints_px.reshape(64, -1, 2), drawn.confidence.reshape(64, -1))
        fit = fit_shapes(context, observed)

        @jax.jit
        @jax.vmap
        def scale(picture, unknowns):
            linear = linearise(context.problem, picture, unknowns, free_betas=True)
            return noise_scale(linear, picture.betas, picture.observation.confidence > 0)

        pictures, unknowns = jax.tree.map(jnp.asarray, (fit.pictures, fit.unknowns))
        found.append(float(np.exp(np.log(scale(pictures, unknowns)).mean())))
    assert 0.5 < found[0] < 0.9
    assert 0.85 < found[1] < 1.15
    assert 1.15 < found[2] < 2.0
