"""Calibration: recovers what was put in, and the likelihood against a dense Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.body.schemas import COCO_17
from engine.evidence.calibration import Calibration, calibrated, calibrated_noise, calibrated_pictures
from engine.evidence.calibration_estimate import calibrate, calibrate_unlabelled
from engine.evidence.reliability import expected_calibration_error, leave_one_out, reliability
from engine.evidence.shape_evidence import Evidence, fuse, log_bayes_factor, weaken
from engine.picture.noise import NoiseModel

LIKELIHOOD_TOLERANCE = 1e-4
EVIDENCE_TOLERANCE = 2e-4
RECOVERY_TOLERANCE = 0.15


def _pictures(
    people: int, pictures: int, noise_scale: float, within: np.ndarray, rank: int = 6, seed: int = 0
) -> tuple[Evidence, np.ndarray]:
    """Evidence of random precision whose true noise and within-person covariance are known."""
    draw = np.random.default_rng(seed)
    betas = len(within)
    person = np.repeat(np.arange(people), pictures)
    roots = 3 * draw.normal(size=(len(person), rank, betas)) / np.sqrt(betas)
    shapes = draw.normal(size=(people, betas))[person] + draw.multivariate_normal(np.zeros(betas), within, len(person))
    seen = np.einsum("nrb,nb->nr", roots, shapes) + noise_scale * draw.normal(size=(len(person), rank))
    precision = np.einsum("nrb,nrc->nbc", roots, roots)
    information = np.einsum("nrb,nr->nb", roots, seen)
    return Evidence(precision.astype(np.float32), information.astype(np.float32)), person


def _one(evidence: Evidence, index: int) -> Evidence:
    return jax.tree.map(lambda part: jnp.asarray(part[index]), evidence)


def test_calibrate_finds_the_noise_and_the_variances_that_were_put_in() -> None:
    within = np.diag([0.5, 0.05, 0.2, 0.5])
    evidence, person = _pictures(people=150, pictures=8, noise_scale=2.0, within=within)
    report = calibrate(evidence, person, "drawn from the model")
    assert report.calibration.noise_scale == pytest.approx(2.0, rel=RECOVERY_TOLERANCE)
    np.testing.assert_allclose(np.diag(report.calibration.within_person), np.diag(within), atol=RECOVERY_TOLERANCE)
    assert report.log_likelihood_after > report.log_likelihood_before
    assert report.calibration_error_after < min(0.05, report.calibration_error_before)


def test_calibrate_leaves_honest_evidence_as_it_is() -> None:
    evidence, person = _pictures(people=100, pictures=6, noise_scale=1.0, within=np.zeros((4, 4)))
    report = calibrate(evidence, person, "drawn from the model")
    assert report.calibration.noise_scale == pytest.approx(1.0, rel=RECOVERY_TOLERANCE)
    assert np.diag(report.calibration.within_person).max() < 0.05
    # Nothing is to be gained where the population is that of the body model.
    assert report.log_likelihood_after > report.log_likelihood_before - 0.05


def _clips(people: int, clips: int, frames: int, correlation: float) -> tuple[Evidence, np.ndarray, np.ndarray]:
    """Frames that see the same directions of β, with errors of which a share is the clip's own."""
    draw = np.random.default_rng(2)
    group = np.repeat(np.arange(people * clips), frames)
    person = group // clips
    roots = (3 * draw.normal(size=(people * clips, 6, 4)) / 2)[group]
    shapes = draw.normal(size=(people, 4))[person]
    shared, own = draw.normal(size=(people * clips, 6))[group], draw.normal(size=(len(group), 6))
    seen = np.einsum("nrb,nb->nr", roots, shapes) + np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    precision = np.einsum("nrb,nrc->nbc", roots, roots)
    information = np.einsum("nrb,nr->nb", roots, seen)
    return Evidence(precision.astype(np.float32), information.astype(np.float32)), person, group


@pytest.mark.parametrize("correlation", [0.2, 0.6])
def test_calibrate_finds_what_frames_of_a_clip_share(correlation: float) -> None:
    evidence, person, group = _clips(people=30, clips=3, frames=5, correlation=correlation)
    report = calibrate(evidence, person, "drawn from the model", group)
    assert report.calibration.group_correlation == pytest.approx(correlation, abs=RECOVERY_TOLERANCE)
    assert report.calibration.noise_scale == pytest.approx(1.0, rel=RECOVERY_TOLERANCE)
    assert report.calibration_error_after < report.calibration_error_before


def test_frames_of_a_clip_count_as_one_picture_for_noise_and_variances() -> None:
    evidence, person = _pictures(people=20, pictures=4, noise_scale=1.5, within=0.2 * np.eye(4))
    once = calibrate(evidence, person, "a")
    thrice = calibrate(
        jax.tree.map(lambda part: np.repeat(part, 3, axis=0), evidence),
        np.repeat(person, 3), "a", np.repeat(np.arange(len(person)), 3),
    )  # fmt: skip
    assert thrice.calibration.noise_scale == pytest.approx(once.calibration.noise_scale, rel=1e-3)
    assert thrice.log_likelihood_after == pytest.approx(once.log_likelihood_after, abs=1e-3)
    assert thrice.calibration.group_correlation > 0.92


def test_without_clips_the_correlation_stays_that_which_is_shipped() -> None:
    evidence, person = _pictures(people=5, pictures=3, noise_scale=1.0, within=np.zeros((4, 4)))
    plain = Calibration(1.0, np.zeros((4, 4)), "by hand")
    assert calibrate(evidence, person, "a").calibration.group_correlation == plain.group_correlation


def test_noise_of_keypoints_multiplies_what_was_assumed() -> None:
    calibration = Calibration(1.0, np.zeros((10, 10)), "by hand", keypoint_noise={"nose": 2.0, "no_keypoint": 9.0})
    factors = calibrated_noise(NoiseModel(0.01), calibration).sigmas(COCO_17) / NoiseModel(0.01).sigmas(COCO_17)
    np.testing.assert_allclose(factors, [2.0] + 16 * [1.0], rtol=1e-6)


def test_order_of_pictures_and_names_of_people_are_free() -> None:
    evidence, person = _pictures(people=20, pictures=4, noise_scale=1.5, within=0.2 * np.eye(4))
    order = np.random.default_rng(1).permutation(len(person))
    shuffled = jax.tree.map(lambda part: part[order], evidence)
    report, other = calibrate(evidence, person, "a"), calibrate(shuffled, 19 - person[order], "a")
    assert other.calibration.noise_scale == pytest.approx(report.calibration.noise_scale, rel=0.01)
    assert other.log_likelihood_after == pytest.approx(report.log_likelihood_after, abs=1e-3)


def test_calibrated_evidence_is_noise_then_within_person() -> None:
    evidence, _ = _pictures(people=1, pictures=1, noise_scale=1.0, within=np.zeros((10, 10)), rank=12)
    one = _one(evidence, 0)
    calibration = Calibration(2.0, 0.3 * np.eye(10), "by hand")
    expected = weaken(Evidence(one.precision / 4, one.information / 4), jnp.asarray(0.3 * np.eye(10), jnp.float32))
    ours = calibrated(one, calibration)
    np.testing.assert_allclose(ours.precision, expected.precision, atol=EVIDENCE_TOLERANCE)
    np.testing.assert_allclose(ours.information, expected.information, atol=EVIDENCE_TOLERANCE)
    honest = calibrated(one, Calibration(1.0, np.zeros((10, 10)), "by hand"))
    np.testing.assert_allclose(honest.precision, one.precision, atol=EVIDENCE_TOLERANCE)
    batch = calibrated_pictures(evidence, calibration)
    np.testing.assert_allclose(batch.precision[0], ours.precision, atol=EVIDENCE_TOLERANCE)


def test_leave_one_out_takes_the_picture_out_of_its_own_person_only() -> None:
    evidence, person = _pictures(people=3, pictures=3, noise_scale=1.0, within=np.zeros((4, 4)))
    table = leave_one_out(jax.tree.map(jnp.asarray, evidence), jnp.asarray(person), 3)
    others = jax.tree.map(lambda part: jnp.asarray(part[[0, 2]]), evidence)
    whole = jax.tree.map(lambda part: jnp.asarray(part[3:6]), evidence)
    probe = _one(evidence, 1)
    assert float(table[1, 0]) == pytest.approx(float(log_bayes_factor(fuse(others), probe)), abs=1e-3)
    assert float(table[1, 1]) == pytest.approx(float(log_bayes_factor(fuse(whole), probe)), abs=1e-3)


def test_reliability_of_honest_and_of_boastful_probabilities() -> None:
    draw = np.random.default_rng(0)
    probability = draw.uniform(size=40_000)
    same = draw.random(40_000) < probability
    honest = reliability(probability, same)
    assert sum(row.weight for row in honest) == pytest.approx(1)
    assert expected_calibration_error(honest) < 0.02
    boastful = reliability(np.where(probability > 0.5, 0.999, 0.001), same)
    assert expected_calibration_error(boastful) == pytest.approx(0.25, abs=0.02)


def test_rare_pairs_of_one_body_weigh_as_much_as_the_others() -> None:
    probability = np.full(1000, 0.5)
    rows = reliability(probability, np.arange(1000) < 10)
    assert [row.actual for row in rows] == pytest.approx([0.5])


def test_mistakes_are_named() -> None:
    evidence, person = _pictures(people=1, pictures=4, noise_scale=1.0, within=np.zeros((4, 4)))
    with pytest.raises(ValueError, match="at least two people"):
        calibrate(evidence, person, "one person")
    with pytest.raises(ValueError, match="not of one clip, of at least one"):
        calibrate(evidence, np.arange(4), "four strangers")
    with pytest.raises(ValueError, match="shows several people"):
        calibrate(evidence, np.arange(4) // 2, "two people in a clip", np.array([0, 1, 1, 2]))
    with pytest.raises(ValueError, match="one kind is missing"):
        reliability(np.array([0.5]), np.array([True]))
    with pytest.raises(ValueError, match="must be above 0"):
        Calibration(0.0, np.eye(4), "none")


def test_pictures_of_unknown_people_show_where_a_detector_moves_them() -> None:
    evidence, _ = _pictures(people=200, pictures=1, noise_scale=1.0, within=np.zeros((4, 4)))
    shift = np.array([3.0, -2.0, 0.0, 1.0], np.float32)
    moved = Evidence(evidence.precision, evidence.information + evidence.precision @ shift)
    report = calibrate_unlabelled(moved, "drawn from the model")
    assert report.calibration.mean is not None
    np.testing.assert_allclose(report.calibration.mean, shift, atol=0.4)
    assert report.log_likelihood_after > report.log_likelihood_before
    assert report.warnings == ()
    assert report.calibration.of_a_detector
    assert not report.calibration.people_known


def test_few_pictures_are_refused_or_warned_of() -> None:
    evidence, person = _pictures(people=30, pictures=1, noise_scale=1.0, within=np.zeros((4, 4)))
    with pytest.raises(ValueError, match="too few"):
        calibrate_unlabelled(jax.tree.map(lambda part: part[:19], evidence), "a")
    assert any("30 pictures" in warning for warning in calibrate_unlabelled(evidence, "a").warnings)
    evidence, person = _pictures(people=3, pictures=6, noise_scale=1.0, within=np.zeros((4, 4)))
    assert any("3 people" in warning for warning in calibrate(evidence, person, "a").warnings)


def test_a_population_is_taken_out_of_the_evidence() -> None:
    evidence, _ = _pictures(people=1, pictures=1, noise_scale=1.0, within=np.zeros((10, 10)), rank=12)
    mean, between = np.linspace(-1, 1, 10), 1.5 * np.eye(10) + 0.2
    calibration = Calibration(1.0, np.zeros((10, 10)), "by hand", mean=mean, between_people=between)
    ours = calibrated_pictures(evidence, calibration)
    x = np.linspace(0.5, -0.5, 10)
    beta = mean + calibration.axes[1] @ x

    def log(one: Evidence, at: np.ndarray) -> float:
        return float(one.information[0] @ at - 0.5 * at @ one.precision[0] @ at)

    expected = log(evidence, beta) - log(evidence, mean)
    assert log(ours, x) == pytest.approx(expected, rel=1e-4)
