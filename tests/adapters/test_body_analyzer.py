"""Analyses of pictures: numbers where there are some, reasons where there are none."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adapters.body_analyzer import NO_BETA, NO_KEYPOINTS, BodyAnalyzer
from adapters.host.inputs import keypoint_table
from adapters.jobs.fit import FitSettings, fit_references
from adapters.smpl_optimizer import compute_fitting_consistency, optimize_shared_beta
from benchmarks.synthetic import SyntheticSettings, make_pictures, sampled_poses
from engine.body.model import BodyModel
from engine.body.pose_prior import load_pose_prior
from engine.shape import ShapeFileError

BETAS = np.linspace(-1.5, 1.5, 10, dtype=np.float32)


@pytest.fixture(scope="module")
def pictures(t_pose_pictures) -> list[dict[str, np.ndarray]]:
    points, confidence = t_pose_pictures(BETAS, 6)
    return [{"keypoints": k, "confidence": c} for k, c in zip(points, confidence, strict=True)]


@pytest.fixture(scope="module")
def beta(pictures, anny: BodyModel) -> np.ndarray:
    return optimize_shared_beta(pictures[:2], anny, mode="rest")


def test_a_batch_is_its_pictures_one_by_one(anny: BodyModel, pictures, beta: np.ndarray) -> None:
    analyzer = BodyAnalyzer(anny, mode="rest")
    names = [f"{i}.jpg" for i in range(6)]
    batch = analyzer.analyze_batch(names, pictures, beta)
    assert batch == [analyzer.analyze(name, own, beta) for name, own in zip(names, pictures, strict=True)]
    for own, result in zip(pictures, batch, strict=True):
        assert result.consistency_3d == compute_fitting_consistency(own, beta, anny, mode="rest")
        assert (result.status, result.reason, result.same_body_probability) == ("ok", None, None)
        assert all(value is not None and value > 0 for value in result.ratios.values())


def test_what_cannot_be_computed_says_why_and_costs_the_others_nothing(
    anny: BodyModel, pictures, beta: np.ndarray
) -> None:
    good = pictures[0]
    given: list[Any] = [
        good,
        {**good, "confidence": np.where(np.arange(17) < 3, 1.0, 0.0)},
        [],
        {"keypoints": [[1, 2]], "confidence": [1]},
        [good, good],
    ]
    results = BodyAnalyzer(anny, mode="rest").analyze_batch(["a", "b", "c", "d", "e"], given, beta)
    assert [(r.image, r.instance) for r in results] == [("a", 0), ("b", 0), ("c", -1), ("d", 0), ("e", 0), ("e", 1)]
    assert [r.status for r in results] == [
        "ok", "too_few_keypoints", "no_detection", "bad_input", "ok", "ok"
    ]  # fmt: skip
    alone = BodyAnalyzer(anny, mode="rest").analyze("a", good, beta)
    for result in (results[0], results[4], results[5]):
        assert result.consistency_3d == alone.consistency_3d
    for result, words in zip(results[1:4], ("too few", "nobody", "1 keypoints, expected 17"), strict=True):
        assert result.consistency_3d is None
        assert result.reprojection_error is None
        assert result.reason is not None
        assert words in result.reason
    # The face alone has no limbs to compare.
    assert set(results[1].ratios.values()) == {None}


def test_without_keypoints_or_beta_there_are_reasons(anny: BodyModel, pictures, beta: np.ndarray) -> None:
    analyzer = BodyAnalyzer(anny, mode="rest")
    assert analyzer.analyze("a.jpg").reason == NO_KEYPOINTS
    assert analyzer.analyze("a.jpg", optimized_beta=beta).reason == NO_KEYPOINTS
    without = analyzer.analyze("a.jpg", pictures[0])
    assert (without.consistency_3d, without.reason, without.status) == (None, NO_BETA, "no_reference")
    assert without.ratios == analyzer.analyze("a.jpg", pictures[0], beta).ratios


def test_the_detector_is_asked_where_nothing_is_given(anny: BodyModel, pictures, beta: np.ndarray) -> None:
    asked = []

    def detect(path: str) -> Any:
        asked.append(path)
        if path == "broken.jpg":
            raise OSError("cannot be decoded")
        return [pictures[1]]

    analyzer = BodyAnalyzer(anny, detect, mode="rest")
    results = analyzer.analyze_batch(["given.jpg", "asked.jpg", "broken.jpg"], [pictures[0], None, None], beta)
    assert asked == ["asked.jpg", "broken.jpg"]
    assert results[1].consistency_3d == compute_fitting_consistency(pictures[1], beta, anny, mode="rest")
    assert results[2].status == "bad_input"
    assert "OSError: cannot be decoded" in str(results[2].reason)


def test_a_beta_of_another_body_is_a_mistake(anny: BodyModel, pictures) -> None:
    shape = fit_references(keypoint_table(["a"], pictures[:1]), anny, FitSettings(mode="rest"))
    foreign = replace(shape, body_fingerprint="of another")
    analyzer = BodyAnalyzer(anny, mode="rest")
    with pytest.raises(ShapeFileError, match="of another"):
        analyzer.analyze("a", pictures[0], foreign)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        analyzer.analyze("a", pictures[0], [1, 2, 3])


def test_ratios_are_those_of_the_drawing() -> None:
    """A stick figure with known lengths; a side that was not seen is left out, resizing changes nothing."""
    place = {
        "left_shoulder": (120, 100), "right_shoulder": (80, 100), "left_hip": (110, 200), "right_hip": (90, 200),
        "left_knee": (110, 260), "right_knee": (90, 260), "left_ankle": (110, 300), "right_ankle": (90, 300),
        "left_elbow": (150, 100), "right_elbow": (50, 100), "left_wrist": (170, 100), "right_wrist": (30, 100),
    }  # fmt: skip
    from adapters.body_analyzer import body_ratios
    from engine.body.schemas import COCO_17

    points = np.array([place.get(name, (0, 0)) for name in COCO_17.keypoint_names], float)
    seen = np.array([float(name in place) for name in COCO_17.keypoint_names])
    one_sided = np.where([name in ("left_knee", "left_wrist") for name in COCO_17.keypoint_names], 0, seen)
    table = keypoint_table(["a", "b", "c"], [
        {"keypoints": points, "confidence": seen},
        {"keypoints": 7 * points - 3, "confidence": seen},
        {"keypoints": points, "confidence": one_sided},
    ])  # fmt: skip
    expected = {
        "shoulders_to_hips": 2.0, "legs_to_torso": 1.0, "arms_to_torso": 0.5, "thighs_to_shins": 1.5,
        "upper_to_lower_arms": 1.5,
    }  # fmt: skip
    ratios = body_ratios(table)
    assert set(ratios) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(ratios[name], value, rtol=1e-6, err_msg=name)


@pytest.mark.slow
def test_free_pose_tells_people_apart_and_never_changes(anny: BodyModel, coco_body) -> None:
    """The guide's scenario: the same picture as reference and in the data set; and people of other shapes."""
    settings = SyntheticSettings(people=12, pictures=1, noise_level=0.002, beta_deviation=1.5)
    drawn = make_pictures(coco_body, sampled_poses(load_pose_prior(), 40), settings)

    def picture(who: int, which: int) -> dict[str, np.ndarray]:
        return {"keypoints": drawn.keypoints_px[who, which], "confidence": drawn.confidence[who, which]}

    reference = keypoint_table(["reference"], [picture(0, 0)])
    shape = fit_references(reference, anny)
    analyzer = BodyAnalyzer(anny)
    same = analyzer.analyze("a", picture(0, 0), shape.betas)
    assert same.consistency_3d is not None
    assert same.consistency_3d >= 0.99
    # Probability and Bayes factor need the evidence of the reference; β alone does not give them.
    assert same.same_body_probability is None
    assert same.information_bits is not None
    names = [f"{who}.jpg" for who in range(1, 12)]
    others = analyzer.analyze_batch(names, [picture(who, 0) for who in range(1, 12)], shape)
    with_evidence = analyzer.analyze("a", picture(0, 0), shape)
    assert with_evidence.consistency_3d == same.consistency_3d
    assert with_evidence.same_body_probability is not None
    # One picture may say nothing about its body, so a single stranger may do well; most do not.
    assert np.median([other.consistency_3d for other in others]) < 0.9
    probabilities = [other.same_body_probability for other in others]
    assert np.median(probabilities) < with_evidence.same_body_probability
    for _ in range(3):
        np.testing.assert_array_equal(fit_references(reference, anny).betas, shape.betas)
        assert analyzer.analyze("a", picture(0, 0), shape.betas) == same
