"""The densities that the pose prior was chosen from, and the plain fit that compares them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, multivariate_t

from benchmarks.dense_fit import aligned_error_mm, fit_pictures, parts_of_density, parts_of_gaussian, prior_terms
from benchmarks.pose_densities import Form, core_basis, core_mirror, fit_density, log_density
from benchmarks.synthetic import SyntheticSettings, make_pictures, sampled_poses
from engine.body.keypoint_body import KeypointBody
from engine.body.pose_prior import load_pose_prior, sample

MIXTURE = Form(singles=1, pairs=1)


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    """Two kinds of poses, each its own mirror image, so that a mixture has something to find."""
    prior = load_pose_prior()
    drawn = jax.vmap(lambda key: sample(prior, key))(jax.random.split(jax.random.key(0), 200))
    poses = np.asarray(drawn, np.float64).reshape(200, -1)
    return np.where(np.arange(200)[:, None] < 100, poses, 0.5 * poses + 2.0 * (np.arange(69) % 3 == 0))


def test_core_coordinates_are_orthonormal_and_closed_under_mirroring() -> None:
    basis, mirror = core_basis(), core_mirror()
    assert basis.shape == (37, 69)
    np.testing.assert_allclose(basis @ basis.T, np.eye(37), atol=1e-6)
    np.testing.assert_allclose(mirror @ mirror, np.eye(37), atol=1e-6)


def test_one_gaussian_is_the_sample_covariance_plus_the_floor(poses: np.ndarray) -> None:
    density = fit_density(Form(floor_degrees=2.0), poses)
    points = poses @ core_basis().T
    both = np.concatenate([points, points @ core_mirror().T])
    expected = np.cov(both.T, bias=True) + np.radians(2) ** 2 * np.eye(37)
    np.testing.assert_allclose(density.covariances[0], expected, atol=1e-6)
    np.testing.assert_allclose(
        log_density(density, points[:5]), multivariate_normal(both.mean(axis=0), expected).logpdf(points[:5]), atol=1e-3
    )


def test_t_has_the_density_of_student_s_t(poses: np.ndarray) -> None:
    density = fit_density(Form(degrees_of_freedom=5), poses)
    points = poses[:5] @ core_basis().T
    expected = multivariate_t(density.means[0], density.covariances[0], df=5).logpdf(points)
    np.testing.assert_allclose(log_density(density, points), expected, atol=1e-6)


@pytest.mark.parametrize("form", [MIXTURE, Form(singles=0, pairs=2, degrees_of_freedom=10), Form(rank=6)])
def test_mirroring_leaves_every_density_unchanged(poses: np.ndarray, form: Form) -> None:
    points = poses[:20] @ core_basis().T
    density = fit_density(form, poses)
    np.testing.assert_allclose(log_density(density, points @ core_mirror().T), log_density(density, points), atol=1e-4)


def test_a_mixture_explains_two_kinds_of_poses_better(poses: np.ndarray) -> None:
    points = poses @ core_basis().T
    gain = log_density(fit_density(Form(singles=2), poses), points) - log_density(fit_density(Form(), poses), points)
    assert gain.mean() > 0.5


@pytest.mark.parametrize("form", [Form(), MIXTURE, Form(degrees_of_freedom=5)])
def test_quadratic_touches_the_energy_and_stays_above_it(poses: np.ndarray, form: Form) -> None:
    """Majorisation: at the pose the value and the gradient agree, elsewhere −log p is not larger."""
    with jax.enable_x64(True):
        parts = parts_of_density(fit_density(form, poses), poses)
        here = jnp.asarray(poses[0])
        energy, gradient, hessian = prior_terms(parts, here)
        np.testing.assert_allclose(gradient, jax.grad(lambda pose: prior_terms(parts, pose)[0])(here), atol=1e-9)
        for step in np.random.default_rng(0).normal(size=(20, 69)) * np.geomspace(0.001, 1, 20)[:, None]:
            bound = energy + gradient @ step + 0.5 * step @ hessian @ step
            assert prior_terms(parts, here + step)[0] <= bound + 1e-9


@pytest.mark.slow
def test_dense_fit_finds_the_pose_when_the_prior_knows_it(coco_body: KeypointBody) -> None:
    """A prior that is narrow around the true pose leaves no error to speak of."""
    prior = load_pose_prior()
    poses = sampled_poses(prior, 1)
    pictures = make_pictures(
        coco_body, poses, SyntheticSettings(people=1, pictures=1, noise_level=0.0, yaw_range=(0, 0), seed=3)
    )
    mean = pictures.pose[0, 0, 1:].reshape(-1)
    parts = parts_of_gaussian(mean, 0.01 * np.eye(69))
    found = fit_pictures(coco_body, parts, prior.hinges, pictures, 0.003, from_truth=False)
    assert found.pa_mpjpe_mm[0] < 1
    assert jnp.isfinite(found.energy[0])


def test_aligned_error_ignores_similarity_but_not_mirroring() -> None:
    points = np.random.default_rng(0).normal(size=(14, 3))
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    assert aligned_error_mm(2 * points @ turn + 5, points) < 1e-6
    assert aligned_error_mm(points * [-1, 1, 1], points) > 100
