"""Noise by keypoint is found from fits alone, and does not care which side a keypoint is on."""

import equinox as eqx
import numpy as np
import pytest

from benchmarks.synthetic import SyntheticSettings, make_pictures, sampled_poses
from engine.body.keypoint_body import KeypointBody
from engine.body.pose_prior import load_pose_prior
from engine.evidence.keypoint_noise import keypoint_noise
from engine.posed.fit import POSED_NOISE, fit_shapes, make_context, observe_pictures
from engine.posed.results import PosedFit
from engine.posed.search import PosedContext

FACTORS = {"left_ankle": 2.5, "right_ankle": 2.5, "left_shoulder": 0.5, "right_shoulder": 0.5}


@pytest.fixture(scope="module")
def fitted(coco_body: KeypointBody) -> tuple[PosedContext, PosedFit]:
    """256 pictures whose ankles are noisier than assumed, and whose shoulders are less noisy."""
    context = make_context(coco_body)
    poses = sampled_poses(load_pose_prior(), count=100)
    drawn = make_pictures(coco_body, poses, SyntheticSettings(people=64, pictures=4, seed=5))
    factors = np.array([FACTORS.get(name, 1.0) for name in coco_body.schema.keypoint_names])
    sigmas = np.asarray(POSED_NOISE.sigmas(coco_body.schema)) * factors
    noise = np.random.default_rng(0).normal(size=drawn.true_keypoints_px.shape) * sigmas[:, None]
    keypoints = drawn.true_keypoints_px + noise * drawn.person_height_px[..., None, None]
    pictures = (keypoints.reshape(256, -1, 2), drawn.confidence.reshape(256, -1))
    return context, fit_shapes(context, observe_pictures(context, *(part.astype(np.float32) for part in pictures)))


@pytest.mark.slow
def test_noise_is_found_between_what_was_assumed_and_the_truth(fitted: tuple[PosedContext, PosedFit]) -> None:
    found = keypoint_noise(*fitted)
    # One round leaves the estimate nearer to the assumption: 1.38 and 0.70 of 2.5 and 0.5.
    assert 1.2 < found["left_ankle"] < 2.5
    assert 0.5 < found["left_shoulder"] < 0.8
    others = [factor for name, factor in found.items() if name not in FACTORS]
    assert 0.8 < min(others) < max(others) < 1.2


@pytest.mark.slow
def test_left_and_right_are_alike(fitted: tuple[PosedContext, PosedFit]) -> None:
    found = keypoint_noise(*fitted)
    assert all(found[name] == found[name.replace("left", "right")] for name in found if name.startswith("left"))


@pytest.mark.slow
def test_a_keypoint_that_is_never_seen_stays_where_it_was(fitted: tuple[PosedContext, PosedFit]) -> None:
    context, fit = fitted
    confidence = np.array(fit.pictures.observation.confidence)
    wrists = [context.model.body.schema.keypoint_names.index(f"{side}_wrist") for side in ("left", "right")]
    confidence[:, wrists] = 0
    blind = eqx.tree_at(lambda f: f.pictures.observation.confidence, fit, confidence)
    found = keypoint_noise(context, blind)
    assert found["left_wrist"] == pytest.approx(1.0)
    assert found["left_ankle"] > 1.2


@pytest.mark.slow
def test_nothing_fitted_is_an_error(fitted: tuple[PosedContext, PosedFit]) -> None:
    context, fit = fitted
    with pytest.raises(ValueError, match="no picture could be fitted"):
        keypoint_noise(context, eqx.tree_at(lambda f: f.energy, fit, np.full_like(fit.energy, np.nan)))
