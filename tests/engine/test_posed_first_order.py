"""Adam and L-BFGS find the minima that Levenberg-Marquardt finds: of single pictures and of one shape for several."""

import numpy as np
import pytest

from benchmarks.synthetic import SyntheticSettings, make_pictures, sampled_poses
from engine.keypoint_body import KeypointBody
from engine.pose_prior import load_pose_prior
from engine.posed_fit import fit_poses, fit_shapes, make_context, observe_pictures
from engine.posed_shared import fit_shared_shapes

PEOPLE, PICTURES = 2, 3
SAME_ENERGY = 0.01
"""Relative: what counts as the same minimum."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def context(coco_body: KeypointBody):
    return make_context(coco_body)


@pytest.fixture(scope="module")
def observations(context, coco_body: KeypointBody):
    settings = SyntheticSettings(people=PEOPLE, pictures=PICTURES, noise_level=0.01, seed=6)
    drawn = make_pictures(coco_body, sampled_poses(load_pose_prior(), 100), settings)
    keypoints, confidence = drawn.keypoints_px.reshape(-1, 17, 2), drawn.confidence.reshape(-1, 17)
    return observe_pictures(context, keypoints.astype(np.float32), confidence.astype(np.float32))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_poses_and_shapes_have_the_same_energy(context, observations, solver: str) -> None:
    """In all but one picture: starts that lie between two minima may go either way."""
    for fit in (lambda solver: fit_poses(context, observations, np.ones(10), solver=solver),
                lambda solver: fit_shapes(context, observations, solver=solver)):  # fmt: skip
        expected, found = fit("lm").energy, fit(solver).energy
        assert np.sum(np.abs(found - expected) < SAME_ENERGY * expected) >= PEOPLE * PICTURES - 1


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_shared_shapes_agree(context, observations, solver: str) -> None:
    person = np.repeat(np.arange(PEOPLE), PICTURES)
    expected, found = (fit_shared_shapes(context, observations, person, solver=s) for s in ("lm", solver))
    np.testing.assert_allclose(found.energy, expected.energy, rtol=SAME_ENERGY)
    np.testing.assert_allclose(found.betas, expected.betas, atol=0.05)
