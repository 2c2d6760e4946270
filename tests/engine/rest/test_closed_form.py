"""Closed forms against general-purpose solvers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from engine.body.keypoint_body import KeypointBody, rest_keypoints
from engine.picture.cameras import WeakPerspective, project
from engine.picture.observation import observe
from engine.rest.closed_form import SMALLEST_SCALE, best_camera, best_cameras, solve_rest_shape
from engine.rest.problem import REST_NOISE, rest_residuals, rest_shape_residuals

CAMERA_TOLERANCE = 2e-5
BETA_TOLERANCE = 1e-3


def test_camera_is_the_least_squares_solution(coco_body: KeypointBody, t_pose_pictures) -> None:
    betas = np.random.default_rng(3).normal(size=10).astype(np.float32)
    pixels, confidence = t_pose_pictures(betas, 1, noise_m=0.05)
    observation = observe(coco_body, jnp.asarray(pixels[0]), jnp.asarray(confidence[0]))
    points = rest_keypoints(coco_body, jnp.asarray(betas))
    camera = best_camera(coco_body, REST_NOISE, points, observation)

    plane = np.asarray(points)[:, :2] * [1, -1]
    weights = np.sqrt(np.asarray(observation.confidence)) / np.asarray(REST_NOISE.sigmas(coco_body.schema))
    columns = np.zeros((17, 2, 3))
    columns[..., 0], columns[:, 0, 1], columns[:, 1, 2] = plane, 1, 1
    system = (weights[:, None, None] * columns).reshape(-1, 3)
    target = (weights[:, None] * np.asarray(observation.points)).reshape(-1)
    scale, x, y = np.linalg.lstsq(system, target, rcond=None)[0]
    np.testing.assert_allclose(camera.scale, scale, rtol=CAMERA_TOLERANCE)
    np.testing.assert_allclose(camera.translation, [x, y], atol=CAMERA_TOLERANCE)


def test_camera_of_an_upside_down_person_stays_positive(coco_body: KeypointBody, t_pose_pictures) -> None:
    pixels, confidence = t_pose_pictures(np.zeros(10), 1)
    observation = observe(coco_body, -jnp.asarray(pixels[0]), jnp.asarray(confidence[0]))
    points = rest_keypoints(coco_body, jnp.zeros(10))
    camera = best_camera(coco_body, REST_NOISE, points, observation)
    assert float(camera.scale) == pytest.approx(SMALLEST_SCALE)
    assert np.isfinite(np.asarray(project(camera, points))).all()


def test_shared_shape_is_the_minimum_that_scipy_finds(coco_body: KeypointBody, t_pose_pictures) -> None:
    truth = np.random.default_rng(5).normal(size=10)
    observations = jax.vmap(observe, in_axes=(None, 0, 0))(coco_body, *t_pose_pictures(truth, 3))
    solution = solve_rest_shape(coco_body, REST_NOISE, observations, jnp.zeros(10))

    @jax.jit
    def residuals(unknowns):
        betas, cameras = unknowns[:10], unknowns[10:].reshape(3, 3)
        return rest_shape_residuals(
            coco_body, REST_NOISE, betas, WeakPerspective(cameras[:, 0], cameras[:, 1:]), observations
        )

    start_cameras = best_cameras(coco_body, REST_NOISE, jnp.zeros(10), observations)
    start = np.concatenate([np.zeros(10), np.column_stack([start_cameras.scale, start_cameras.translation]).ravel()])
    found = scipy.optimize.least_squares(
        lambda unknowns: np.asarray(residuals(unknowns), float),
        start,
        jac=lambda unknowns: np.asarray(jax.jacfwd(residuals)(jnp.asarray(unknowns)), float),
        x_scale="jac",
    )
    assert bool(solution.converged)
    np.testing.assert_allclose(solution.betas, found.x[:10], atol=BETA_TOLERANCE)


def test_known_shape_is_recovered_from_noiseless_keypoints_up_to_the_prior(coco_body, t_pose_pictures) -> None:
    truth = np.random.default_rng(7).normal(size=10)
    observations = jax.vmap(observe, in_axes=(None, 0, 0))(coco_body, *t_pose_pictures(truth, 4, noise_m=0))
    solution = solve_rest_shape(coco_body, REST_NOISE, observations, jnp.zeros(10))
    cameras = best_cameras(coco_body, REST_NOISE, solution.betas, observations)
    data = jax.vmap(rest_residuals, in_axes=(None, None, None, 0, 0))(
        coco_body, REST_NOISE, solution.betas, cameras, observations
    )
    at_truth = 0.5 * np.sum(truth**2)
    # The minimum lies below the energy at the truth, where the data fit perfectly and only the prior costs.
    assert float(solution.energy) <= at_truth
    assert float(jnp.sqrt(jnp.mean(data**2))) < 0.2
