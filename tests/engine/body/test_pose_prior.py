"""The pose prior: laws of the density, the hinges, the file, and what the shipped parameters promise."""

import io
import json
import zipfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from engine.body import pose_prior
from engine.body.model import BodyModel, pose_body
from engine.body.pose_prior import (
    POSED_JOINTS,
    PosePrior,
    PosePriorError,
    component_log_densities,
    energy,
    limits_residuals,
    load_pose_prior,
    log_density,
    mirror_indices,
    mirror_pose,
    sample,
    unwhiten,
    whiten,
)

# float32 in 69 dimensions, energies of some tens of nats.
NATS = 1e-3


@pytest.fixture(scope="module")
def shipped() -> PosePrior:
    return load_pose_prior()


@pytest.fixture(scope="module")
def mixture(shipped: PosePrior) -> PosePrior:
    """The shipped component and a mirrored pair beside it."""
    columns, signs = mirror_indices()
    aside = shipped.mean[0].at[0].add(0.5)
    return eqx.tree_at(
        lambda prior: (prior.mean, prior.axes, prior.log_weights),
        shipped,
        (
            jnp.stack([shipped.mean[0], aside, aside[columns] * signs]),
            jnp.stack([shipped.axes[0], 0.7 * shipped.axes[0], 0.7 * shipped.axes[0][columns] * signs[:, None]]),
            jnp.log(jnp.array([0.5, 0.25, 0.25])),
        ),
    )


@pytest.fixture(scope="module")
def poses(shipped: PosePrior) -> np.ndarray:
    return np.asarray(jax.vmap(lambda key: sample(shipped, key))(jax.random.split(jax.random.key(0), 20)))


def posed(**degrees: tuple[float, float, float]) -> np.ndarray:
    """A T-pose but for the named joints."""
    pose = np.zeros((len(POSED_JOINTS), 3), np.float32)
    for joint, angles in degrees.items():
        pose[POSED_JOINTS.index(joint)] = np.radians(angles)
    return pose


def test_density_is_the_mixture_of_gaussians(mixture: PosePrior, poses: np.ndarray) -> None:
    expected = logsumexp(
        [
            np.log(weight) + multivariate_normal(mean, axes @ axes.T).logpdf(poses.reshape(len(poses), -1))
            for weight, mean, axes in zip(
                (0.5, 0.25, 0.25), np.asarray(mixture.mean, float), np.asarray(mixture.axes, float), strict=True
            )
        ],
        axis=0,
    )
    actual = jax.vmap(lambda pose: log_density(mixture, pose))(jnp.asarray(poses))
    np.testing.assert_allclose(actual, expected, atol=NATS)


def test_component_densities_add_up_to_the_density(mixture: PosePrior, poses: np.ndarray) -> None:
    parts = component_log_densities(mixture, jnp.asarray(poses[0]))
    assert parts.shape == (3,)
    np.testing.assert_allclose(logsumexp(parts), log_density(mixture, jnp.asarray(poses[0])), atol=NATS)


def test_energy_of_one_component_is_half_the_squared_length_of_z(shipped: PosePrior, poses: np.ndarray) -> None:
    for pose in poses[:5]:
        z = whiten(shipped, 0, jnp.asarray(pose))
        np.testing.assert_allclose(energy(shipped, jnp.asarray(pose)), 0.5 * float(z @ z), atol=NATS)


def test_unwhiten_inverts_whiten(mixture: PosePrior, poses: np.ndarray) -> None:
    for component in range(3):
        back = unwhiten(mixture, component, whiten(mixture, component, jnp.asarray(poses[1])))
        np.testing.assert_allclose(back, poses[1], atol=1e-5)


def test_energy_has_the_right_gradient_in_float64(poses: np.ndarray) -> None:
    with jax.enable_x64(True):
        prior = load_pose_prior()
        pose = jnp.asarray(poses[2], jnp.float64)
        gradient = jax.grad(lambda p: energy(prior, p))(pose)
        step = jnp.asarray(np.random.default_rng(0).normal(size=pose.shape))
        numeric = (energy(prior, pose + 1e-5 * step) - energy(prior, pose - 1e-5 * step)) / 2e-5
        assert gradient.dtype == jnp.float64
        np.testing.assert_allclose(jnp.sum(gradient * step), numeric, rtol=1e-7)


def test_mirroring_twice_changes_nothing(poses: np.ndarray) -> None:
    np.testing.assert_array_equal(mirror_pose(mirror_pose(jnp.asarray(poses[0]))), poses[0])


def test_mirror_pose_mirrors_the_posed_body(anny: BodyModel, poses: np.ndarray) -> None:
    """Anny-24 is symmetric to the last bit, so the mirrored pose gives the mirrored joints."""
    columns, _ = mirror_indices()
    swap = np.concatenate([[0], 1 + columns[::3] // 3])
    betas, root = jnp.zeros(anny.beta_count), jnp.zeros((1, 3))
    joints = pose_body(anny, betas, jnp.concatenate([root, jnp.asarray(poses[3])])).joints
    mirrored = pose_body(anny, betas, jnp.concatenate([root, mirror_pose(jnp.asarray(poses[3]))])).joints
    np.testing.assert_allclose(mirrored, joints[swap] * jnp.array([-1.0, 1.0, 1.0]), atol=1e-6)


def test_mirroring_leaves_density_and_limits_unchanged(
    shipped: PosePrior, mixture: PosePrior, poses: np.ndarray
) -> None:
    for prior in (shipped, mixture):
        for pose in poses[:5]:
            other = mirror_pose(jnp.asarray(pose))
            np.testing.assert_allclose(energy(prior, other), energy(prior, jnp.asarray(pose)), atol=NATS)
            np.testing.assert_allclose(
                np.sort(limits_residuals(prior, other)), np.sort(limits_residuals(prior, jnp.asarray(pose))), atol=1e-5
            )


def test_shipped_parameters_are_symmetric_to_the_last_bit(shipped: PosePrior) -> None:
    columns, signs = mirror_indices()
    mean, axes = np.asarray(shipped.mean[0]), np.asarray(shipped.axes[0])
    np.testing.assert_array_equal(mean[columns] * signs, mean)
    parity = np.where(np.all(axes[columns] * signs[:, None] == axes, axis=0), 1, -1)
    np.testing.assert_array_equal(axes[columns] * signs[:, None], axes * parity)


def test_shipped_axes_are_orthogonal(shipped: PosePrior) -> None:
    axes = np.asarray(shipped.axes[0], np.float64)
    lengths = np.linalg.norm(axes, axis=0)
    np.testing.assert_allclose(axes.T @ axes / np.outer(lengths, lengths), np.eye(len(lengths)), atol=1e-5)
    assert np.all(np.diff(lengths) <= 1e-7), "largest first"


@pytest.mark.parametrize("side", ["left", "right"])
def test_knees_and_elbows_bend_one_way(shipped: PosePrior, side: str) -> None:
    def limits(**degrees: tuple[float, float, float]) -> np.ndarray:
        return np.asarray(limits_residuals(shipped, jnp.asarray(posed(**degrees))))

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
    for hinge, joint in enumerate(shipped.hinge_joints):
        if not POSED_JOINTS[joint].startswith(side):
            continue
        pose = np.zeros((24, 3), np.float32)
        pose[1 + joint] = np.asarray(shipped.hinge_axes[hinge]) * np.pi / 2
        end = 1 + POSED_JOINTS.index(POSED_JOINTS[joint].replace("knee", "ankle").replace("elbow", "wrist"))
        moved = pose_body(anny, jnp.zeros(anny.beta_count), jnp.asarray(pose)).joints[end]
        rest = pose_body(anny, jnp.zeros(anny.beta_count), jnp.zeros((24, 3))).joints[end]
        forward_m = float(moved[2] - rest[2])
        assert forward_m < -0.2 if "knee" in POSED_JOINTS[joint] else forward_m > 0.1


def test_limits_have_finite_derivatives_at_their_ends(shipped: PosePrior) -> None:
    pose = jnp.asarray(posed(left_knee=(-5, 0, 0)))
    assert np.isfinite(jax.jacfwd(lambda p: limits_residuals(shipped, p))(pose)).all()


def test_samples_follow_the_density_and_keep_to_the_limits(shipped: PosePrior) -> None:
    drawn = jax.vmap(lambda key: sample(shipped, key))(jax.random.split(jax.random.key(1), 4000))
    assert np.abs(jax.vmap(lambda pose: limits_residuals(shipped, pose))(drawn)).max() < 1e-4
    # The hips are no hinges, so their spread is the density's own: 4,000 draws tell a deviation to 1.1 %.
    expected = np.sqrt(np.sum(np.asarray(shipped.axes[0]) ** 2, axis=1))[:6]
    np.testing.assert_allclose(np.asarray(drawn).reshape(4000, -1)[:, :6].std(axis=0), expected, rtol=0.05)


def test_samples_of_a_mixture_use_every_component(mixture: PosePrior) -> None:
    far = eqx.tree_at(lambda prior: prior.mean, mixture, mixture.mean.at[1:, 0].add(jnp.array([100.0, -100.0])))
    drawn = jax.vmap(lambda key: sample(far, key))(jax.random.split(jax.random.key(2), 2000))
    hip = np.asarray(drawn)[:, 0, 0]
    shares = [np.mean(np.abs(hip - centre) < 50) for centre in (0, 100, -100)]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.04)


def test_sitting_is_an_ordinary_pose(shipped: PosePrior, poses: np.ndarray) -> None:
    """A prior that pulls sitting people up would make it rare: it must cost no more than most of what it draws."""
    sitting = np.asarray(shipped.mean[0]).reshape(-1, 3).copy()
    for side in ("left", "right"):
        sitting[POSED_JOINTS.index(f"{side}_hip"), 0] = -np.pi / 2
        sitting[POSED_JOINTS.index(f"{side}_knee"), 0] = np.pi / 2
    typical = jax.vmap(lambda pose: energy(shipped, pose))(jnp.asarray(poses))
    assert float(energy(shipped, jnp.asarray(sitting))) < np.median(typical)


def test_lying_is_standing_in_a_turned_frame(anny: BodyModel, shipped: PosePrior, poses: np.ndarray) -> None:
    """The prior does not know the global orientation: a turned body differs by that turn alone."""
    turn = Rotation.from_euler("x", -90, degrees=True)
    body = jnp.zeros(anny.beta_count)
    upright = pose_body(anny, body, jnp.concatenate([jnp.zeros((1, 3)), jnp.asarray(poses[0])])).joints
    lying = pose_body(anny, body, jnp.concatenate([turn.as_rotvec()[None], jnp.asarray(poses[0])])).joints
    np.testing.assert_allclose(lying - lying[0], turn.apply(upright - upright[0]), atol=1e-5)
    assert shipped.mean.shape[1] == 3 * len(POSED_JOINTS)


def _rewritten(tmp_path: Path, **changes: np.ndarray) -> Path:
    with pose_prior.resources.files("engine.body.data").joinpath(pose_prior.DEFAULT_PRIOR).open("rb") as stream:
        arrays = dict(np.load(io.BytesIO(stream.read())))
    path = tmp_path / "prior.npz"
    np.savez(path, **{**arrays, **changes})  # pyright: ignore[reportArgumentType]
    return path


def test_a_file_elsewhere_reads_like_the_shipped_one(tmp_path: Path, shipped: PosePrior) -> None:
    read = load_pose_prior(_rewritten(tmp_path))
    assert read.hinge_joints == shipped.hinge_joints
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
        ({"log_weights": np.full(1, np.nan, np.float32)}, "NaN"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(PosePriorError, match=message):
        load_pose_prior(_rewritten(tmp_path, **changes))
