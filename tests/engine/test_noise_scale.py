"""The noise of keypoints is found from fits of unlabelled pictures."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from benchmarks.synthetic import SyntheticSettings, make_pictures, sampled_poses
from engine.keypoint_body import KeypointBody
from engine.noise_scale import Misfit, log_likelihoods, noise_scale
from engine.pose_prior import load_pose_prior
from engine.posed_fit import fit_shapes, make_context, observe_pictures
from engine.posed_results import PosedFit
from engine.posed_rounds import PosedContext
from engine.problem import NoiseModel
from engine.status import Status

RECOVERY_TOLERANCE = 0.2


def test_likelihood_is_that_of_independent_gaussians() -> None:
    explained, values = np.array([0.0, 0.3, 9.0, np.inf]), np.array([0.5, -2.0, 4.0, 0.0])
    scales = np.array([0.5, 1.0, 2.0])
    deviations = np.sqrt(scales[:, None] ** 2 + explained[:3])
    expected = scipy.stats.norm.logpdf(values[:3], 0, deviations).sum(axis=1) + 1.5 * np.log(2 * np.pi)
    misfit = Misfit(jnp.asarray(explained), jnp.asarray(values), jnp.asarray(3))
    np.testing.assert_allclose(log_likelihoods(misfit, jnp.asarray(scales)), expected, rtol=1e-5)


@pytest.fixture(scope="module")
def context(coco_body: KeypointBody) -> PosedContext:
    return make_context(coco_body, noise=NoiseModel(0.01))


def _fit(context: PosedContext, level: float) -> PosedFit:
    poses = sampled_poses(load_pose_prior(), count=100)
    settings = SyntheticSettings(people=30, pictures=3, seed=3, noise_level=level)
    drawn = make_pictures(context.model.body, poses, settings)
    observations = observe_pictures(context, drawn.keypoints_px.reshape(90, -1, 2), drawn.confidence.reshape(90, -1))
    return fit_shapes(context, observations)


@pytest.mark.slow
def test_noise_is_found_between_what_was_assumed_and_the_truth(context: PosedContext) -> None:
    scales = [noise_scale(context, _fit(context, level)) for level in (0.005, 0.01, 0.02)]
    assert 0.5 < scales[0] < 0.9
    assert scales[1] == pytest.approx(1.0, rel=RECOVERY_TOLERANCE)
    assert 1.4 < scales[2] < 2.1


def test_pictures_without_a_fit_cannot_tell(context: PosedContext) -> None:
    fit = _fit(context, 0.01)
    nothing = replace(fit, status=np.full_like(fit.status, Status.TOO_FEW_KEYPOINTS))
    with pytest.raises(ValueError, match="no picture has a fit"):
        noise_scale(context, nothing)
