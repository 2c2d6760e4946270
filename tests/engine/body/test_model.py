"""The body model: a plain 4×4 transcription of the paper as oracle, laws of bodies, derivatives.

That smplx gives the same vertices and joints is shown in tests/adapters/test_smplx_export.py.
"""

import itertools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from adapters.bodies.smpl_files import build_smpl_body
from engine.body.model import (
    BodyModel,
    forward_kinematics,
    pose_body,
    pose_features,
    posed_keypoints,
    shape_vertices,
    tree_levels,
)
from engine.body.rotations import rotation_matrix
from tests.smpl_samples import PARENTS, SAMPLE_KEYPOINTS, random_pose, sample_model

EXACT_M = 1e-12
"""For float64 computations that differ only in the order of their operations."""

_pose_body = jax.jit(pose_body)


def sample_body(seed: int = 0, **options: int) -> BodyModel:
    return build_smpl_body(sample_model(seed, **options), "neutral", "sample", SAMPLE_KEYPOINTS)


@pytest.fixture(scope="module")
def double():
    """Everything in the test in float64, with a body that is."""
    with jax.enable_x64(True):
        yield sample_body()


def reference(data: dict[str, np.ndarray], betas: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints by the formulas of the SMPL paper, one 4×4 matrix per joint and vertex."""
    shaped = data["v_template"] + data["shapedirs"] @ betas
    rest_joints = data["J_regressor"] @ shaped
    rotations = Rotation.from_rotvec(pose).as_matrix()
    corrected = shaped + data["posedirs"] @ (rotations[1:] - np.eye(3)).ravel()
    world, joints = [], []
    for joint, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = rotations[joint]
        local[:3, 3] = rest_joints[joint] - (rest_joints[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
        joints.append(world[-1][:3, 3])
    from_rest = []
    for joint in range(len(PARENTS)):
        to_joint = np.eye(4)
        to_joint[:3, 3] = -rest_joints[joint]
        from_rest.append(world[joint] @ to_joint)
    vertices = np.empty_like(corrected)
    for v, position in enumerate(corrected):
        blended = sum(weight * matrix for weight, matrix in zip(data["weights"][v], from_rest, strict=True))
        vertices[v] = (blended @ np.append(position, 1))[:3]
    return vertices, np.array(joints)


@pytest.mark.parametrize(("seed", "angle"), [(0, 1.0), (1, 0.0), (2, 1e-4), (3, 3.0)])
def test_bodies_are_those_of_the_paper(double, seed, angle):
    betas, pose = np.random.default_rng(seed).normal(size=10), random_pose(seed, angle)
    vertices, joints = reference(sample_model(), betas, pose)
    posed = _pose_body(double, jnp.asarray(betas), jnp.asarray(pose))
    np.testing.assert_allclose(posed.vertices, vertices, rtol=0, atol=EXACT_M)
    np.testing.assert_allclose(posed.joints, joints, rtol=0, atol=EXACT_M)


def test_the_rest_pose_is_the_shaped_template(double):
    betas = jnp.asarray(np.random.default_rng(0).normal(size=10))
    posed = _pose_body(double, betas, jnp.zeros((24, 3)))
    np.testing.assert_allclose(posed.vertices, shape_vertices(double, betas), rtol=0, atol=EXACT_M)
    np.testing.assert_allclose(posed.joints, double.J_regressor @ posed.vertices, rtol=0, atol=EXACT_M)
    np.testing.assert_array_equal(shape_vertices(double, jnp.zeros(10)), double.v_template)


def test_translation_moves_everything(double):
    betas, pose, transl = jnp.ones(10), jnp.asarray(random_pose(1)), jnp.array([1.0, -2.0, 3.0])
    here, there = _pose_body(double, betas, pose), _pose_body(double, betas, pose, transl)
    np.testing.assert_allclose(there.vertices, here.vertices + transl, rtol=0, atol=EXACT_M)
    np.testing.assert_allclose(there.joints, here.joints + transl, rtol=0, atol=EXACT_M)


def test_the_global_orientation_turns_the_body_about_its_root(double):
    betas, pose = jnp.ones(10), random_pose(2)
    upright, turned = pose.copy(), pose.copy()
    upright[0] = 0
    posed, posed_turned = (_pose_body(double, betas, jnp.asarray(p)) for p in (upright, turned))
    root, rotation = np.asarray(posed.joints[0]), Rotation.from_rotvec(pose[0]).as_matrix()
    np.testing.assert_allclose(posed_turned.joints[0], root, rtol=0, atol=EXACT_M)
    for name in ("vertices", "joints"):
        expected = (np.asarray(getattr(posed, name)) - root) @ rotation.T + root
        np.testing.assert_allclose(getattr(posed_turned, name), expected, rtol=0, atol=EXACT_M)


def test_bones_keep_their_length_in_every_pose(double):
    betas = jnp.ones(10)
    rest, posed = (np.asarray(_pose_body(double, betas, jnp.asarray(random_pose(3, a))).joints) for a in (0.0, 2.0))
    lengths = [np.linalg.norm(joints[1:] - joints[list(PARENTS[1:])], axis=1) for joints in (rest, posed)]
    np.testing.assert_allclose(*lengths, rtol=0, atol=EXACT_M)


def test_a_body_without_pose_blendshapes_is_one_whose_are_zero(double):
    none = eqx.tree_at(lambda body: body.posedirs, double, jnp.zeros((300, 3, 0)))
    zeros = eqx.tree_at(lambda body: body.posedirs, double, jnp.zeros((300, 3, 207)))
    pose = jnp.asarray(random_pose(4))
    np.testing.assert_array_equal(
        _pose_body(none, jnp.ones(10), pose).vertices, _pose_body(zeros, jnp.ones(10), pose).vertices
    )


def test_fewer_betas_are_the_others_at_zero(double):
    pose, betas = jnp.asarray(random_pose(5)), jnp.arange(1.0, 5.0)
    few, many = double.with_betas(4), jnp.concatenate([betas, jnp.zeros(6)])
    assert (few.beta_count, few.joint_count) == (4, 24)
    for of_few, of_many in zip(_pose_body(few, betas, pose), _pose_body(double, many, pose), strict=True):
        np.testing.assert_allclose(of_few, of_many, rtol=0, atol=EXACT_M)


@pytest.mark.parametrize("count", [0, 11, -1])
def test_betas_that_the_body_does_not_have(double, count):
    with pytest.raises(ValueError, match=f"body SMPL neutral has 10 shape components, {count} were asked for"):
        double.with_betas(count)


def test_keypoints_are_read_off_vertices_and_joints(double):
    posed = _pose_body(double, jnp.ones(10), jnp.asarray(random_pose(6)))
    keypoints = dict(zip(double.keypoint_names, np.asarray(posed_keypoints(double, posed)), strict=True))
    np.testing.assert_array_equal(keypoints["nose"], posed.vertices[SAMPLE_KEYPOINTS["nose"]])
    np.testing.assert_array_equal(keypoints["right_wrist"], posed.joints[21])
    np.testing.assert_allclose(keypoints["hip"], (posed.joints[1] + posed.joints[2]) / 2, rtol=0, atol=EXACT_M)


def test_pose_features_leave_out_the_root():
    pose = jnp.asarray(random_pose(0, 0.5), jnp.float32)
    features = pose_features(jax.vmap(rotation_matrix)(pose))
    assert features.shape == (207,)
    np.testing.assert_array_equal(features[:9].reshape(3, 3), rotation_matrix(pose[1]) - jnp.eye(3))
    assert not pose_features(jnp.tile(jnp.eye(3), (24, 1, 1))).any()


class TestTree:
    def test_levels_hold_every_joint_below_its_parent(self):
        levels = tree_levels(PARENTS)
        assert sorted(joint for level in levels for joint in level) == list(range(24))
        assert levels[0] == (0,)
        for above, level in itertools.pairwise(levels):
            assert all(PARENTS[joint] in above for joint in level)

    @pytest.mark.parametrize(
        ("parents", "message"),
        [
            ((-1, 2, 0), "joint 1 comes before its parent 2"),
            ((-1, 1), "joint 1 comes before its parent 1"),
            ((-1, 0, -1), "joint 2 has parent -1; joint 0 must be the only root"),
            ((0, 0), "joint 0 has parent 0"),
        ],
    )
    def test_what_is_no_tree(self, parents, message):
        with pytest.raises(ValueError, match=message):
            tree_levels(parents)

    @pytest.mark.parametrize("parents", [(-1,), (-1, 0, 1, 2), (-1, 0, 0, 0), (-1, 0, 1, 0, 3, 1)])
    def test_kinematics_of_any_tree_are_the_products_along_its_branches(self, parents):
        rng = np.random.default_rng(0)
        joints, pose = rng.normal(size=(len(parents), 3)), rng.normal(size=(len(parents), 3))
        rotations, positions = [], []
        for joint, parent in enumerate(parents):
            local = Rotation.from_rotvec(pose[joint])
            rotations.append(local if parent < 0 else rotations[parent] * local)
            bone = joints[joint] - joints[parent]
            positions.append(joints[joint] if parent < 0 else positions[parent] + rotations[parent].apply(bone))
        with jax.enable_x64(True):
            skeleton = forward_kinematics(jax.vmap(rotation_matrix)(jnp.asarray(pose)), jnp.asarray(joints), parents)
        np.testing.assert_allclose(skeleton.positions, positions, rtol=0, atol=EXACT_M)
        np.testing.assert_allclose(skeleton.rotations, [r.as_matrix() for r in rotations], rtol=0, atol=EXACT_M)


def _poses_at(angle: float) -> np.ndarray:
    """Every joint turned by exactly ``angle``, about axes of its own."""
    axes = random_pose(0)
    return angle * axes / np.linalg.norm(axes, axis=1, keepdims=True)


@jax.jit
def _derivatives(body, point, direction, weights):
    """Of all vertices and joints: forward, by differences, and backward from ``weights``."""

    def flat(betas, pose, transl):
        return jnp.concatenate(pose_body(body, betas, pose, transl)).ravel()

    step = 1e-5
    plus, minus = (flat(*(p + s * step * d for p, d in zip(point, direction, strict=True))) for s in (1, -1))
    return jax.jvp(flat, point, direction)[1], (plus - minus) / (2 * step), jax.vjp(flat, *point)[1](weights)


@pytest.mark.parametrize("angle", [0.0, 1e-4, 1.0, np.pi], ids=["zero", "1e-4", "generic", "pi"])
def test_derivatives_are_finite_and_differences_confirm_them(double, angle):
    point = (jnp.ones(10), jnp.asarray(_poses_at(angle)), jnp.zeros(3))
    rng = np.random.default_rng(1)
    for _ in range(3):
        direction = tuple(jnp.asarray(rng.normal(size=part.shape)) for part in point)
        weights = jnp.asarray(rng.normal(size=3 * (300 + 24)))
        forward, differences, backward = _derivatives(double, point, direction, weights)
        np.testing.assert_allclose(forward, differences, rtol=0, atol=1e-6)
        assert all(np.isfinite(part).all() for part in backward)
        inner = sum(jnp.vdot(part, d) for part, d in zip(backward, direction, strict=True))
        np.testing.assert_allclose(inner, weights @ forward, rtol=1e-10)


def test_gradients_in_float32_are_finite_and_right_at_the_zero_pose(double):
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if leaf.dtype == jnp.float64 else leaf, double)

    @jax.jit
    def gradient(body, pose):
        return jax.grad(lambda p: jnp.sum(pose_body(body, jnp.ones(10, p.dtype), p).vertices ** 2))(pose)

    low, high = gradient(single, jnp.zeros((24, 3), jnp.float32)), gradient(double, jnp.zeros((24, 3)))
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, high, rtol=0, atol=1e-4)


def test_a_batch_is_its_members(double):
    betas = jnp.asarray(np.random.default_rng(0).normal(size=(3, 10)))
    poses = jnp.stack([jnp.asarray(random_pose(seed)) for seed in range(3)])
    batch = jax.jit(jax.vmap(pose_body, (None, 0, 0)))(double, betas, poses)
    for i in range(3):
        one = _pose_body(double, betas[i], poses[i])
        np.testing.assert_allclose(batch.vertices[i], one.vertices, rtol=0, atol=EXACT_M)
        np.testing.assert_allclose(batch.joints[i], one.joints, rtol=0, atol=EXACT_M)


def test_products_ask_for_full_precision():
    body = sample_body()
    program = jax.jit(pose_body).lower(body, jnp.zeros(10), jnp.zeros((24, 3))).as_text()
    products = re.findall(r"stablehlo\.dot_general.*", program)
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in product for product in products)
