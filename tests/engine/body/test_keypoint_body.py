"""The reduced body equals the full mesh, for any schema, shape and pose."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adapters.bodies.smpl_files import build_smpl_body
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import pose_keypoints, pose_skeleton, reduce_body, rest_keypoints
from engine.body.model import BodyModel, pose_body, posed_keypoints
from engine.body.schema_tables import COCO_FEET
from engine.body.schemas import COCO_17, HALPE_26, SCHEMAS, WHOLEBODY_133, KeypointSchema
from tests.smpl_samples import SAMPLE_KEYPOINTS, random_pose, sample_model

FLOAT32_TOLERANCE_M = 1e-6
FLOAT64_TOLERANCE_M = 1e-12

_pose_keypoints = jax.jit(pose_keypoints)
_pose_keypoints_at = jax.jit(jax.vmap(pose_keypoints, (None, 0, 0)))
_jacobian = jax.jit(jax.jacrev(pose_keypoints, argnums=(1, 2)))

schemas = pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())


def _sample_body(**options: int) -> BodyModel:
    return build_smpl_body(sample_model(**options), "neutral", "sample", SAMPLE_KEYPOINTS)


def _mixed_body() -> BodyModel:
    """Keypoints that hang on many vertices and joints at once, with weights of any sum and sign."""
    body, rng = _sample_body(), np.random.default_rng(3)
    return eqx.tree_at(
        lambda b: (b.keypoint_vertices, b.keypoint_joints),
        body,
        (
            jnp.asarray(rng.normal(0, 0.05, body.keypoint_vertices.shape)),
            jnp.asarray(rng.normal(0, 0.1, body.keypoint_joints.shape)),
        ),
    )


BODIES = {
    "sample": _sample_body,
    "sample, 40 betas": lambda: _sample_body(seed=1, vertex_count=700, beta_count=40),
    "mixed keypoints": _mixed_body,
    "embedded": load_embedded_body,
    "embedded, 16 betas": lambda: load_embedded_body(16),
}


@jax.jit
def _full_and_reduced(body, reduced, betas, poses):
    full = jax.vmap(lambda b, p: posed_keypoints(body, pose_body(body, b, p)))(betas, poses)
    return full, jax.vmap(pose_keypoints, (None, 0, 0))(reduced, betas, poses)


def assert_reduced_is_full(body: BodyModel, schema: KeypointSchema, tolerance_m: float, count: int = 50) -> None:
    reduced = reduce_body(body, schema)
    rows = np.array([body.keypoint_names.index(name) for name in reduced.schema.keypoint_names])
    dtype = body.v_template.dtype
    betas = jnp.asarray(np.random.default_rng(0).normal(size=(count, body.beta_count)), dtype)
    poses = jnp.asarray(np.stack([random_pose(seed) for seed in range(count)]), dtype)

    full, fast = _full_and_reduced(body, reduced, betas, poses)
    assert fast.dtype == dtype
    np.testing.assert_allclose(fast, full[:, rows], rtol=0, atol=tolerance_m)


@pytest.mark.parametrize("make_body", BODIES.values(), ids=BODIES.keys())
def test_reduced_is_full_in_float32(make_body):
    assert_reduced_is_full(make_body(), HALPE_26, FLOAT32_TOLERANCE_M)


@schemas
def test_reduced_is_full_for_any_schema(schema):
    assert_reduced_is_full(_sample_body(), schema, FLOAT32_TOLERANCE_M)


@pytest.mark.parametrize("make_body", [_sample_body, _mixed_body], ids=["sample", "mixed keypoints"])
def test_reduced_is_full_in_float64(make_body):
    with jax.enable_x64(True):
        assert_reduced_is_full(make_body(), HALPE_26, FLOAT64_TOLERANCE_M)


@pytest.fixture(scope="module")
def double():
    """Everything in the test in float64, with a body that is."""
    with jax.enable_x64(True):
        yield reduce_body(_sample_body(), HALPE_26)


@schemas
def test_keypoints_stand_in_the_order_of_the_schema_without_those_the_body_lacks(schema):
    reduced = reduce_body(_sample_body(), schema)
    assert reduced.schema.keypoint_names == tuple(n for n in schema.keypoint_names if n in SAMPLE_KEYPOINTS)
    assert reduced.masses.shape == (len(reduced.schema), 24)


def test_wholebody_keeps_body_and_feet():
    reduced = reduce_body(_sample_body(), WHOLEBODY_133)
    assert reduced.schema.keypoint_names == (*COCO_17.keypoint_names, *COCO_FEET)


def test_a_schema_of_which_the_body_has_nothing_is_an_error():
    hand = WHOLEBODY_133.subset(["left_thumb1", "left_thumb2"])
    with pytest.raises(ValueError, match="body SMPL neutral has none of the keypoints of schema wholebody133"):
        reduce_body(_sample_body(), hand)


def test_the_rest_pose_is_the_zero_pose(double):
    betas = jnp.asarray(np.random.default_rng(0).normal(size=10))
    np.testing.assert_allclose(
        rest_keypoints(double, betas),
        _pose_keypoints(double, betas, jnp.zeros((24, 3))),
        rtol=0,
        atol=FLOAT64_TOLERANCE_M,
    )


def test_the_skeleton_is_that_of_the_full_body(double):
    betas, pose = jnp.ones(10), jnp.asarray(random_pose(1))
    joints = jax.jit(pose_body)(_sample_body(), betas, pose).joints
    np.testing.assert_allclose(
        jax.jit(pose_skeleton)(double, betas, pose).positions, joints, rtol=0, atol=FLOAT64_TOLERANCE_M
    )


def test_joints_carry_all_of_a_keypoint(double):
    np.testing.assert_allclose(double.masses.sum(axis=1), 1, rtol=0, atol=1e-6)


def test_fewer_betas_first_or_later_is_the_same(double):
    before = reduce_body(_sample_body().with_betas(4), HALPE_26)
    assert (before.beta_count, before.joint_count) == (4, 24)
    np.testing.assert_array_equal(before.offset_shapedirs, double.offset_shapedirs[..., :4])
    np.testing.assert_array_equal(before.joint_shapedirs, double.joint_shapedirs[..., :4])


ANGLES = {"zero": 0.0, "1e-4": 1e-4, "generic": 1.0, "pi": np.pi}


def _poses_at(angles: list[float]) -> jnp.ndarray:
    """Every joint turned by exactly that angle, about axes of its own."""
    axes = random_pose(0)
    return jnp.asarray(np.multiply.outer(angles, axes / np.linalg.norm(axes, axis=1, keepdims=True)))


@pytest.mark.parametrize("angle", ANGLES.values(), ids=ANGLES.keys())
def test_derivatives_are_finite_and_differences_confirm_them(double, angle):
    pose, step = _poses_at([angle])[0], 1e-5
    by_betas, by_pose = _jacobian(double, jnp.ones(10), pose)
    assert np.isfinite(by_betas).all()
    assert np.isfinite(by_pose).all()
    steps = jnp.concatenate([step * jnp.eye(82), -step * jnp.eye(82)])
    moved = _pose_keypoints_at(double, 1 + steps[:, :10], pose + steps[:, 10:].reshape(-1, 24, 3))
    differences = np.moveaxis(np.asarray(moved[:82] - moved[82:]) / (2 * step), 0, -1)
    np.testing.assert_allclose(by_betas, differences[..., :10], rtol=0, atol=1e-8)
    np.testing.assert_allclose(by_pose, differences[..., 10:].reshape(-1, 3, 24, 3), rtol=0, atol=1e-8)


def test_forward_and_reverse_derivatives_agree(double):
    poses = _poses_at(list(ANGLES.values()))
    forward = jax.jit(jax.vmap(jax.jacfwd(pose_keypoints, argnums=(1, 2)), (None, None, 0)))(
        double, jnp.ones(10), poses
    )
    for i, pose in enumerate(poses):
        for one, other in zip(forward, _jacobian(double, jnp.ones(10), pose), strict=True):
            np.testing.assert_allclose(one[i], other, rtol=0, atol=1e-12)


def test_gradients_in_float32_are_finite_and_right_at_the_zero_pose(double):
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), double)
    low = _jacobian(single, jnp.ones(10, jnp.float32), jnp.zeros((24, 3), jnp.float32))
    high = _jacobian(double, jnp.ones(10), jnp.zeros((24, 3)))
    for one, other in zip(low, high, strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_a_batch_is_its_members(double):
    betas = jnp.asarray(np.random.default_rng(0).normal(size=(3, 10)))
    poses = jnp.stack([jnp.asarray(random_pose(seed)) for seed in range(3)])
    batch = _pose_keypoints_at(double, betas, poses)
    for i in range(3):
        one = _pose_keypoints(double, betas[i], poses[i])
        np.testing.assert_allclose(batch[i], one, rtol=0, atol=FLOAT64_TOLERANCE_M)


def test_products_ask_for_full_precision():
    body = reduce_body(_sample_body(), COCO_17)
    for function, pose in ((pose_keypoints, (jnp.zeros((24, 3)),)), (rest_keypoints, ())):
        program = jax.jit(function).lower(body, jnp.zeros(10), *pose).as_text()
        products = re.findall(r"stablehlo\.dot_general.*", program)
        assert products
        assert all("precision = [HIGHEST, HIGHEST]" in product for product in products)
