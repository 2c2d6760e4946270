"""Normalisation: blind to resolution and place, deaf to what was not seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.body.keypoint_body import KeypointBody, pose_keypoints
from engine.picture.observation import REFERENCE_STATURE_M, Observation, observe

RELATIVE = 2e-4
_observe = jax.jit(observe)


def _picture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    keypoints = generator.uniform(0, 1000, (17, 2)).astype(np.float32)
    confidence = generator.uniform(0, 1, 17).astype(np.float32)
    confidence[generator.random(17) < 0.2] = 0
    return keypoints, confidence


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    zoom=st.floats(0.02, 8),
    shift=st.tuples(st.floats(-5000, 5000), st.floats(-5000, 5000)),
)
def test_resizing_and_shifting_a_picture_changes_nothing(coco_body, seed, zoom, shift) -> None:
    keypoints, confidence = _picture(seed)
    before = _observe(coco_body, keypoints, confidence)
    after = _observe(coco_body, (zoom * keypoints + np.array(shift)).astype(np.float32), confidence)
    # A picture shrunk and moved far from the origin keeps only the digits that float32 pixels have.
    tolerance = RELATIVE + 1e-6 * max(np.abs(shift)) / (zoom * float(before.person_height_px))
    np.testing.assert_allclose(after.points, before.points, atol=tolerance)
    np.testing.assert_allclose(after.person_height_px, zoom * before.person_height_px, rtol=10 * tolerance)


@given(seed=st.integers(0, 10_000), garbage=st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -7.0]))
@settings(max_examples=30, deadline=None)
def test_a_keypoint_without_confidence_has_no_effect_at_all(coco_body, seed, garbage) -> None:
    keypoints, confidence = _picture(seed)
    confidence[[3, 8]] = 0
    replaced = keypoints.copy()
    replaced[[3, 8]] = garbage
    before, after = _observe(coco_body, keypoints, confidence), _observe(coco_body, replaced, confidence)
    for name in vars(before):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name), err_msg=name)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_seen_keypoint_without_a_place_counts_as_not_seen(coco_body, bad) -> None:
    keypoints, confidence = _picture(1)
    confidence[:] = 1
    broken = keypoints.copy()
    broken[5, 1] = bad
    observation = _observe(coco_body, broken, confidence)
    assert observation.confidence[5] == 0
    assert np.isfinite(observation.points).all()


@pytest.mark.parametrize("turn", ["standing", "upside down", "sitting"])
def test_person_height_is_that_of_the_standing_person_in_any_pose(coco_body: KeypointBody, turn: str) -> None:
    pose = np.zeros((24, 3), np.float32)
    if turn == "upside down":
        pose[0] = [0, 0, np.pi]
    if turn == "sitting":
        pose[[1, 2], 0] = -np.pi / 2
        pose[[4, 5], 0] = np.pi / 2
    points = np.asarray(pose_keypoints(coco_body, jnp.zeros(10), jnp.asarray(pose)))
    pixels_per_metre = 250.0
    observation = _observe(coco_body, pixels_per_metre * points[:, :2] * [1, -1], np.ones(17))
    assert float(observation.person_height_px) == pytest.approx(REFERENCE_STATURE_M * pixels_per_metre, rel=0.05)


def test_one_gross_error_does_not_change_the_size_much(coco_body, t_pose_pictures) -> None:
    keypoints, confidence = (values[0] for values in t_pose_pictures(np.zeros(10), 1))
    before = _observe(coco_body, keypoints, confidence)
    keypoints[9] += 3000
    after = _observe(coco_body, keypoints, confidence)
    assert float(after.person_height_px) == pytest.approx(float(before.person_height_px), rel=0.1)


def test_nobody_seen_is_not_measurable_and_finite(coco_body) -> None:
    observation: Observation = _observe(coco_body, np.full((17, 2), np.nan), np.zeros(17))
    assert not bool(observation.measurable)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(observation))


def test_a_focal_length_is_in_person_heights_and_unknown_ones_are_infinite(coco_body: KeypointBody) -> None:
    keypoints, confidence = _picture(3)
    known, unknown = _observe(coco_body, keypoints, confidence, 800.0), _observe(coco_body, keypoints, confidence)
    np.testing.assert_allclose(known.lens.inverse_focal, known.person_height_px / 800, rtol=RELATIVE)
    np.testing.assert_array_equal(known.lens.principal_point, [0, 0])
    assert unknown.lens.inverse_focal == 0
    enlarged = _observe(coco_body, 2 * keypoints, confidence, 1600.0)
    np.testing.assert_allclose(enlarged.lens.inverse_focal, known.lens.inverse_focal, rtol=RELATIVE)
