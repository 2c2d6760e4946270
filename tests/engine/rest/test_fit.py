"""Rest-pose mode: solvers agree, people do not disturb each other, mistakes are named."""

import numpy as np
import pytest

from engine.body.keypoint_body import KeypointBody
from engine.rest.fit import first_order_settings, fit_rest_shape, fit_rest_shapes
from engine.rest.scoring import score_rest_pictures
from engine.scores import Status

BETA_AGREEMENT = 1e-3
SCORE_AGREEMENT = 1e-4


@pytest.fixture(scope="module")
def people(t_pose_pictures):
    """Three people with different numbers of references."""
    generator = np.random.default_rng(11)
    pictures = [t_pose_pictures(generator.normal(size=10), count, seed=count) for count in (3, 4, 6)]
    return [p for p, _ in pictures], [c for _, c in pictures]


@pytest.fixture(scope="module")
def closed_form(coco_body, people):
    return fit_rest_shapes(coco_body, *people)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_loops_reach_the_closed_form_shape(coco_body: KeypointBody, people, closed_form, solver) -> None:
    # The first two people share a compiled size.
    loop = fit_rest_shapes(coco_body, people[0][:2], people[1][:2], solver=solver)
    assert loop.converged.all()
    np.testing.assert_allclose(loop.betas, closed_form.betas[:2], atol=BETA_AGREEMENT)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_loops_reach_the_closed_form_scores(coco_body: KeypointBody, people, closed_form, solver) -> None:
    keypoints, confidence = np.concatenate(people[0]), np.concatenate(people[1])
    fast = score_rest_pictures(coco_body, closed_form.betas[0], keypoints, confidence)
    loop = score_rest_pictures(coco_body, closed_form.betas[0], keypoints, confidence, solver)
    for name in ("consistency", "reprojection_error", "oks"):
        np.testing.assert_allclose(getattr(loop, name), getattr(fast, name), atol=SCORE_AGREEMENT, err_msg=name)


def test_a_person_fitted_alone_gets_the_same_bits(coco_body: KeypointBody, people, closed_form) -> None:
    for i, (keypoints, confidence) in enumerate(zip(*people, strict=True)):
        alone = fit_rest_shape(coco_body, keypoints, confidence)
        np.testing.assert_array_equal(alone.betas, closed_form.betas[i])


def test_a_reference_nobody_can_be_seen_in_has_no_vote(coco_body: KeypointBody, people) -> None:
    keypoints, confidence = people[0][1], people[1][1]
    blind = confidence.copy()
    blind[3] = 0
    without = fit_rest_shape(coco_body, keypoints[:3], confidence[:3])
    np.testing.assert_allclose(fit_rest_shape(coco_body, keypoints, blind).betas, without.betas, atol=BETA_AGREEMENT)


def test_the_own_shape_scores_best_in_t_pose(coco_body: KeypointBody, t_pose_pictures) -> None:
    generator = np.random.default_rng(2)
    shapes = generator.normal(size=(6, 10))
    fits = [fit_rest_shape(coco_body, *t_pose_pictures(betas, 4, seed=1, noise_m=0.003)) for betas in shapes]
    probes = [t_pose_pictures(betas, 8, seed=9, noise_m=0.003) for betas in shapes]
    errors = np.array(
        [[np.median(score_rest_pictures(coco_body, f.betas, *p).reprojection_error) for p in probes] for f in fits]
    )
    # Of all shapes, each probe's own explains it best.
    assert (errors.argmin(axis=0) == np.arange(6)).all()


def test_no_usable_reference_is_an_error(coco_body: KeypointBody) -> None:
    with pytest.raises(ValueError, match="none of 2 references can be used"):
        fit_rest_shape(coco_body, np.zeros((2, 17, 2), np.float32), np.zeros((2, 17), np.float32))


def test_wrong_columns_are_an_error_that_names_the_schema(coco_body: KeypointBody) -> None:
    with pytest.raises(ValueError, match="coco17"):
        score_rest_pictures(coco_body, np.zeros(10), np.zeros((2, 26, 2), np.float32), np.zeros((2, 26), np.float32))


def test_betas_of_another_body_are_an_error(coco_body: KeypointBody) -> None:
    with pytest.raises(ValueError, match="betas have shape"):
        score_rest_pictures(coco_body, np.zeros(3), np.zeros((1, 17, 2), np.float32), np.zeros((1, 17), np.float32))


def test_unknown_solver_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ValueError, match="auto, adam, lbfgs"):
        first_order_settings("newton")


def test_too_few_keypoints_are_a_status_and_nan(coco_body: KeypointBody, t_pose_pictures) -> None:
    keypoints, confidence = t_pose_pictures(np.zeros(10), 2)
    confidence[1, 3:] = 0
    scores = score_rest_pictures(coco_body, np.zeros(10, np.float32), keypoints, confidence)
    assert list(scores.status) == [Status.OK, Status.TOO_FEW_KEYPOINTS]
    assert np.isnan(scores.consistency[1])
    assert np.isfinite(scores.consistency[0])
