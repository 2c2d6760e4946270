"""Evidence of limbs: its laws, against a dense Gaussian, and the model that pictures give back."""

import jax
import numpy as np
import pytest

from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body, rest_keypoints
from engine.body.schemas import COCO_17
from engine.evidence.calibration_estimate import calibrate, calibrate_unlabelled
from engine.evidence.comparison import log_bayes_factors
from engine.evidence.limbs import (
    DEGREES_OF_FREEDOM,
    LIMBS,
    MOST_OF_PEOPLE,
    SHARE,
    LimbModel,
    SeenLimbs,
    estimate_limbs,
    limb_evidence,
    limb_logs,
    limb_slopes,
    with_limbs,
)
from engine.evidence.population import Population
from engine.evidence.reliability import roc_area
from engine.evidence.shape_evidence import Evidence

COUNT, BETAS = len(LIMBS), 4
CENTRED = np.eye(COUNT) - 1 / COUNT
# Log lengths are rounded to 1e-6.
ROUNDED = 5e-6
RECOVERED = 0.15


def _model(seed: int = 0) -> LimbModel:
    draw = np.random.default_rng(seed)
    root = 0.1 * draw.normal(size=(COUNT, COUNT)) + 0.1 * np.eye(COUNT)
    by_betas = 0.05 * CENTRED @ draw.normal(size=(COUNT, BETAS))
    within = root @ root.T
    return LimbModel(CENTRED @ draw.normal(size=COUNT), by_betas, within + by_betas @ by_betas.T, within)


def _logs(model: LimbModel, betas: np.ndarray, seed: int = 1) -> np.ndarray:
    """Of pictures of these shapes, of any size."""
    draw = np.random.default_rng(seed)
    noise = draw.multivariate_normal(np.zeros(COUNT), model.within, len(betas))
    return model.mean + betas @ model.by_betas.T + noise + draw.normal(size=(len(betas), 1))


def _people(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints of people in rest pose, seen from the front."""
    body = reduce_body(load_embedded_body(), COCO_17)
    betas = np.random.default_rng(seed).normal(size=(20, body.beta_count)).astype(np.float32)
    points = np.asarray(jax.vmap(rest_keypoints, (None, 0))(body, betas))[..., :2]
    return 200 * points + 300, np.ones(points.shape[:2])


def test_resized_shifted_and_mirrored_pictures_give_the_same_evidence() -> None:
    keypoints, confidence = _people()
    model, logs = _model(), limb_logs(keypoints, confidence, COCO_17)
    moved = limb_logs(3.7 * keypoints + 11, confidence, COCO_17)
    np.testing.assert_allclose(moved @ CENTRED, logs @ CENTRED, atol=ROUNDED)
    flipped = (keypoints * [-1, 1])[:, COCO_17.swap]
    np.testing.assert_array_equal(limb_logs(flipped, confidence, COCO_17), logs)
    for one, other in zip(limb_evidence(model, moved), limb_evidence(model, logs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_a_picture_has_the_same_bits_whatever_comes_with_it() -> None:
    model = _model()
    logs = _logs(model, np.random.default_rng(4).normal(size=(50, BETAS)))
    logs[::3, 2] = np.nan
    together = limb_evidence(model, logs)
    for row in (0, 7, 49):
        alone = limb_evidence(model, logs[row : row + 1])
        np.testing.assert_array_equal(alone.precision[0], together.precision[row])
        np.testing.assert_array_equal(alone.information[0], together.information[row])


def test_unseen_limbs_and_pictures_without_limbs_count_for_nothing() -> None:
    keypoints, confidence = _people()
    confidence[:, COCO_17.keypoint_names.index("left_wrist")] = 0
    confidence[0] = 0
    logs = limb_logs(keypoints, confidence, COCO_17)
    wrist = COCO_17.keypoint_names.index("left_wrist")
    elsewhere = keypoints.copy()
    elsewhere[:, wrist] = 1e5
    np.testing.assert_array_equal(limb_logs(elsewhere, confidence, COCO_17), logs)
    assert np.isnan(logs[0]).all()
    assert np.isfinite(logs[1:]).all()
    one_limb = np.where(np.arange(COUNT) == 1, logs[1:2], np.nan)
    for part in limb_evidence(_model(), np.concatenate([logs[:1], one_limb])):
        assert not part.any()


def test_evidence_is_the_likelihood_of_a_dense_gaussian_whose_shift_is_unknown() -> None:
    model = _model()
    logs = _logs(model, np.zeros((1, BETAS)))
    logs[0, 3] = np.nan
    seen = np.isfinite(logs[0])
    found = limb_evidence(model, logs)
    away = (logs[0] - model.mean)[seen]
    wide = 1e6 * np.ones((seen.sum(), seen.sum()))
    total = model.total[np.ix_(seen, seen)] + wide
    distance = away @ np.linalg.solve(total, away)
    scale = (DEGREES_OF_FREEDOM + distance) / (DEGREES_OF_FREEDOM + seen.sum() - 1)
    precision = np.linalg.inv(scale * model.within[np.ix_(seen, seen)] + wide)
    slopes = model.by_betas[seen]
    np.testing.assert_allclose(found.precision[0], slopes.T @ precision @ slopes, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.information[0], slopes.T @ precision @ away, rtol=1e-3, atol=1e-4)


def test_slopes_are_finite_differences_of_the_body() -> None:
    body = reduce_body(load_embedded_body(), COCO_17)
    slopes = limb_slopes(body)
    assert slopes is not None
    step = 0.01 * np.eye(body.beta_count, dtype=np.float32)
    ends = [jax.vmap(rest_keypoints, (None, 0))(body, way * step) for way in (1, -1)]
    logs = [limb_logs(np.asarray(end)[..., :2] * 1e4, np.ones(end.shape[:2]), COCO_17) @ CENTRED for end in ends]
    np.testing.assert_allclose(slopes, ((logs[0] - logs[1]) / 0.02).T, atol=2e-3)


def test_pictures_give_the_model_back() -> None:
    model = _model()
    betas = np.random.default_rng(5).normal(size=(4000, BETAS)) + 1.0
    logs = _logs(model, betas)
    logs[::4, 5] = np.nan
    found = estimate_limbs(SeenLimbs(logs, model.by_betas), np.eye(BETAS), np.ones(BETAS))
    np.testing.assert_allclose(found.mean, model.mean, atol=0.02)
    # A Gaussian is taken for a t distribution: the scale differs, the form does not.
    expected, total = (CENTRED @ part @ CENTRED for part in (model.total, found.total))
    scale = np.trace(total) / np.trace(expected)
    assert 0.5 < scale <= 1.1
    np.testing.assert_allclose(total / scale, expected, atol=RECOVERED * np.abs(expected).max())
    noisier = estimate_limbs(SeenLimbs(logs, model.by_betas), np.eye(BETAS), np.ones(BETAS), 2.0)
    np.testing.assert_allclose(noisier.within, found.within / 4)
    # People never get more than their share of the total.
    rest = np.linalg.eigvals(np.linalg.solve(found.total, found.within)).real
    assert rest.min() > 1 - MOST_OF_PEOPLE - 1e-6


def test_calibrations_take_limbs_in_where_they_help_and_leave_them_out_where_they_do_not() -> None:
    model, draw = _model(), np.random.default_rng(6)
    person = np.repeat(np.arange(60), 6)
    betas = draw.normal(size=(60, BETAS))[person]
    precision = np.broadcast_to(0.05 * np.eye(BETAS), (len(person), BETAS, BETAS)).astype(np.float32)
    seen = betas + draw.normal(size=betas.shape) / np.sqrt(0.05)
    weak = Evidence(precision, np.asarray(0.05 * seen, np.float32))
    strong_limbs = LimbModel(model.mean, 8 * model.by_betas, model.total, model.within)
    limbs = SeenLimbs(_logs(strong_limbs, betas), strong_limbs.by_betas)
    prior = Population(np.zeros(BETAS), np.eye(BETAS), 0.02 * np.eye(BETAS))
    report = calibrate(weak, person, "drawn", prior=prior, limbs=limbs)
    assert report.calibration.limbs is not None
    assert report.area_before is not None
    assert report.area_after is not None
    assert report.area_after > report.area_before + 0.1
    unlabelled = calibrate_unlabelled(weak, "drawn", prior=prior, limbs=limbs).calibration
    assert unlabelled.limbs is not None
    assert min(unlabelled.noise_scale, report.calibration.noise_scale) >= 1 / np.sqrt(SHARE)
    other = np.arange(0, len(person), 6)
    joined = with_limbs(weak, unlabelled.limbs, limbs.logs, np.ones(len(person), bool))
    areas = []
    for evidence in (weak, joined):
        first, second = (Evidence(*(part[other + i] for part in evidence)) for i in (0, 1))
        same = np.eye(60, dtype=bool)
        areas.append(roc_area(log_bayes_factors(first, second).reshape(-1), same.reshape(-1)))
    assert areas[1] > areas[0] + 0.1
    # Limbs that have nothing to do with who it is.
    noise = SeenLimbs(_logs(strong_limbs, draw.normal(size=betas.shape)), strong_limbs.by_betas)
    clear = Evidence(100 * precision, np.asarray(5 * (betas + draw.normal(size=betas.shape) / np.sqrt(5)), np.float32))
    assert calibrate(clear, person, "drawn", prior=prior, limbs=noise).calibration.limbs is None


def test_damaged_models_are_refused() -> None:
    model = _model()
    for name, value in (
        ("by_betas", np.full_like(model.by_betas, np.inf)),
        ("within", -model.within),
        ("total", np.zeros_like(model.total)),
    ):
        with pytest.raises(ValueError, match="limb"):
            LimbModel(**{**vars(model), name: value})
