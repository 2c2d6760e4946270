"""Synthetic pictures: the truth in them is true, the faults are what was asked for."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from adapters.bodies.makers.pose_prior_export import CapturedPoses
from benchmarks.synthetic import (
    LEGS,
    PoseSet,
    SyntheticPictures,
    SyntheticSettings,
    held_out_poses,
    make_pictures,
    sampled_poses,
)
from engine.body.keypoint_body import KeypointBody, pose_keypoints
from engine.body.pose_prior import load_pose_prior, mirror_indices
from engine.picture.cameras import project
from engine.picture.observation import REFERENCE_STATURE_M

# float32 body, coordinates up to 1,300 px.
PIXELS = 1e-2
QUIET = SyntheticSettings(people=3, pictures=4, noise_level=0.0)


@pytest.fixture(scope="module")
def poses() -> PoseSet:
    return sampled_poses(load_pose_prior(), 50)


@pytest.fixture(scope="module")
def facing(coco_body: KeypointBody, poses: PoseSet) -> SyntheticPictures:
    """People who face a level camera."""
    settings = dataclasses.replace(QUIET, people=10, yaw_range=(0, 0), pitch_deviation=0, roll_deviation=0)
    return make_pictures(coco_body, poses, settings)


def keypoint(body: KeypointBody, name: str) -> int:
    return body.schema.keypoint_names.index(name)


def same(left: SyntheticPictures, right: SyntheticPictures, *fields: str) -> None:
    for field in fields:
        np.testing.assert_array_equal(getattr(left, field), getattr(right, field), err_msg=field)


def test_noiseless_keypoints_are_the_body_through_the_camera(coco_body: KeypointBody, poses: PoseSet) -> None:
    pictures = make_pictures(coco_body, poses, QUIET)
    for person in range(3):
        for picture in range(4):
            points = pose_keypoints(
                coco_body, jnp.asarray(pictures.betas[person]), jnp.asarray(pictures.pose[person, picture])
            )
            camera = pictures.camera
            one = type(camera)(camera.scale[person, picture], camera.translation[person, picture])
            np.testing.assert_allclose(pictures.keypoints_px[person, picture], project(one, points), atol=PIXELS)


def test_left_is_at_larger_x_in_people_who_face_the_camera(coco_body: KeypointBody, facing: SyntheticPictures) -> None:
    x = facing.keypoints_px[..., 0]
    assert np.all(x[..., keypoint(coco_body, "left_hip")] > x[..., keypoint(coco_body, "right_hip")])


def test_people_stand_with_the_head_up(coco_body: KeypointBody, facing: SyntheticPictures) -> None:
    y = facing.keypoints_px[..., 1]
    assert np.mean(y[..., keypoint(coco_body, "nose")] < y[..., keypoint(coco_body, "left_hip")]) > 0.95


def test_views_from_behind_exchange_left_and_right(coco_body: KeypointBody, poses: PoseSet) -> None:
    settings = dataclasses.replace(QUIET, yaw_range=(180, 180), pitch_deviation=0, roll_deviation=0)
    x = make_pictures(coco_body, poses, settings).keypoints_px[..., 0]
    assert np.all(x[..., keypoint(coco_body, "left_hip")] < x[..., keypoint(coco_body, "right_hip")])


def test_a_quarter_turn_faces_the_right_edge(coco_body: KeypointBody, poses: PoseSet) -> None:
    settings = dataclasses.replace(QUIET, yaw_range=(90, 90), pitch_deviation=0, roll_deviation=0)
    pictures = make_pictures(coco_body, poses, settings)
    front = Rotation.from_rotvec(pictures.pose[:, :, 0].reshape(-1, 3)).apply([0, 0, 1])
    np.testing.assert_allclose(front, np.tile([1.0, 0, 0], (12, 1)), atol=1e-9)


def test_a_positive_pitch_looks_down_on_people(coco_body: KeypointBody, poses: PoseSet) -> None:
    settings = dataclasses.replace(QUIET, people=50, pitch_deviation=20, roll_deviation=0)
    pictures = make_pictures(coco_body, poses, settings)
    up = Rotation.from_rotvec(pictures.pose[:, :, 0].reshape(-1, 3)).apply([0, 1, 0])
    pitch = np.degrees(np.arctan2(up[:, 2], up[:, 1]))
    np.testing.assert_allclose(pitch.std(), 20, rtol=0.15)
    np.testing.assert_allclose(up[:, 0], 0, atol=1e-9)


@pytest.mark.parametrize(("posture", "height"), [("lying", 0.0), ("upside_down", -1.0)])
def test_postures(coco_body: KeypointBody, poses: PoseSet, posture: str, height: float) -> None:
    settings = dataclasses.replace(QUIET, pitch_deviation=0, roll_deviation=0, posture=posture)
    up = Rotation.from_rotvec(make_pictures(coco_body, poses, settings).pose[:, :, 0].reshape(-1, 3)).apply([0, 1, 0])
    np.testing.assert_allclose(up[:, 1], height, atol=1e-9)


def test_lying_people_lie_on_every_side(coco_body: KeypointBody, poses: PoseSet) -> None:
    settings = dataclasses.replace(QUIET, people=25, posture="lying", pitch_deviation=0, roll_deviation=0)
    orientation = Rotation.from_rotvec(make_pictures(coco_body, poses, settings).pose[:, :, 0].reshape(-1, 3))
    belly_up = orientation.apply([0, 0, 1])[:, 1]
    assert belly_up.min() < -0.7
    assert belly_up.max() > 0.7


def test_perspective_makes_near_things_larger(coco_body: KeypointBody, poses: PoseSet) -> None:
    settings = dataclasses.replace(QUIET, distance_in_statures=2.0)
    pictures = make_pictures(coco_body, poses, settings)
    points, distance = pictures.keypoints_m, 2.0 * REFERENCE_STATURE_M
    np.testing.assert_array_equal(pictures.distance_m, distance)
    focal_px = np.asarray(pictures.camera.scale)[..., None] * distance
    # A pinhole at `distance` in front of the body's origin, which is seen at the camera's translation.
    expected = focal_px[..., None] * points[..., :2] * [1, -1] / (distance - points[..., 2:])
    actual = pictures.true_keypoints_px - np.asarray(pictures.camera.translation)[:, :, None]
    np.testing.assert_allclose(actual, expected, atol=PIXELS)


def test_a_far_camera_is_weak_perspective(coco_body: KeypointBody, poses: PoseSet) -> None:
    far = make_pictures(coco_body, poses, dataclasses.replace(QUIET, distance_in_statures=1e6))
    weak = make_pictures(coco_body, poses, QUIET)
    np.testing.assert_allclose(far.keypoints_px, weak.keypoints_px, atol=PIXELS)


def test_people_are_in_the_picture(coco_body: KeypointBody, poses: PoseSet) -> None:
    pictures = make_pictures(coco_body, poses, dataclasses.replace(QUIET, people=20, person_height_px=(300, 600)))
    middle = 0.5 * (pictures.keypoints_px.min(axis=2) + pictures.keypoints_px.max(axis=2))
    assert np.all(np.abs(middle / [1280, 960] - 0.5) <= 0.1 + 1e-6)
    assert np.all((pictures.person_height_px >= 300) & (pictures.person_height_px <= 600))


def test_the_same_seed_gives_the_same_pictures_and_another_others(coco_body: KeypointBody, poses: PoseSet) -> None:
    settings = dataclasses.replace(QUIET, noise_level=0.01)
    first, again = (make_pictures(coco_body, poses, settings) for _ in range(2))
    same(first, again, "keypoints_px", "confidence", "betas", "pose")
    other = make_pictures(coco_body, poses, dataclasses.replace(settings, seed=1))
    assert not np.any(first.betas == other.betas)


def test_more_people_leave_the_first_as_they_were(coco_body: KeypointBody, poses: PoseSet) -> None:
    settings = dataclasses.replace(QUIET, noise_level=0.01, clothes_bias_level=0.01, outlier_rate=0.1, missing_rate=0.1)
    few, many = (make_pictures(coco_body, poses, dataclasses.replace(settings, people=n)) for n in (2, 5))
    # The batch size may change the last bit of the body's float32.
    np.testing.assert_allclose(many.keypoints_px[:2], few.keypoints_px, atol=PIXELS)
    np.testing.assert_array_equal(many.confidence[:2], few.confidence)


def test_causes_are_independent(coco_body: KeypointBody, poses: PoseSet) -> None:
    """Turning a fault on changes neither people nor poses nor views."""
    faults = dataclasses.replace(
        QUIET, noise_level=0.02, outlier_rate=0.2, missing_rate=0.2, clothes_bias_level=0.02, swapped_label_rate=0.5
    )
    quiet, noisy = (make_pictures(coco_body, poses, settings) for settings in (QUIET, faults))
    same(quiet, noisy, "betas", "pose", "true_keypoints_px", "person_height_px")


def test_noise_is_what_the_engine_assumes(coco_body: KeypointBody, poses: PoseSet) -> None:
    pictures = make_pictures(coco_body, poses, dataclasses.replace(QUIET, people=200, pictures=10, noise_level=0.02))
    error = (pictures.keypoints_px - pictures.true_keypoints_px) / pictures.person_height_px[..., None, None]
    expected = 0.02 * np.array(coco_body.schema.sigmas) / 0.08
    # 4,000 draws of each keypoint tell a deviation to 1.1 %.
    np.testing.assert_allclose(error.std(axis=(0, 1, 3)), expected, rtol=0.05)


def test_noise_can_be_measured_by_the_bounding_box(coco_body: KeypointBody, poses: PoseSet) -> None:
    settings = dataclasses.replace(QUIET, people=20, noise_level=0.01)
    by_height = make_pictures(coco_body, poses, settings)
    by_box = make_pictures(coco_body, poses, dataclasses.replace(settings, noise_unit="bounding_box"))
    box_px = np.ptp(by_box.true_keypoints_px[..., 1], axis=2)
    ratio = (by_box.keypoints_px - by_box.true_keypoints_px) / (by_height.keypoints_px - by_height.true_keypoints_px)
    expected = np.broadcast_to((box_px / by_height.person_height_px)[..., None, None], ratio.shape)
    np.testing.assert_allclose(ratio, expected, rtol=1e-4)


def test_bias_repeats_where_the_same_side_is_seen(coco_body: KeypointBody, poses: PoseSet) -> None:
    settings = dataclasses.replace(QUIET, people=40, yaw_range=(30, 30), clothes_bias_level=0.01)
    pictures = make_pictures(coco_body, poses, settings)
    bias = (pictures.keypoints_px - pictures.true_keypoints_px) / pictures.person_height_px[..., None, None]
    np.testing.assert_allclose(bias, np.broadcast_to(bias[:, :1], bias.shape), atol=1e-12)
    expected = 0.01 * np.array(coco_body.schema.sigmas) / 0.08
    relative = bias[:, 0].std(axis=(0, 2)) / expected
    # 80 draws of each of 17 keypoints.
    np.testing.assert_allclose(relative.mean(), 1, rtol=0.06)
    shared = make_pictures(
        coco_body, poses, dataclasses.replace(settings, clothes_bias_level=0.0, detector_bias_level=0.01)
    )
    bias = (shared.keypoints_px - shared.true_keypoints_px) / shared.person_height_px[..., None, None]
    np.testing.assert_allclose(bias, np.broadcast_to(bias[:1, :1], bias.shape), atol=1e-12)


def test_outliers_are_as_many_and_as_far_as_asked(coco_body: KeypointBody, poses: PoseSet) -> None:
    settings = dataclasses.replace(QUIET, people=100, outlier_rate=0.1, outlier_deviation=0.3)
    pictures = make_pictures(coco_body, poses, settings)
    error = (pictures.keypoints_px - pictures.true_keypoints_px) / pictures.person_height_px[..., None, None]
    np.testing.assert_allclose(pictures.outlier.mean(), 0.1, atol=0.012)
    np.testing.assert_allclose(error[pictures.outlier].std(), 0.3, rtol=0.1)
    np.testing.assert_array_equal(error[~pictures.outlier], 0)


def test_hidden_and_missing_keypoints_have_no_position(coco_body: KeypointBody, poses: PoseSet) -> None:
    settings = dataclasses.replace(QUIET, people=100, hidden_keypoints=LEGS, missing_rate=0.2)
    pictures = make_pictures(coco_body, poses, settings)
    legs = np.isin(coco_body.schema.keypoint_names, LEGS)
    assert legs.sum() == 4
    assert np.all(pictures.confidence[..., legs] == 0)
    np.testing.assert_allclose(pictures.confidence[..., ~legs].mean(), 0.8, atol=0.03)
    assert np.all(pictures.keypoints_px[pictures.confidence == 0] == 0)


def test_swapped_labels_exchange_left_and_right(coco_body: KeypointBody, poses: PoseSet) -> None:
    settings = dataclasses.replace(QUIET, people=30, swapped_label_rate=0.5, missing_rate=0.1)
    right, wrong = (
        make_pictures(coco_body, poses, dataclasses.replace(settings, swapped_label_rate=rate)) for rate in (0.0, 0.5)
    )
    swapped, swap = wrong.labels_swapped, list(coco_body.schema.swap)
    assert 0.3 < swapped.mean() < 0.7
    np.testing.assert_array_equal(wrong.keypoints_px[swapped], right.keypoints_px[swapped][:, swap])
    np.testing.assert_array_equal(wrong.confidence[swapped], right.confidence[swapped][:, swap])
    np.testing.assert_array_equal(wrong.keypoints_px[~swapped], right.keypoints_px[~swapped])


def test_no_pose_comes_twice_before_all_have_come(coco_body: KeypointBody, poses: PoseSet) -> None:
    """Half of them come mirrored."""
    columns, signs = mirror_indices()
    pictures = make_pictures(coco_body, poses, dataclasses.replace(QUIET, people=25, pictures=2))
    flat = pictures.pose[:, :, 1:].reshape(50, -1)
    mirrored = flat[:, columns] * signs
    distance = np.min(
        [np.abs(way[:, None] - poses.body_pose.reshape(1, 50, -1)).max(axis=2) for way in (flat, mirrored)], axis=0
    )
    assert np.all(distance.min(axis=1) < 1e-12)
    assert len(set(distance.argmin(axis=1))) == 50
    as_it_is = np.abs(flat[:, None] - poses.body_pose.reshape(1, 50, -1)).max(axis=2).min(axis=1) < 1e-12
    assert 0.3 < as_it_is.mean() < 0.7


def test_held_out_poses_lose_their_heading_and_keep_their_tilt() -> None:
    tilt = Rotation.from_euler("x", 40, degrees=True)
    orient = (Rotation.from_euler("y", [[0], [77], [-150]], degrees=True) * tilt).as_rotvec()
    captured = CapturedPoses(np.zeros((3, 69)), orient, np.array(["a", "a", "b"]))
    chosen = held_out_poses(captured, ["a"])
    assert chosen.body_pose.shape == (2, 23, 3)
    np.testing.assert_allclose(chosen.root_orient, np.tile(tilt.as_rotvec(), (2, 1)), atol=1e-9)
    with pytest.raises(ValueError, match="none of the clips c"):
        held_out_poses(captured, ["c"])


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SyntheticSettings(people=0)
    with pytest.raises(ValueError, match=r"nearer than 1\.5"):
        SyntheticSettings(distance_in_statures=1.0)
