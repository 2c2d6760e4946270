"""Posed fits and scores: they explain noiseless keypoints, know their own picture, and look at nothing else."""

import jax
import numpy as np
import pytest

from benchmarks.synthetic import SyntheticSettings, make_pictures, sampled_poses
from engine.body.keypoint_body import KeypointBody
from engine.body.pose_prior import load_pose_prior
from engine.evidence.calibration import Calibration
from engine.evidence.shape_evidence import Evidence
from engine.picture.noise import NoiseModel
from engine.posed.fit import fit_shapes, make_context, observe_pictures
from engine.posed.results import picture_evidence, shape_evidence
from engine.posed.scoring import FreeScores, compare, compare_people, fit_own, score_posed_pictures
from engine.posed.search import TILE_SIZE
from engine.scores import Status
from engine.shape import Shape

RESIDUAL_TOLERANCE = 0.005
"""Person heights: half of what the fit assumes as noise."""

LAW_TOLERANCE = 1e-4
"""Of scores in 0..1."""


def known_shape(betas: np.ndarray, evidence: Evidence, row: int) -> Shape:
    """The shape of one picture's evidence."""
    own = Evidence(*(np.asarray(part[row]) for part in evidence))
    return Shape(betas, "anny24", "", "coco17", "free", evidence=own)


@pytest.fixture(scope="module")
def context(coco_body: KeypointBody):
    return make_context(coco_body)


@pytest.fixture(scope="module")
def pictures(coco_body: KeypointBody) -> tuple[np.ndarray, np.ndarray]:
    settings = SyntheticSettings(people=4, pictures=3, noise_level=0.0, seed=2)
    drawn = make_pictures(coco_body, sampled_poses(load_pose_prior(), 50), settings)
    keypoints, confidence = drawn.keypoints_px.reshape(-1, 17, 2), drawn.confidence.reshape(-1, 17)
    return keypoints.astype(np.float32), confidence.astype(np.float32)


@pytest.fixture(scope="module")
def own(context, pictures):
    return fit_shapes(context, observe_pictures(context, *pictures))


@pytest.fixture(scope="module")
def person(context, own) -> Shape:
    evidence = shape_evidence(context, own)
    return known_shape(own.betas[0], evidence, 0)


@pytest.fixture(scope="module")
def scores(context, person, pictures) -> FreeScores:
    return score_posed_pictures(context, person, *pictures)


def test_noiseless_keypoints_are_explained(own) -> None:
    error = np.sqrt(np.mean(np.sum(np.square(own.residuals), axis=-1), axis=1))
    assert np.median(error) < RESIDUAL_TOLERANCE
    assert (own.status == Status.OK).mean() > 0.9


def test_evidence_belongs_to_the_fitted_shape(context, own) -> None:
    """At the minimum h = (Λ + I) β̂, at the assumed noise; the picture's own noise divides both."""
    fitted = jax.tree.map(np.asarray, (own.pictures, own.unknowns))
    assumed = jax.jit(jax.vmap(lambda picture, unknowns: picture_evidence(context.problem, picture, unknowns)))(*fitted)
    converged = own.status == Status.OK
    expected = np.einsum("nij,nj->ni", assumed.precision + np.eye(10), own.betas)
    np.testing.assert_allclose(assumed.information[converged], expected[converged], atol=0.1)
    evidence = shape_evidence(context, own)
    ratio = np.trace(evidence.precision, axis1=1, axis2=2) / np.trace(assumed.precision, axis1=1, axis2=2)
    assert (ratio[converged] > 1).all(), "noiseless pictures are better than was assumed"
    np.testing.assert_allclose(
        evidence.information[converged], (ratio[:, None] * assumed.information)[converged], rtol=1e-3, atol=1e-3
    )


def test_evidence_of_nearly_noiseless_pictures_is_finite(coco_body, pictures) -> None:
    """Small sigmas make systems whose smallest pivots single precision rounds away."""
    exact = make_context(coco_body, noise=NoiseModel(0.0003))
    fits = fit_own(exact, *pictures)
    assert np.isfinite(fits.evidence.precision).all()
    fitted = np.isfinite(fits.fit.energy)
    assert (np.trace(fits.evidence.precision, axis1=1, axis2=2)[fitted] > 10).all()
    person = known_shape(fits.fit.betas[0], fits.evidence, 0)
    assert np.isfinite(compare(exact, person, fits).log_bayes_factor[fitted]).all()


def test_the_reference_picture_scores_itself_perfectly(scores) -> None:
    assert scores.consistency[0] >= 0.99
    assert scores.log_bayes_factor[0] > 0


def test_every_lane_of_a_tile_gives_the_same_bits(context, person, pictures) -> None:
    """Products with constant matrices would round lanes differently by where they stand in the tile."""
    copies = [np.repeat(values[3:4], TILE_SIZE, axis=0) for values in pictures]
    scores = score_posed_pictures(context, person, *copies)
    evidence = shape_evidence(context, fit_shapes(context, observe_pictures(context, *copies)))
    for values in jax.tree.leaves((scores, evidence)):
        np.testing.assert_array_equal(values, np.broadcast_to(values[:1], values.shape))


def test_no_score_changes_when_a_picture_is_resized_shifted_or_mirrored(context, person, coco_body) -> None:
    settings = SyntheticSettings(people=8, pictures=4, noise_level=0.01, seed=3)
    drawn = make_pictures(coco_body, sampled_poses(load_pose_prior(), 50), settings)
    keypoints = drawn.keypoints_px.reshape(-1, 17, 2).astype(np.float32)
    confidence = drawn.confidence.reshape(-1, 17).astype(np.float32)
    swap = list(coco_body.schema.swap)
    mirrored = np.array([2000, 0], np.float32) + (keypoints * np.array([-1, 1], np.float32))[:, swap]
    before = score_posed_pictures(context, person, keypoints, confidence)
    for variant in (keypoints * np.float32(1.7), keypoints + np.array([314, -159], np.float32), mirrored):
        after = score_posed_pictures(
            context, person, variant, confidence[:, swap] if variant is mirrored else confidence
        )
        for name in ("consistency", "same_body_probability", "oks"):
            np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=LAW_TOLERANCE, err_msg=name)


def test_a_picture_alone_gets_the_same_bits(context, person, pictures, scores) -> None:
    for i in (0, 5, 11):
        alone = score_posed_pictures(context, person, pictures[0][i : i + 1], pictures[1][i : i + 1])
        expected = jax.tree.map(lambda value, i=i: value[i : i + 1], scores)
        for name, value in alone._asdict().items():
            np.testing.assert_array_equal(value, getattr(expected, name), err_msg=name)


def test_an_unseen_keypoint_has_no_effect(context, person, pictures) -> None:
    keypoints, confidence = (values[:2].copy() for values in pictures)
    confidence[:, 9] = 0
    before = score_posed_pictures(context, person, keypoints, confidence)
    keypoints[:, 9] = np.nan
    after = score_posed_pictures(context, person, keypoints, confidence)
    np.testing.assert_array_equal(before.consistency, after.consistency)


def test_too_few_keypoints_are_a_status_and_nan(context, person, pictures) -> None:
    keypoints, confidence = (values[:2].copy() for values in pictures)
    confidence[1, 3:] = 0
    scores = score_posed_pictures(context, person, keypoints, confidence)
    assert scores.status[1] == Status.TOO_FEW_KEYPOINTS
    assert np.isnan(scores.consistency[1])
    assert np.isfinite(scores.consistency[0])


@pytest.mark.parametrize(("threshold", "prior"), [(0.0, 0.5), (1.0, 0.0), (1.0, 1.0)])
def test_parameters_out_of_range_are_an_error(context, person, pictures, threshold, prior) -> None:
    with pytest.raises(ValueError, match=r"positive|between"):
        score_posed_pictures(context, person, *pictures, threshold, prior)


def test_among_several_people_each_picture_is_scored_against_its_best_match(context, own, pictures) -> None:
    evidence = shape_evidence(context, own)
    people = [known_shape(own.betas[i], evidence, i) for i in (0, 4, 8)]
    fits = fit_own(context, *pictures)
    scores = matches = compare_people(context, people, fits)
    assert matches.best[[0, 4, 8]].tolist() == [0, 1, 2], "a picture matches itself best"
    alone = [compare(context, person, fits) for person in people]
    for i, best in enumerate(matches.best):
        assert scores.consistency[i] == alone[best].consistency[i]
        assert scores.log_bayes_factor[i] == max(one.log_bayes_factor[i] for one in alone)


def test_a_calibration_that_trusts_less_says_less(context, person, pictures) -> None:
    fits = fit_own(context, *pictures)
    bold, shy = (
        compare(context, person, fits, calibration=Calibration(scale, np.zeros((10, 10)), "by hand"))
        for scale in (0.5, 2.0)
    )
    assert (shy.information_bits < bold.information_bits).all()
    assert np.abs(shy.log_bayes_factor).max() < np.abs(bold.log_bayes_factor).max()
    np.testing.assert_array_equal(shy.consistency, bold.consistency)
