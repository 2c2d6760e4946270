"""The posed problem: the body it poses, what it ignores, and its analytic Jacobian against every other way."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from adapters.bodies.smpl_files import build_smpl_body
from engine.body import quaternions
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody, pose_keypoints, reduce_body
from engine.body.pose_prior import hinge_residuals, load_pose_prior
from engine.body.schemas import COCO_17, HALPE_26
from engine.picture.cameras import Lens
from engine.picture.noise import NoiseModel
from engine.picture.observation import Observation
from engine.posed.jacobian import linearise
from engine.posed.model import PosedModel, make_posed_model
from engine.posed.problem import (
    Noise,
    Picture,
    PictureUnknowns,
    PosedProblem,
    apply_step,
    body_pose,
    keypoint_residuals,
    noise_of,
    pose_model,
    posed_energy,
    posed_residuals,
    robustness,
)
from tests.quick_compile import quick_jit
from tests.smpl_samples import SAMPLE_KEYPOINTS, sample_model

EXACT = 1e-9
DIFFERENCE_STEP = 1e-6
DIFFERENCE_TOLERANCE = 1e-5

WEAK, PERSPECTIVE = (0.0, (0.0, 0.0)), (0.4, (0.3, -0.2))
ANGLES = {"zero": 0.0, "1e-4": 1e-4, "generic": None, "π": np.pi}


def _rows(problem, picture, unknowns, step):
    """Residuals in the chart: keypoints before the robust loss, then hinges."""
    model, latents = problem.model, problem.model.latent_count
    moved = apply_step(unknowns, step[:latents], step[latents : latents + 6])
    shaped = Picture(picture.observation, picture.betas + step[latents + 6 :])
    residuals = keypoint_residuals(problem, shaped, moved)
    return jnp.concatenate([residuals.reshape(-1), hinge_residuals(model.hinges, body_pose(model, moved.latent))])


# Compiled once per body: angles and lenses are data.
_forward = quick_jit(jax.jacfwd(_rows, argnums=3))
_reverse = quick_jit(jax.jacrev(_rows, argnums=3))
_rows_at = quick_jit(jax.vmap(_rows, in_axes=(None, None, None, 1), out_axes=1))
_linearise = quick_jit(linearise, static_argnames="free_betas")
_energy = quick_jit(posed_energy)
_energy_gradient = quick_jit(jax.grad(posed_energy, argnums=2))
_residuals = quick_jit(keypoint_residuals)
_pose = quick_jit(pose_model)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def _plain_body() -> KeypointBody:
    return reduce_body(load_embedded_body(), COCO_17)


def _corrective_body() -> KeypointBody:
    """With pose blendshapes, as SMPL."""
    return reduce_body(build_smpl_body(sample_model(), "neutral", "sample", SAMPLE_KEYPOINTS), HALPE_26)


BODIES = {"plain": _plain_body, "pose blendshapes": _corrective_body}


@pytest.fixture(scope="module", params=BODIES.values(), ids=BODIES.keys())
def model(request: pytest.FixtureRequest) -> PosedModel:
    with jax.enable_x64(True):
        return _in_float64(make_posed_model(request.param(), load_pose_prior()))


def _in_float64(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


def _at_angle(model: PosedModel, angle: float | None, rng: np.random.Generator) -> PosedModel:
    """The model with a mean pose in which every joint is turned by the angle: z = 0 is exactly there."""
    if angle is None:
        return model
    axes = rng.normal(size=model.pose_mean.shape)
    pose = angle * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    return eqx.tree_at(lambda m: m.pose_mean, model, jnp.asarray(pose))


def _unknowns(model: PosedModel, angle: float | None, rng: np.random.Generator) -> PictureUnknowns:
    turn = rng.normal(size=3) if angle is None else np.array([0.0, 0.6, 0.8]) * angle
    latent = rng.normal(size=model.latent_count) if angle is None else np.zeros(model.latent_count)
    orientation = quaternions.from_rotation_vector(jnp.asarray(turn))
    return PictureUnknowns(orientation, jnp.asarray(latent), jnp.asarray(-0.5), jnp.array([0.1, -0.2]))


def _observation(model: PosedModel, rng: np.random.Generator, lens: Lens | None = None) -> Observation:
    keypoints = len(model.body.schema)
    confidence = rng.uniform(0.2, 1, keypoints)
    confidence[2] = 0
    one = jnp.ones(())
    points = jnp.asarray(rng.normal(scale=0.3, size=(keypoints, 2)))
    lens = _lens(*WEAK) if lens is None else lens
    return Observation(points, jnp.asarray(confidence), jnp.zeros(2), one, one, jnp.asarray(True), lens)


def _lens(inverse_focal: float, principal_point: tuple[float, float]) -> Lens:
    return Lens(jnp.asarray(inverse_focal), jnp.asarray(principal_point))


def _noise(model: PosedModel) -> Noise:
    return noise_of(NoiseModel(0.05), model.body.schema)


def test_poses_like_the_reduced_body(model: PosedModel) -> None:
    rng = np.random.default_rng(0)
    unknowns, betas = _unknowns(model, None, rng), jnp.asarray(rng.normal(size=model.beta_count))
    orientation = quaternions.to_rotation_vector(unknowns.orientation)
    pose = jnp.concatenate([orientation[None], body_pose(model, unknowns.latent)])
    expected = pose_keypoints(model.body, betas, pose)
    np.testing.assert_allclose(_pose(model, betas, unknowns).keypoints, expected, atol=EXACT)


@pytest.mark.parametrize("lens", [WEAK, PERSPECTIVE], ids=["weak", "perspective"])
@pytest.mark.parametrize("angle", ANGLES.values(), ids=ANGLES.keys())
def test_jacobian_is_exact(model: PosedModel, angle: float | None, lens: tuple) -> None:
    rng = np.random.default_rng(1)
    model = _at_angle(model, angle, rng)
    unknowns, betas = _unknowns(model, angle, rng), jnp.asarray(rng.normal(size=model.beta_count))
    noise = _noise(model)
    problem = (PosedProblem(model, noise), Picture(_observation(model, rng, _lens(*lens)), betas), unknowns)
    zero = jnp.zeros(model.latent_count + 6 + model.beta_count)
    forward, reverse = np.asarray(_forward(*problem, zero)), np.asarray(_reverse(*problem, zero))
    largest = np.abs(forward).max()
    np.testing.assert_allclose(forward, reverse, atol=EXACT * largest)
    steps = DIFFERENCE_STEP * rng.normal(size=(len(zero), 5))
    ahead, behind = np.asarray(_rows_at(*problem, steps)), np.asarray(_rows_at(*problem, -steps))
    np.testing.assert_allclose(
        2 * forward @ steps, ahead - behind, atol=DIFFERENCE_TOLERANCE * np.abs(steps).max() * largest
    )

    linear = _linearise(*problem, free_betas=True)
    rows = np.asarray(_rows_at(*problem, zero[:, None]))[:, 0]
    keypoints = 2 * len(model.body.schema)
    squared = np.sum(rows[:keypoints].reshape(-1, 2) ** 2, axis=1)
    weights = np.ones(len(rows))
    weights[:keypoints] = np.repeat(robustness(jnp.asarray(squared), noise.width), 2)
    analytic = np.concatenate([linear.by_whitened, linear.by_dense], axis=1)
    np.testing.assert_allclose(analytic, weights[:, None] * forward, atol=EXACT * largest)
    np.testing.assert_allclose(linear.residuals, weights * rows, atol=EXACT)
    fixed = _linearise(*problem, free_betas=False)
    np.testing.assert_allclose(fixed.by_dense, linear.by_dense[:, :6], atol=EXACT)


def test_linear_model_has_the_gradient_of_the_energy(model: PosedModel) -> None:
    rng = np.random.default_rng(2)
    unknowns, betas = _unknowns(model, None, rng), jnp.asarray(rng.normal(size=model.beta_count))
    observation = _observation(model, rng, _lens(*PERSPECTIVE))
    # Far off: the robust loss is far from quadratic.
    observation = eqx.tree_at(lambda o: o.points, observation, 5 * observation.points)

    problem = (PosedProblem(model, _noise(model)), Picture(observation, betas), unknowns)
    by_unknowns = _energy_gradient(*problem)
    linear = _linearise(*problem, free_betas=False)
    np.testing.assert_allclose(linear.whitened + linear.residuals @ linear.by_whitened, by_unknowns.latent, atol=1e-8)
    by_frame = np.asarray(linear.residuals @ linear.by_dense)
    np.testing.assert_allclose(by_frame[3], by_unknowns.log_scale, atol=1e-8)
    np.testing.assert_allclose(by_frame[4:], by_unknowns.translation, atol=1e-8)


def test_gradient_is_finite_where_nothing_is_off_and_nothing_is_turned(model: PosedModel) -> None:
    rng = np.random.default_rng(3)
    model = _at_angle(model, 0.0, rng)
    unknowns, betas = _unknowns(model, 0.0, rng), jnp.zeros(model.beta_count)
    observation = _observation(model, rng)
    gradient = _energy_gradient(PosedProblem(model, _noise(model)), Picture(observation, betas), unknowns)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_energy_is_half_the_squared_residuals(model: PosedModel) -> None:
    rng = np.random.default_rng(9)
    unknowns, betas, observation = _unknowns(model, None, rng), jnp.zeros(model.beta_count), _observation(model, rng)
    noise = _noise(model)
    problem = (PosedProblem(model, noise), Picture(observation, betas), unknowns)
    squared = np.sum(np.asarray(_residuals(*problem)) ** 2, axis=1)
    loss = np.sum(squared * noise.width**2 / (noise.width**2 + squared))
    limits = np.sum(np.asarray(hinge_residuals(model.hinges, body_pose(model, unknowns.latent))) ** 2)
    expected = 0.5 * (loss + limits + np.sum(np.asarray(unknowns.latent) ** 2))
    np.testing.assert_allclose(0.5 * np.sum(np.asarray(posed_residuals(*problem)) ** 2), expected, rtol=EXACT)
    np.testing.assert_allclose(_energy(*problem), expected, rtol=EXACT)


def test_unseen_keypoints_have_no_effect(model: PosedModel) -> None:
    rng = np.random.default_rng(4)
    unknowns, betas = _unknowns(model, None, rng), jnp.zeros(model.beta_count)
    observation = _observation(model, rng)
    moved = eqx.tree_at(lambda o: o.points, observation, observation.points.at[2].add(1e6))
    before, after = (
        _energy(PosedProblem(model, _noise(model)), Picture(seen, betas), unknowns) for seen in (observation, moved)
    )
    assert before == after


def test_turning_the_picture_turns_the_orientation(model: PosedModel) -> None:
    rng = np.random.default_rng(5)
    unknowns, betas, observation = _unknowns(model, None, rng), jnp.zeros(model.beta_count), _observation(model, rng)
    angle = 0.7
    # The picture's y points down: a turn by +angle in it is one by −angle about the camera's axis.
    picture = Rotation.from_euler("z", angle).as_matrix()[:2, :2]
    camera = quaternions.from_rotation_vector(jnp.array([0.0, 0.0, -angle]))
    # The body turns about its root, and that is not its origin.
    root = np.exp(unknowns.log_scale) * np.asarray(model.body.joints[0, :2]) * [1, -1]
    turned = PictureUnknowns(
        quaternions.multiply(camera, unknowns.orientation),
        unknowns.latent,
        unknowns.log_scale,
        jnp.asarray(picture @ (unknowns.translation + root) - root),
    )
    seen = eqx.tree_at(lambda o: o.points, observation, observation.points @ picture.T)
    problem = PosedProblem(model, _noise(model))
    before = _energy(problem, Picture(observation, betas), unknowns)
    after = _energy(problem, Picture(seen, betas), turned)
    np.testing.assert_allclose(after, before, rtol=EXACT)


def test_perspective_of_a_far_camera_is_weak(model: PosedModel) -> None:
    rng = np.random.default_rng(6)
    unknowns, betas, observation = _unknowns(model, None, rng), jnp.zeros(model.beta_count), _observation(model, rng)
    problem = PosedProblem(model, _noise(model))
    far, weak = (
        _residuals(problem, Picture(eqx.tree_at(lambda o: o.lens, observation, lens), betas), unknowns)
        for lens in (_lens(1e-9, (0.1, 0.2)), _lens(0.0, (0.1, 0.2)))
    )
    np.testing.assert_allclose(far, weak, atol=1e-6)


def test_perspective_is_a_pinhole() -> None:
    model = _in_float64(make_posed_model(_plain_body(), load_pose_prior()))
    rng = np.random.default_rng(7)
    focal, centre = 2.5, np.array([0.3, -0.2])
    unknowns, betas = _unknowns(model, None, rng), jnp.zeros(model.beta_count)
    observation = _observation(model, rng, _lens(1 / focal, tuple(centre)))
    problem = PosedProblem(model, Noise(jnp.ones(len(model.body.schema)), jnp.asarray(8.0)))
    residuals = _residuals(problem, Picture(observation, betas), unknowns)
    # The body's origin is where translation is seen, at the distance at which a metre has the camera's scale.
    distance = focal / np.exp(unknowns.log_scale)
    origin = (np.asarray(unknowns.translation) - centre) * distance / focal
    points = np.asarray(_pose(model, betas, unknowns).keypoints)
    depth = distance - points[:, 2]
    seen = centre + focal * (origin + points[:, :2] * [1, -1]) / depth[:, None]
    expected = np.sqrt(observation.confidence)[:, None] * (observation.points - seen)
    np.testing.assert_allclose(residuals, expected, atol=EXACT)


def test_knees_do_not_bend_backwards() -> None:
    model = _in_float64(make_posed_model(_plain_body(), load_pose_prior()))
    knees = [model.hinges.joints.index(joint) for joint in (3, 4)]
    pose = np.zeros((23, 3))
    pose[[3, 4], 0] = np.radians([-15.0, 60.0])
    limits = np.asarray(hinge_residuals(model.hinges, jnp.asarray(pose)))
    assert limits[knees[0]] == pytest.approx(-2.0)
    assert limits[knees[1]] == 0


def test_dropped_directions_move_no_keypoint() -> None:
    prior = _in_float64(load_pose_prior())
    model = _in_float64(make_posed_model(_plain_body(), prior))
    drawn = np.random.default_rng(8).normal(size=(20, len(prior.mean)))
    poses = np.asarray(prior.mean + drawn @ prior.axes.T).reshape(20, -1, 3)
    latents = np.einsum("zjc,njc->nz", model.pose_whitener, poses - np.asarray(model.pose_mean))
    kept = np.asarray(jax.vmap(lambda z: body_pose(model, z))(jnp.asarray(latents)))
    assert model.latent_count < len(prior.mean)
    root = np.zeros((20, 1, 3))
    betas = jnp.zeros(model.beta_count)
    posed = jax.vmap(lambda pose: pose_keypoints(model.body, betas, pose))
    full, cut = (np.asarray(posed(jnp.asarray(np.concatenate([root, p], axis=1)))) for p in (poses, kept))
    assert np.linalg.norm(full - cut, axis=-1).max() < 0.002


def test_another_skeleton_is_refused(model: PosedModel) -> None:
    prior = load_pose_prior()
    cut = eqx.tree_at(lambda p: (p.mean, p.axes), prior, (prior.mean[:60], prior.axes[:60, :60]))
    with pytest.raises(ValueError, match="24 joints"):
        make_posed_model(model.body, cut)
