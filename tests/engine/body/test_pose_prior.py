"""The pose prior: laws of the density, the hinges, the file, and the shipped parameters."""

import io
import json
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import multivariate_normal

from engine.body import pose_prior
from engine.body.model import BodyModel, pose_body
from engine.body.pose_prior import (
    POSED_JOINTS,
    PosePrior,
    PosePriorError,
    hinge_residuals,
    load_pose_prior,
    mirror_indices,
    sample,
)

# float32 in 69 dimensions, energies of some tens of nats.
NATS = 1e-3


@pytest.fixture(scope="module")
def shipped() -> PosePrior:
    return load_pose_prior()


@pytest.fixture(scope="module")
def poses(shipped: PosePrior) -> np.ndarray:
    return np.asarray(jax.vmap(lambda key: sample(shipped, key))(jax.random.split(jax.random.key(0), 20)))


def posed(**degrees: tuple[float, float, float]) -> np.ndarray:
    """A T-pose but for the named joints."""
    pose = np.zeros((len(POSED_JOINTS), 3), np.float32)
    for joint, angles in degrees.items():
        pose[POSED_JOINTS.index(joint)] = np.radians(angles)
    return pose


def mirrored(pose: np.ndarray) -> np.ndarray:
    columns, signs = mirror_indices()
    return (pose.reshape(-1)[columns] * signs.astype(pose.dtype)).reshape(pose.shape)


def energy(prior: PosePrior, pose: np.ndarray) -> float:
    """−log density above that of the mean."""
    mean, axes = np.asarray(prior.mean, float), np.asarray(prior.axes, float)
    gaussian = multivariate_normal(mean, axes @ axes.T)
    return gaussian.logpdf(mean) - gaussian.logpdf(np.asarray(pose, float).reshape(-1))


def test_mirroring_twice_changes_nothing(poses: np.ndarray) -> None:
    np.testing.assert_array_equal(mirrored(mirrored(poses[0])), poses[0])


def test_a_mirrored_pose_mirrors_the_posed_body(anny: BodyModel, poses: np.ndarray) -> None:
    """Anny-24 is symmetric to the last bit, so the mirrored pose gives the mirrored joints."""
    columns, _ = mirror_indices()
    swap = np.concatenate([[0], 1 + columns[::3] // 3])
    betas, root = jnp.zeros(anny.beta_count), jnp.zeros((1, 3))
    joints = pose_body(anny, betas, jnp.concatenate([root, jnp.asarray(poses[3])])).joints
    other = pose_body(anny, betas, jnp.concatenate([root, jnp.asarray(mirrored(poses[3]))])).joints
    np.testing.assert_allclose(other, joints[swap] * jnp.array([-1.0, 1.0, 1.0]), atol=1e-6)


def test_mirroring_leaves_density_and_limits_unchanged(shipped: PosePrior, poses: np.ndarray) -> None:
    for pose in poses[:5]:
        other = mirrored(pose)
        np.testing.assert_allclose(energy(shipped, other), energy(shipped, pose), atol=NATS)
        limits = [np.sort(hinge_residuals(shipped.hinges, jnp.asarray(each))) for each in (other, pose)]
        np.testing.assert_allclose(*limits, atol=1e-5)


def test_shipped_parameters_are_symmetric_to_the_last_bit(shipped: PosePrior) -> None:
    columns, signs = mirror_indices()
    mean, axes = np.asarray(shipped.mean), np.asarray(shipped.axes)
    np.testing.assert_array_equal(mean[columns] * signs, mean)
    parity = np.where(np.all(axes[columns] * signs[:, None] == axes, axis=0), 1, -1)
    np.testing.assert_array_equal(axes[columns] * signs[:, None], axes * parity)


def test_shipped_axes_are_orthogonal(shipped: PosePrior) -> None:
    axes = np.asarray(shipped.axes, np.float64)
    lengths = np.linalg.norm(axes, axis=0)
    np.testing.assert_allclose(axes.T @ axes / np.outer(lengths, lengths), np.eye(len(lengths)), atol=1e-5)
    assert np.all(np.diff(lengths) <= 1e-7), "largest first"


@pytest.mark.parametrize("side", ["left", "right"])
def test_knees_and_elbows_bend_one_way(shipped: PosePrior, side: str) -> None:
    def limits(**degrees: tuple[float, float, float]) -> np.ndarray:
        return np.asarray(hinge_residuals(shipped.hinges, jnp.asarray(posed(**degrees))))

    assert np.all(limits() == 0)
    assert np.all(limits(**{f"{side}_knee": (120, 0, 0)}) == 0)
    backward_knee = limits(**{f"{side}_knee": (-30, 0, 0)})
    assert np.count_nonzero(backward_knee) == 1
    # 25° beyond the limit of −5°, in units of 5°.
    np.testing.assert_allclose(backward_knee.min(), -5, rtol=1e-5)
    forward = -60 if side == "left" else 60
    assert np.all(limits(**{f"{side}_elbow": (0, forward, 0)}) == 0)
    assert limits(**{f"{side}_elbow": (0, -forward, 0)}).min() < -5
    assert limits(**{f"{side}_knee": (175, 0, 0)}).max() > 3


@pytest.mark.parametrize("side", ["left", "right"])
def test_flexion_folds_the_limb_the_way_people_do(anny: BodyModel, shipped: PosePrior, side: str) -> None:
    """Positive flexion takes the heel backwards and the hand forwards, seen on the body."""
    for hinge, joint in enumerate(shipped.hinges.joints):
        if not POSED_JOINTS[joint].startswith(side):
            continue
        pose = np.zeros((24, 3), np.float32)
        pose[1 + joint] = np.asarray(shipped.hinges.axes[hinge]) * np.pi / 2
        end = 1 + POSED_JOINTS.index(POSED_JOINTS[joint].replace("knee", "ankle").replace("elbow", "wrist"))
        moved = pose_body(anny, jnp.zeros(anny.beta_count), jnp.asarray(pose)).joints[end]
        rest = pose_body(anny, jnp.zeros(anny.beta_count), jnp.zeros((24, 3))).joints[end]
        forward_m = float(moved[2] - rest[2])
        assert forward_m < -0.2 if "knee" in POSED_JOINTS[joint] else forward_m > 0.1


def test_limits_have_finite_derivatives_at_their_ends(shipped: PosePrior) -> None:
    pose = jnp.asarray(posed(left_knee=(-5, 0, 0)))
    assert np.isfinite(jax.jacfwd(lambda p: hinge_residuals(shipped.hinges, p))(pose)).all()


def test_samples_follow_the_density_and_keep_to_the_limits(shipped: PosePrior) -> None:
    drawn = jax.vmap(lambda key: sample(shipped, key))(jax.random.split(jax.random.key(1), 4000))
    assert np.abs(jax.vmap(lambda pose: hinge_residuals(shipped.hinges, pose))(drawn)).max() < 1e-4
    # The hips are no hinges, so their spread is the density's own: 4,000 draws tell a deviation to 1.1 %.
    expected = np.sqrt(np.sum(np.asarray(shipped.axes) ** 2, axis=1))[:6]
    np.testing.assert_allclose(np.asarray(drawn).reshape(4000, -1)[:, :6].std(axis=0), expected, rtol=0.05)


def test_sitting_is_an_ordinary_pose(shipped: PosePrior, poses: np.ndarray) -> None:
    """A prior that pulls sitting people up would make it rare: it must cost no more than most of what it draws."""
    sitting = np.asarray(shipped.mean).reshape(-1, 3).copy()
    for side in ("left", "right"):
        sitting[POSED_JOINTS.index(f"{side}_hip"), 0] = -np.pi / 2
        sitting[POSED_JOINTS.index(f"{side}_knee"), 0] = np.pi / 2
    assert energy(shipped, sitting) < np.median([energy(shipped, pose) for pose in poses])


def test_lying_is_standing_in_a_turned_frame(anny: BodyModel, shipped: PosePrior, poses: np.ndarray) -> None:
    """The prior does not know the global orientation: a turned body differs by that turn alone."""
    turn = Rotation.from_euler("x", -90, degrees=True)
    body = jnp.zeros(anny.beta_count)
    upright = pose_body(anny, body, jnp.concatenate([jnp.zeros((1, 3)), jnp.asarray(poses[0])])).joints
    lying = pose_body(anny, body, jnp.concatenate([turn.as_rotvec()[None], jnp.asarray(poses[0])])).joints
    np.testing.assert_allclose(lying - lying[0], turn.apply(upright - upright[0]), atol=1e-5)
    assert len(shipped.mean) == 3 * len(POSED_JOINTS)


def _rewritten(tmp_path: Path, **changes: np.ndarray) -> Path:
    with pose_prior.resources.files("engine.body.data").joinpath(pose_prior.DEFAULT_PRIOR).open("rb") as stream:
        arrays = dict(np.load(io.BytesIO(stream.read())))
    path = tmp_path / "prior.npz"
    np.savez(path, **{**arrays, **changes})  # pyright: ignore[reportArgumentType]
    return path


def test_a_file_elsewhere_reads_like_the_shipped_one(tmp_path: Path, shipped: PosePrior) -> None:
    read = load_pose_prior(_rewritten(tmp_path))
    assert read.hinges.joints == shipped.hinges.joints
    jax.tree.map(np.testing.assert_array_equal, read, shipped)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PosePriorError, match=r"no pose prior file .*absent\.npz"):
        load_pose_prior(tmp_path / "absent.npz")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "prior.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(PosePriorError, match="damaged"):
        load_pose_prior(path)
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(PosePriorError, match="damaged"):
        load_pose_prior(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"header": np.array(json.dumps({"format": "other"}))}, "version"),
        ({"header": np.array("[]")}, "version"),
        ({"mean": np.zeros((1, 66), np.float32)}, "other joints"),
        ({"axes": np.zeros((2, 69, 69), np.float32)}, "do not fit"),
        ({"mean": np.zeros((2, 69), np.float32)}, "2 components"),
        ({"log_weights": np.full(1, np.nan, np.float32)}, "NaN"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(PosePriorError, match=message):
        load_pose_prior(_rewritten(tmp_path, **changes))
