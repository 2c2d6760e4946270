"""Outlines from detectors: BlazePose's own segmentation (extra mediapipe), a model of MMDetection (extra mmpose)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.commands.cli import main
from adapters.keypoints.detectors.detection_cache import DetectionCache
from adapters.keypoints.detectors.protocol import Detection, DetectorError
from adapters.keypoints.outlines.measure import measure_outline
from adapters.keypoints.readers import read_keypoints
from engine.body.schemas import BLAZEPOSE_33, COCO_17
from engine.picture.outline_places import MIRRORED_PLACES, PLACES, SIDES
from tests.adapters.keypoints.outlines.drawn_people import drawn, standing
from tests.adapters.photographs import MAN

pytest.importorskip("cv2", reason="opencv comes with the extras of detectors")

PARTS = np.array([place.part for place in PLACES])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMEBODY_CACHE", str(tmp_path / "cache"))


def _man() -> np.ndarray:
    import cv2

    pixels = cv2.imread(str(MAN))
    assert pixels is not None
    return np.asarray(pixels)


@pytest.mark.slow
def test_blazepose_measures_its_person() -> None:
    pytest.importorskip("mediapipe", reason="the extra mediapipe is not installed")
    from adapters.keypoints.detectors.mediapipe_detector import MediaPipeDetector

    detector = MediaPipeDetector(outlines=True)
    assert detector.identity != MediaPipeDetector().identity
    (person,), (turned,) = detector.detect([_man(), np.ascontiguousarray(_man()[:, ::-1])])
    assert person.outline_px is not None
    assert turned.outline_px is not None
    seen = np.isfinite(person.outline_px)
    assert seen.mean() > 0.5
    height = np.ptp(person.keypoints[person.confidence > 0][:, 1])
    widths = person.outline_px.sum(axis=1) / height
    # A man's trunk is a sixth to a third of the distance from nose to feet wide, and a shin some 6 %.
    assert 0.12 < np.nanmedian(widths[PARTS == "trunk"]) < 0.4
    shins = (PARTS == "left_shin") | (PARTS == "right_shin")
    assert 0.03 < np.nanmedian(widths[shins]) < 0.12
    # The detector itself does not quite commute with a mirror; the outline does as far as its keypoints do.
    mirrored = turned.outline_px[MIRRORED_PLACES].sum(axis=1) / height
    both = np.isfinite(widths) & np.isfinite(mirrored)
    assert np.median(np.abs(widths[both] - mirrored[both])) < 0.03


@pytest.mark.slow
def test_photographs_become_keypoints_with_outlines(tmp_path: Path) -> None:
    """Larger than detectors take, so that it is shrunk first; the outline is in pixels of the file."""
    pytest.importorskip("mediapipe", reason="the extra mediapipe is not installed")
    import cv2

    (tmp_path / "small.jpg").write_bytes(MAN.read_bytes())
    cv2.imwrite(str(tmp_path / "large.jpg"), cv2.resize(_man(), None, fx=12, fy=12, interpolation=cv2.INTER_CUBIC))
    out = tmp_path / "k.parquet"
    photos = [str(tmp_path / "large.jpg"), str(tmp_path / "small.jpg")]
    for _ in range(2):  # the second time from the cache
        assert main(["detect", *photos, "--outlines", "--out", str(out)]) == 0
        table = read_keypoints([out])
        assert table.outline_px is not None
        large, small = table.outline_px
        both = np.isfinite(large) & np.isfinite(small)
        assert both.sum() > 40
        assert 0.9 < np.median(large[both] / small[both]) / 12 < 1.1
    assert main(["detect", *photos, "--out", str(out)]) == 0
    assert read_keypoints([out]).outline_px is None


def test_outlines_are_kept_in_the_cache(tmp_path: Path) -> None:
    outline = np.random.default_rng(0).random((len(PLACES), SIDES)).astype(np.float32)
    outline[3] = np.nan
    points = np.random.default_rng(1).random((len(BLAZEPOSE_33), 2)).astype(np.float32)
    with_outline = Detection(points, points[:, 0], (0.0, 1.0, 2.0, 3.0), 0.5, outline)
    without = Detection(points, points[:, 0], (0.0, 1.0, 2.0, 3.0), 0.5)
    cache = DetectionCache(tmp_path)
    cache.write("ab" * 32, [("", [with_outline, without])])
    found = cache.read("ab" * 32)
    assert found is not None
    ((_, people),) = found
    np.testing.assert_array_equal(people[0].outline_px, outline)
    assert people[1].outline_px is None


def test_the_outline_of_a_mask_model_goes_to_who_has_the_keypoints() -> None:
    pytest.importorskip("mmdet", reason="MMDetection comes with the extra mmpose")
    from adapters.keypoints.detectors.mmdet_masks import MaskedDetector

    people = [standing((200, 16)), standing((650, 16))]
    masks = [drawn(points, (512, 900)) for points in people]

    class People:
        schema, identity, batch_size = COCO_17, "two people", 1

        def detect(self, pictures: list[np.ndarray], boxes: object = None) -> list[list[Detection]]:
            sure = np.ones(17, np.float32)
            found = [Detection(points, sure, (0.0, 0.0, 1.0, 1.0), 1.0) for points in people]
            return [found if picture.any() else [] for picture in pictures]

    class Masks:
        identity = "two masks"

        def masks(self, picture: np.ndarray) -> list[np.ndarray]:
            return masks[::-1]

    detector: Any = MaskedDetector
    model = detector(People(), Masks())
    nobody, found = model.detect([np.zeros((512, 900, 3), np.uint8), np.ones((512, 900, 3), np.uint8)])
    assert nobody == []
    for person, points, mask in zip(found, people, masks, strict=True):
        np.testing.assert_array_equal(person.keypoints, points)
        np.testing.assert_array_equal(person.outline_px, measure_outline(mask, points, np.ones(17, bool), COCO_17))
    assert "two masks" in model.identity


@pytest.mark.slow
def test_a_model_of_mmdetection_gives_masks(tmp_path: Path) -> None:
    """SOLOv2 with random weights, cut down to few candidates: of a trained model's thousands most have no score."""
    pytest.importorskip("mmdet", reason="MMDetection comes with the extra mmpose")
    from adapters.keypoints.detectors.mmdet_masks import MaskModel, mask_config

    config = tmp_path / "solo.py"
    settings = "mask_head=dict(num_classes=1), test_cfg=dict(score_thr=0.5, max_per_img=5, nms_pre=20)"
    config.write_text(f"_base_ = {str(mask_config('solov2-light_r18_fpn_ms-3x_coco'))!r}\nmodel = dict({settings})\n")
    model = MaskModel(str(config), least_score=0.0)
    picture = _man()
    masks = model.masks(picture)
    assert masks
    assert all(mask.shape == picture.shape[:2] and set(np.unique(mask)) <= {0, 255} for mask in masks)
    for one, other in zip(masks, model.masks(picture), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(DetectorError, match="no config"):
        MaskModel("nowhere")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--detector", "mediapipe", "--mask-model", "x", "--outlines"], "segments people itself"),
        (["--detector", "rtmpose-onnx", "--model", "x.onnx", "--outlines"], "--mask-model"),
        (["--detector", "mmpose", "--model", "x", "--mask-model", "y"], "go with --outlines"),
    ],
)
def test_options_that_do_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], reason: str
) -> None:
    assert main(["detect", str(MAN), *options, "--out", str(tmp_path / "k.parquet")]) == 2
    assert reason in capsys.readouterr().err
