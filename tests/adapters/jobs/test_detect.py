"""From photographs to rows: order, batches, status of what cannot be read, the cache."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from adapters.commands.cli import main
from adapters.jobs.detect import PhotoDetection, detect_to_file, detect_to_table
from adapters.keypoints.detectors.choice import DETECTORS
from adapters.keypoints.detectors.detection_cache import DetectionCache
from adapters.keypoints.detectors.installed import detector_states
from adapters.keypoints.detectors.pictures import find_pictures
from adapters.keypoints.readers import read_keypoints
from engine.scores import LABELS
from tests.adapters.photographs import MAN, SpotDetector, save_spot, spot_pixels


@pytest.fixture
def folder(tmp_path):
    """Nine files: people, nobody, and what is no picture, more than one batch of each."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(5):
        Image.fromarray(np.roll(spot_pixels(), 5 * number, axis=1)).save(photos / f"{number}.png")
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(photos / "nobody.jpg")
    (photos / "cut.jpg").write_bytes((photos / "nobody.jpg").read_bytes()[:200])
    (photos / "empty.png").write_bytes(b"")
    (photos / "words.webp").write_text("no picture")
    return photos


def _statuses(table) -> dict[str, str]:
    return dict(zip(table.image.to_pylist(), (LABELS[code] for code in table.status), strict=True))


def test_every_file_is_a_row_in_the_order_of_the_names(folder) -> None:
    detector = SpotDetector()
    table, summary = detect_to_table(find_pictures([folder]), PhotoDetection(detector))
    assert table.image.to_pylist() == sorted(path.name for path in folder.iterdir())
    wanted = {f"{number}.png": "ok" for number in range(5)}
    wanted |= {"nobody.jpg": "no_detection", **dict.fromkeys(["cut.jpg", "empty.png", "words.webp"], "bad_input")}
    assert _statuses(table) == wanted
    assert [row[0, 0] for row in table.keypoints[:5]] == pytest.approx([29.5 + 5 * n for n in range(5)])
    assert np.all(table.confidence[:5] == 0.5)
    details = dict(zip(table.image.to_pylist(), table.detail.to_pylist(), strict=True))
    assert details["0.png"] is None
    assert "the file is empty" in details["empty.png"]
    assert (summary.pictures, summary.people, detector.seen) == (9, 5, 6)
    assert not summary.all_found


def test_a_second_run_looks_at_nothing_again(folder, tmp_path) -> None:
    cache = DetectionCache(tmp_path / "cache")
    outputs = []
    for expected in (6, 0):
        detector = SpotDetector()
        summary = detect_to_file(
            find_pictures([folder]), PhotoDetection(detector, cache), tmp_path / f"{expected}.parquet"
        )
        assert detector.seen == expected
        assert summary.from_cache == 6 - expected
        outputs.append((tmp_path / f"{expected}.parquet").read_bytes())
    assert outputs[0] == outputs[1]


def test_the_cache_knows_content_and_detector_not_names(folder, tmp_path) -> None:
    cache = DetectionCache(tmp_path / "cache")

    def looked_at(identity: str = "spots 1", boxes=None) -> int:
        detector = SpotDetector(identity)
        detect_to_table(find_pictures([folder]), PhotoDetection(detector, cache, boxes=boxes))
        return detector.seen

    looked_at()
    (folder / "0.png").rename(folder / "renamed.png")
    assert looked_at() == 0
    (folder / "2.png").unlink()
    save_spot(folder / "1.png")
    # Now the same bytes as those of 0.png, which are known.
    assert looked_at() == 0
    Image.fromarray(spot_pixels()[::-1]).save(folder / "1.png")
    assert looked_at() == 1
    assert looked_at("spots 2") == 5
    assert looked_at(boxes={"3.png": [(0.0, 0.0, 9.0, 9.0)]}) == 1


def test_a_broken_entry_is_detected_again(folder, tmp_path) -> None:
    cache = DetectionCache(tmp_path / "cache")
    for content in (None, b"", b"\x93not messagepack"):
        for entry in (tmp_path / "cache").rglob("*.msgpack"):
            assert content is not None
            entry.write_bytes(content)
        detector = SpotDetector()
        detect_to_table(find_pictures([folder]), PhotoDetection(detector, cache))
        assert detector.seen == 6


def test_a_cache_that_cannot_be_written_costs_nothing_else(folder, tmp_path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    detection = PhotoDetection(SpotDetector(), DetectionCache(tmp_path / "cache"))
    assert detect_to_table(find_pictures([folder]), detection)[1].people == 5


def test_boxes_reach_the_detector_in_its_pixels(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("adapters.keypoints.detectors.pictures.LARGEST_EDGE", 60)
    save_spot(tmp_path / "a.png")
    given = {"a.png": [(19.5, 9.5, 39.5, 29.5)]}
    seen = []

    class Recording(SpotDetector):
        def detect(self, pictures, boxes=None):
            seen.append(boxes)
            return super().detect(pictures, boxes)

    table, _ = detect_to_table(find_pictures([tmp_path]), PhotoDetection(Recording(), boxes=given))
    assert seen[0][0][0] == pytest.approx((9.5, 4.5, 19.5, 14.5))
    np.testing.assert_allclose(table.keypoints[0, 0], (29.5, 19.5), atol=0.6)


def test_videos_are_kept_with_their_stride(tmp_path) -> None:
    import cv2

    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (120, 80))
    for number in range(8):
        frame = np.full((80, 120, 3), 90, np.uint8) if number == 4 else np.ascontiguousarray(spot_pixels()[..., ::-1])
        writer.write(frame)
    writer.release()
    cache = DetectionCache(tmp_path / "cache")
    for every, seen in ((2, 4), (2, 0), (4, 2)):
        detector = SpotDetector()
        table, _ = detect_to_table(find_pictures([path]), PhotoDetection(detector, cache, every))
        assert detector.seen == seen
        wanted = {f"walk.avi#{n:06d}": "no_detection" if n == 4 else "ok" for n in range(0, 8, every)}
        assert _statuses(table) == wanted


# The command line, with the detector whose weights come inside its package.


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMEBODY_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("own_cache")
def test_detect_finds_the_man(tmp_path, capfd) -> None:
    out = tmp_path / "keypoints.parquet"
    assert main(["detect", str(MAN), "--out", str(out)]) == 0
    captured = capfd.readouterr()
    assert captured.out == ""
    table = read_keypoints([out])
    assert _statuses(table) == {"man.jpg": "ok"}
    assert table.schema.name == "blazepose33"
    keypoints = dict(zip(table.schema.keypoint_names, table.keypoints[0], strict=True))
    # Read off the picture by eye, and good to a hand's breadth; he faces the camera, so his left is on the right.
    places = {"right_wrist": (68, 55), "left_wrist": (222, 233), "right_knee": (60, 252), "left_ankle": (151, 337)}
    for name, place in places.items():
        assert np.linalg.norm(keypoints[name] - place) < 15, name
    assert keypoints["left_shoulder"][0] > keypoints["right_shoulder"][0]


@pytest.mark.usefixtures("own_cache")
def test_detect_gives_the_same_bits_cached_or_not(tmp_path) -> None:
    for name, options in {"a": [], "b": [], "c": ["--no-cache"]}.items():
        assert main(["detect", str(MAN), "--out", str(tmp_path / f"{name}.parquet"), *options]) == 0
    contents = {(tmp_path / f"{name}.parquet").read_bytes() for name in "abc"}
    assert len(contents) == 1


@pytest.mark.usefixtures("own_cache")
def test_exit_status_tells_what_could_not_be_found(tmp_path, folder, capsys) -> None:
    out = str(tmp_path / "k.npz")
    assert main(["detect", str(folder / "nobody.jpg"), "--out", out]) == 0
    assert _statuses(read_keypoints([out])) == {"nobody.jpg": "no_detection"}
    assert main(["detect", str(folder / "nobody.jpg"), "--out", out, "--strict"]) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detect", "PHOTOS/none.jpg", "--out", "k.parquet"], "no such file"),
        (["detect", "PHOTOS", "--out", "k.txt"], "written as .parquet"),
        (["detect", "PHOTOS", "--out", "nowhere/k.parquet"], "no folder nowhere"),
        (["detect", "PHOTOS", "--out", "k.parquet", "--detector", "mmpose"], "needs --model"),
        (["detect", "PHOTOS", "--out", "k.parquet", "--detector", "rtmpose-onnx"], "needs --model"),
        (["detect", "PHOTOS", "--out", "k.parquet", "--model", "x"], "one model"),
        (["detect", "PHOTOS", "--out", "k.parquet", "--boxes", "BOXES"], "boxes"),
        (["fit", "PHOTOS", "--out", "s.npz", "--every", "3"], "--every is for photographs; give --detector"),
        (["fit", "PHOTOS", "--out", "s.npz"], "no .json or .txt file"),
    ],
)
@pytest.mark.usefixtures("own_cache")
def test_mistakes_are_one_line(arguments, message, folder, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boxes.json").write_text(json.dumps({"0.png": [[1, 2, 3]]}))
    places = {"PHOTOS": str(folder), "BOXES": str(tmp_path / "boxes.json")}
    arguments = [places.get(a, a.replace("PHOTOS", str(folder))) for a in arguments]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_doctor_knows_the_detectors_and_what_mends_them(monkeypatch) -> None:
    found = {name: (state, remedy) for name, state, remedy in detector_states()}
    assert {name: remedy for name, (_, remedy) in found.items()} == dict.fromkeys(DETECTORS, "")
    assert "mmcv._ext" in found["mmpose"][0]
    monkeypatch.setitem(sys.modules, "mmpose.apis", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = {name: (state, remedy) for name, state, remedy in detector_states()}
    assert found["mmpose"][1].startswith("pip install '.[mmpose]'")
    assert found["rtmpose-onnx"][1] == "pip install 'samebody[rtmpose-onnx]'"
