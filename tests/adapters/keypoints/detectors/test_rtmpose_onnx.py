"""An exported RTMPose gives through ONNX what it gives in MMPose; rtmlib differs in what is said about it."""

import cv2
import numpy as np
import pytest
from PIL import Image

from adapters.commands.cli import main
from adapters.keypoints.detectors.mmpose_detector import MMPoseDetector, quietly
from adapters.keypoints.detectors.protocol import DetectorError
from adapters.keypoints.detectors.rtmpose_onnx_detector import RTMPoseOnnxDetector
from adapters.keypoints.readers import read_keypoints
from tests.adapters.photographs import MAN, printed_by_processes

CONFIG = "rtmpose-t_8xb256-420e_coco-256x192"
ALL_SCORES = -1e9
BOXES = [(20.0, 30.0, 230.0, 380.0), (-15.0, 100.0, 120.0, 300.0), (90.0, 10.0, 240.0, 60.0)]
"""An ordinary one, one that leaves the picture, and one that is wider than high."""
SCORE_TOLERANCE = 2e-3
"""The two programs add in different orders; scores of random weights are as large as 7."""


@pytest.fixture(scope="module")
def mmpose() -> MMPoseDetector:
    # MMPose averages over the mirrored picture as well; the exported network does not.
    detector = MMPoseDetector(CONFIG, least_score=ALL_SCORES)
    detector._model.test_cfg["flip_test"] = False
    _answer_to_pictures(detector._model)
    return detector


def _answer_to_pictures(model) -> None:
    """Random layers forget what they were shown; with the statistics of real activations they do not."""
    import torch

    for layer in model.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.reset_running_stats()
            layer.momentum = None
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad(), quietly():
        model.backbone.train()
        model.extract_feat(torch.randn(8, 3, 256, 192, generator=generator))
        model.eval()


@pytest.fixture(scope="module")
def onnx_file(mmpose, tmp_path_factory) -> str:
    import torch

    path = tmp_path_factory.mktemp("onnx") / "rtmpose.onnx"

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = mmpose._model

        def forward(self, pictures):
            return self.model.head(self.model.extract_feat(pictures))

    with quietly():
        torch.onnx.export(
            Network().eval(),
            (torch.zeros(1, 3, 256, 192),),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            output_names=["simcc_x", "simcc_y"],
        )
    return str(path)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.ascontiguousarray(np.asarray(Image.open(MAN))[..., ::-1])


def test_the_same_keypoints_as_mmpose(mmpose, onnx_file, picture) -> None:
    detector = RTMPoseOnnxDetector(onnx_file, least_score=ALL_SCORES)
    assert detector.schema == mmpose.schema
    for boxes in (None, [BOXES]):
        (found,), (wanted,) = detector.detect([picture], boxes), mmpose.detect([picture], boxes)
        assert len(found) == len(wanted) > 0
        for person, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(person.keypoints, other.keypoints, atol=1e-3)
            np.testing.assert_allclose(person.confidence, other.confidence, atol=SCORE_TOLERANCE)
            assert person.box == other.box
            assert len({tuple(point) for point in person.keypoints.tolist()}) > 10


def test_rtmlib_differs_by_colour_order_and_score(onnx_file, picture, capsys) -> None:
    from rtmlib import RTMPose

    box = BOXES[0]
    ((person,),) = RTMPoseOnnxDetector(onnx_file, least_score=ALL_SCORES).detect([picture], [[box]])
    other = RTMPose(onnx_file, (192, 256), backend="onnxruntime", device="cpu")
    keypoints, scores = other(picture[..., ::-1], [list(box)])
    inside = person.confidence > 0
    np.testing.assert_allclose(person.keypoints, keypoints[0], atol=1e-3)
    unswapped, _ = other(picture, [list(box)])
    assert not np.allclose(keypoints, unswapped, atol=1.0)
    # The mean of two maxima is at least the smaller one.
    assert np.all(np.clip(scores[0], 0, 1)[inside] >= person.confidence[inside] - SCORE_TOLERANCE)


@pytest.mark.slow
def test_five_processes_give_the_same_bits(onnx_file) -> None:
    detector = f"RTMPoseOnnxDetector({onnx_file!r}, least_score={ALL_SCORES!r})"
    imports = "from adapters.keypoints.detectors.rtmpose_onnx_detector import RTMPoseOnnxDetector"
    assert len(printed_by_processes(f"{imports};{detector}")) == 1


def test_the_command_line_takes_it(onnx_file, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("SAMEBODY_CACHE", "")
    out = tmp_path / "k.parquet"
    assert main(["detect", str(MAN), "--out", str(out), "--detector", "rtmpose-onnx", "--model", onnx_file]) == 0
    captured = capsys.readouterr()
    table = read_keypoints([out])
    assert (captured.out, len(captured.err.splitlines())) == ("", 2)  # what was found, and where it is
    assert (table.schema.name, len(table)) == ("coco17", 1)


def test_what_is_no_rtmpose_model_is_refused(tmp_path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(DetectorError, match=r"no such \.onnx file"):
        RTMPoseOnnxDetector(str(path))
    path.write_bytes(b"not a model")
    with pytest.raises(DetectorError, match="not an ONNX model"):
        RTMPoseOnnxDetector(str(path))
    path.write_bytes(_identity_model())
    with pytest.raises(DetectorError, match="not an RTMPose model"):
        RTMPoseOnnxDetector(str(path))
    with pytest.raises(DetectorError, match="cannot use the device cuda"):
        RTMPoseOnnxDetector(str(path), device="cuda")


def _identity_model() -> bytes:
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def test_warping_is_that_of_the_box(onnx_file, picture) -> None:
    """A box whose aspect is the network's comes out as a plain resize of the enlarged box."""
    detector = RTMPoseOnnxDetector(onnx_file)
    box = (60.0, 100.0, 180.0, 260.0)
    crop, to_picture = detector._crop(picture, box)
    whole = cv2.resize(picture[80:280, 45:195], (192, 256), interpolation=cv2.INTER_LINEAR)
    assert np.abs(crop.astype(int) - whole).mean() < 3
    np.testing.assert_allclose(to_picture(np.array([[96, 128], [0, 0]], np.float32)), [[120, 180], [45, 80]], atol=1e-3)
