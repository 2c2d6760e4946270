"""Making the pose prior: the fit's laws, the file, and that the shipped one is what the script makes."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from adapters.bodies.makers.pose_prior_export import (
    CREDIT,
    HELD_OUT_CLIPS,
    CapturedPoses,
    PoseFileError,
    fit_gaussian,
    floor_deviations,
    main,
    read_poses,
    symmetric_axes,
    with_mirror_images,
    without_clips,
    write_prior,
)
from engine.body.pose_prior import POSED_JOINTS, load_pose_prior, mirror_indices
from tests.places import ROOT

# float64 sums over 2,000 poses, spread over 69 coordinates.
ROUNDING = 1e-12


@pytest.fixture
def captured() -> CapturedPoses:
    """Poses that never bend the hands and bend the left hip and knee together, from three clips."""
    generator = np.random.default_rng(0)
    poses = 0.3 * generator.normal(size=(2000, 23, 3))
    poses[:, POSED_JOINTS.index("left_knee")] = -poses[:, POSED_JOINTS.index("left_hip")]
    poses[:, POSED_JOINTS.index("left_hand")] = poses[:, POSED_JOINTS.index("right_hand")] = 0
    clips = np.array(["a", "b", HELD_OUT_CLIPS[0]])[generator.integers(3, size=2000)]
    return CapturedPoses(poses.reshape(2000, -1), generator.normal(size=(2000, 3)), clips)


def save(path: Path, captured: CapturedPoses) -> Path:
    np.savez(
        path,
        body_pose=captured.poses.reshape(-1, 23, 3).astype(np.float32),
        root_orient=captured.root_orient.astype(np.float32),
        source=np.array([f"{clip}:{frame}" for frame, clip in enumerate(captured.clips)]),
    )
    return path


def test_reading_gives_back_what_was_saved(tmp_path: Path, captured: CapturedPoses) -> None:
    read = read_poses(save(tmp_path / "poses.npz", captured))
    np.testing.assert_allclose(read.poses, captured.poses, atol=1e-6)
    np.testing.assert_array_equal(read.clips, captured.clips)


def test_covariance_is_the_data_s_plus_the_floors_without_shrinkage(captured: CapturedPoses) -> None:
    both = with_mirror_images(captured.poses)
    mixture = fit_gaussian(captured.poses, shrinkage=0.0)
    expected = np.cov(both.T, bias=True) + np.diag(floor_deviations() ** 2)
    np.testing.assert_allclose(mixture.axes[0] @ mixture.axes[0].T, expected, atol=ROUNDING)
    np.testing.assert_allclose(mixture.mean[0], both.mean(axis=0), atol=ROUNDING)


def test_shrinkage_scales_correlations_between_joints_only(captured: CapturedPoses) -> None:
    def covariance(shrinkage: float) -> np.ndarray:
        axes = fit_gaussian(captured.poses, shrinkage).axes[0]
        return axes @ axes.T

    joint = np.arange(69) // 3
    factor = np.where(joint[:, None] == joint, 1.0, 0.4)
    np.testing.assert_allclose(covariance(0.6), factor * covariance(0.0), atol=ROUNDING)


def test_coordinates_that_never_move_get_the_floor(captured: CapturedPoses) -> None:
    axes = fit_gaussian(captured.poses).axes[0]
    hand = 3 * POSED_JOINTS.index("left_hand")
    np.testing.assert_allclose(np.linalg.norm(axes[hand]), floor_deviations()[hand], rtol=1e-9)


def test_fit_is_its_own_mirror_image_to_the_last_bit(captured: CapturedPoses) -> None:
    columns, signs = mirror_indices()
    mixture = fit_gaussian(captured.poses)
    np.testing.assert_array_equal(mixture.mean[0][columns] * signs, mixture.mean[0])
    mirrored = mixture.axes[0][columns] * signs[:, None]
    even = np.all(mirrored == mixture.axes[0], axis=0)
    odd = np.all(mirrored == -mixture.axes[0], axis=0)
    assert np.all(even | odd)
    # Each of the eight pairs of joints gives three of each; spine, neck and head turn about x evenly, y and z oddly.
    pairs = sum(joint.startswith("left") for joint in POSED_JOINTS)
    middle = len(POSED_JOINTS) - 2 * pairs
    assert (even.sum(), odd.sum()) == (3 * pairs + middle, 3 * pairs + 2 * middle)


def test_axes_are_orthogonal_and_sorted() -> None:
    columns, signs = mirror_indices()
    draws = np.random.default_rng(1).normal(size=(300, 69)) * np.linspace(1, 3, 69)
    covariance = draws.T @ draws
    covariance = covariance + np.outer(signs, signs) * covariance[np.ix_(columns, columns)]
    axes = symmetric_axes(covariance)
    gram = axes.T @ axes
    np.testing.assert_allclose(axes @ axes.T, covariance, rtol=1e-9, atol=1e-9 * covariance.max())
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-9 * gram.max())
    assert np.all(np.diff(np.diag(gram)) <= 0)


def test_held_out_clips_are_left_out(captured: CapturedPoses) -> None:
    kept = without_clips(captured, HELD_OUT_CLIPS)
    assert set(kept.clips) == {"a", "b"}
    assert len(kept.poses) == np.isin(captured.clips, ["a", "b"]).sum() == len(kept.root_orient)


def test_written_prior_reads_back(tmp_path: Path, captured: CapturedPoses) -> None:
    mixture = fit_gaussian(captured.poses)
    write_prior(tmp_path / "prior.npz", mixture, captured)
    prior = load_pose_prior(tmp_path / "prior.npz")
    np.testing.assert_array_equal(prior.mean, mixture.mean[0].astype(np.float32))
    np.testing.assert_array_equal(prior.axes, mixture.axes[0].astype(np.float32))
    assert [POSED_JOINTS[joint] for joint in prior.hinges.joints] == [
        "left_knee",
        "right_knee",
        "left_elbow",
        "right_elbow",
    ]


def test_command_fits_without_the_held_out_clips(tmp_path: Path, captured: CapturedPoses) -> None:
    poses, out = save(tmp_path / "poses.npz", captured), tmp_path / "prior.npz"
    result = CliRunner().invoke(main, ["--poses", str(poses), "--out", str(out)])
    assert result.exit_code == 0, result.output
    expected = fit_gaussian(without_clips(read_poses(poses), HELD_OUT_CLIPS).poses)
    np.testing.assert_array_equal(load_pose_prior(out).axes, expected.axes[0].astype(np.float32))
    assert out.stat().st_size < 300_000


def test_same_poses_give_the_same_bytes(tmp_path: Path, captured: CapturedPoses) -> None:
    for name in ("one.npz", "two.npz"):
        write_prior(tmp_path / name, fit_gaussian(captured.poses), captured)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"body_pose": np.zeros((5, 24, 3))}, "shapes"),
        ({"root_orient": np.zeros((4, 3))}, "shapes"),
        ({"body_pose": np.full((5, 23, 3), np.nan)}, "NaN"),
    ],
)
def test_poses_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    arrays = {"body_pose": np.zeros((5, 23, 3)), "root_orient": np.zeros((5, 3)), "source": np.array(["a:1"] * 5)}
    np.savez(tmp_path / "poses.npz", **{**arrays, **changes})  # pyright: ignore[reportArgumentType]
    with pytest.raises(PoseFileError, match=message):
        read_poses(tmp_path / "poses.npz")


def test_a_wrong_file_is_a_usage_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "poses.npz").write_bytes(b"nothing")
    result = CliRunner().invoke(main, ["--poses", str(tmp_path / "poses.npz"), "--out", str(tmp_path / "o.npz")])
    assert result.exit_code == 2
    assert "no poses file" in result.output
    assert "Traceback" not in result.output


def test_notice_carries_the_acknowledgment() -> None:
    notice = (ROOT / "NOTICE").read_text()
    assert CREDIT in " ".join(notice.split())
