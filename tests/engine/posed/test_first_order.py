"""Adam and L-BFGS find the minima that Levenberg-Marquardt finds: of single pictures and of one shape for several."""

import numpy as np
import pytest

from benchmarks.synthetic import SyntheticSettings, make_pictures, sampled_poses
from engine.body.keypoint_body import KeypointBody
from engine.body.pose_prior import load_pose_prior
from engine.posed.fit import fit_shapes, make_context, observe_pictures
from engine.posed.shared_shape import fit_shared_shapes

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


def test_adam_ends_where_levenberg_marquardt_ends(context, observations) -> None:
    """In all but one picture: starts that lie between two minima may go either way."""
    expected, found = (fit_shapes(context, observations, solver=solver).energy for solver in ("lm", "adam"))
    assert np.sum(np.abs(found - expected) < SAME_ENERGY * expected) >= PEOPLE * PICTURES - 1


def test_lbfgs_finds_the_same_shared_shapes(context, observations) -> None:
    person = np.repeat(np.arange(PEOPLE), PICTURES)
    expected, found = (fit_shared_shapes(context, observations, person, solver=s) for s in ("lm", "lbfgs"))
    same = np.abs(found.energy - expected.energy) < SAME_ENERGY * expected.energy
    assert same.any()
    np.testing.assert_allclose(found.betas[same], expected.betas[same], atol=0.05)
    # Where one of the two has ended in another minimum, nothing says whose is better.
    assert (found.energy < 1.5 * expected.energy).all()
