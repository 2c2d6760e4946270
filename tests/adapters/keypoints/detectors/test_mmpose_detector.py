"""MMPose itself, from the configs that it ships, with random weights: the whole path but for the training."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from adapters.commands.cli import main
from adapters.keypoints.detectors.confidences import LEAST_SCORE, confidences
from adapters.keypoints.detectors.mmpose_detector import MMPoseDetector
from adapters.keypoints.detectors.mmpose_inferencer import MMPoseInferencerDetector
from adapters.keypoints.detectors.protocol import DetectorError
from tests.adapters.photographs import MAN, printed_by_processes

RTMPOSE_17 = "rtmpose-t_8xb256-420e_coco-256x192"
RTMO = "rtmo-t_8xb32-600e_body7-416x416"
MODELS = {
    RTMPOSE_17: "coco17",
    "rtmpose-t_8xb1024-700e_body8-halpe26-256x192": "halpe26",
    "rtmpose-t_8xb64-270e_coco-ubody-wholebody-256x192": "wholebody133",
    "rtmw-m_8xb1024-270e_cocktail14-256x192": "wholebody133",
    "td-hm_hrnet-w32_8xb64-210e_coco-256x192": "coco17",
    RTMO: "coco17",
    "td-hm_res50_8xb64-210e_coco-256x192": "coco17",
    "simcc_res50_8xb64-210e_coco-256x192": "coco17",
    "td-reg_res50_rle-8xb64-210e_coco-256x192": "coco17",
}
ALL_SCORES = -1e9
"""Random weights give scores of any size; the threshold would hide them."""
BOXES = [(10.0, 20.0, 110.0, 220.0), (40.0, 5.0, 150.0, 180.0)]


def _picture(seed: int = 0, size: tuple[int, int] = (180, 240)) -> np.ndarray:
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 256, (12, 9, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))


def _in_its_threads(detector, ask, picture):
    """MMPose called as the detector calls it: bits depend on how many cores share the work."""
    (answer,) = detector._in_threads(ask, [picture])
    return answer


@pytest.fixture(scope="module")
def rtmpose() -> MMPoseDetector:
    return MMPoseDetector(RTMPOSE_17, least_score=ALL_SCORES)


@pytest.mark.slow
@pytest.mark.parametrize("config", MODELS)
def test_every_family_without_compiled_operators_runs(config) -> None:
    detector = MMPoseDetector(config, least_score=ALL_SCORES)
    from mmpose.apis import inference_bottomup, inference_topdown

    # A small box far from the edges: random weights put keypoints beside the box, and none counts outside the picture.
    picture, box = _picture(size=(900, 1200)), (400.0, 500.0, 500.0, 700.0)
    assert detector.schema.name == MODELS[config]
    if config == RTMO:
        # Its random weights see people inside the picture in darkness only.
        picture = np.zeros((416, 416, 3), np.uint8)
    (people,) = detector.detect([picture], None if config == RTMO else [[box]])

    def ask(picture):
        if config == RTMO:
            return inference_bottomup(detector._model, picture)
        return inference_topdown(detector._model, picture, np.array([box], np.float32))

    instances = _in_its_threads(detector, ask, picture)[0].pred_instances
    ones = np.ones(len(detector.schema), np.float32)
    wanted = [
        keypoints
        for keypoints, score in zip(instances.keypoints, instances.bbox_scores, strict=True)
        if score >= 0.3 and confidences(ones, keypoints, picture.shape).any()
    ]
    assert people
    np.testing.assert_array_equal([person.keypoints for person in people], np.array(wanted, np.float32))


def test_it_gives_what_inference_topdown_gives(rtmpose) -> None:
    from mmpose.apis import inference_topdown

    picture = _picture()
    (people,) = rtmpose.detect([picture], [BOXES])
    for person, box in zip(people, BOXES, strict=True):
        (sample,) = _in_its_threads(
            rtmpose, lambda p, b=box: inference_topdown(rtmpose._model, p, np.array([b], np.float32)), picture
        )
        np.testing.assert_array_equal(person.keypoints, sample.pred_instances.keypoints[0].astype(np.float32))
        scores = sample.pred_instances.keypoint_scores[0]
        inside = confidences(np.ones_like(scores), person.keypoints, picture.shape) > 0
        np.testing.assert_array_equal(person.confidence, np.where(inside, np.clip(scores, 0, 1), 0))
        assert person.box == box


def test_no_bit_depends_on_the_other_pictures() -> None:
    pictures = [_picture(seed) for seed in range(3)]
    for tile_size in (1, 4):
        detector = MMPoseDetector(RTMPOSE_17, tile_size=tile_size, least_score=ALL_SCORES)
        together = detector.detect([*pictures, pictures[0]], [BOXES, None, BOXES[:1], BOXES])
        alone = [detector.detect([p], [b])[0] for p, b in zip(pictures, (BOXES, None, BOXES[:1]), strict=True)]
        for found, single in zip(together, [*alone, alone[0]], strict=True):
            assert len(found) == len(single)
            for person, other in zip(found, single, strict=True):
                assert person.keypoints.tobytes() == other.keypoints.tobytes()
                assert person.confidence.tobytes() == other.confidence.tobytes()


def test_a_bottom_up_model_takes_no_boxes() -> None:
    with pytest.raises(DetectorError, match="finds people by itself"):
        MMPoseDetector(RTMO).detect([_picture()], [BOXES])


def test_the_inferencer_agrees_with_the_model(rtmpose) -> None:
    from adapters.keypoints.detectors.mmpose_detector import config_file

    inferencer = MMPoseInferencerDetector(str(config_file(RTMPOSE_17)), least_score=ALL_SCORES)
    inferencer._inferencer.inferencer.model.load_state_dict(rtmpose._model.state_dict())
    picture = _picture()
    (people,), (wanted,) = inferencer.detect([picture]), rtmpose.detect([picture])
    np.testing.assert_array_equal(people[0].keypoints, wanted[0].keypoints)
    np.testing.assert_array_equal(people[0].confidence, wanted[0].confidence)
    with pytest.raises(DetectorError, match="takes no boxes"):
        inferencer.detect([picture], [BOXES])


def test_a_checkpoint_of_arrays_and_names_is_loaded(rtmpose, tmp_path) -> None:
    import torch

    path = tmp_path / "checkpoint.pth"
    meta = {"dataset_meta": rtmpose._model.dataset_meta, "epoch": 3}
    torch.save({"state_dict": rtmpose._model.state_dict(), "meta": meta}, path)
    loaded = MMPoseDetector(RTMPOSE_17, str(path), least_score=ALL_SCORES)
    (wanted,), (people,) = rtmpose.detect([_picture()]), loaded.detect([_picture()])
    np.testing.assert_array_equal(people[0].keypoints, wanted[0].keypoints)
    np.testing.assert_array_equal(people[0].confidence, wanted[0].confidence)
    assert loaded.identity != rtmpose.identity


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_that_runs_code_is_refused_unless_trusted(rtmpose, tmp_path) -> None:
    import torch

    path, witness = tmp_path / "checkpoint.pth", tmp_path / "it-ran"
    torch.save({"state_dict": rtmpose._model.state_dict(), "meta": {"note": _Evil(witness)}}, path)
    with pytest.raises(DetectorError, match="--trust-weights"):
        MMPoseDetector(RTMPOSE_17, str(path))
    assert not witness.exists()
    MMPoseDetector(RTMPOSE_17, str(path), trust_checkpoint=True)
    assert witness.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps({"state_dict": {}})])
def test_what_is_no_checkpoint_is_said_to_be_none(content, tmp_path) -> None:
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(content)
    with pytest.raises(DetectorError, match=r"checkpoint\.pth"):
        MMPoseDetector(RTMPOSE_17, str(path))


def test_unknown_configs_are_refused() -> None:
    with pytest.raises(DetectorError, match="no config nothing-like-it"):
        MMPoseDetector("nothing-like-it")


def test_scores_become_confidences() -> None:
    keypoints = np.array([[5, 5], [5, 5], [5, 5], [5, 5], [-1, 5], [5, 11], [-0.5, 10.5]], np.float32)
    scores = np.array([1.4, 0.7, LEAST_SCORE - 0.01, np.nan, 0.9, 0.9, LEAST_SCORE], np.float32)
    wanted = np.array([1, 0.7, 0, 0, 0, 0, LEAST_SCORE], np.float32)
    np.testing.assert_array_equal(confidences(scores, keypoints, (11, 11, 3)), wanted)


@pytest.mark.slow
def test_five_processes_give_the_same_bits() -> None:
    detector = f"MMPoseDetector({RTMPOSE_17!r}, least_score={ALL_SCORES!r})"
    assert (
        len(printed_by_processes(f"from adapters.keypoints.detectors.mmpose_detector import MMPoseDetector;{detector}"))
        == 1
    )


def test_random_weights_are_called_random(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("SAMEBODY_CACHE", "")
    command = ["detect", str(MAN), "--detector", "mmpose", "--model", RTMPOSE_17, "--out", str(tmp_path / "k.npz")]
    assert main(command) == 0
    assert "random" in capsys.readouterr().err
