"""From photographs of real people to scores and a report: everything at once, with real weights."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from adapters.commands.cli import main
from benchmarks.photographs import VideosMissingError, detect_people, fetch_videos, separation
from engine.shape import Shape
from tests.adapters.photographs import MAN, printed_by_processes

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SAMEBODY_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def videos() -> Path:
    try:
        return fetch_videos()
    except VideosMissingError as error:
        pytest.skip(f"the videos of real people are not to be had: {error}")


def test_fit_and_score_take_photographs(tmp_path) -> None:
    """The same numbers as by way of a file of keypoints."""
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "man.jpg").write_bytes(MAN.read_bytes())
    Image.open(MAN).resize((450, 800)).save(photos / "larger.png")
    (photos / "broken.jpg").write_bytes(MAN.read_bytes()[:3000])
    shapes, scores = (
        [tmp_path / f"{way}.{suffix}" for way in ("photographs", "keypoints")] for suffix in ("npz", "csv")
    )
    keypoints = tmp_path / "keypoints.parquet"
    assert main(["detect", str(photos), "--out", str(keypoints)]) == 0
    for source, shape, out in zip(
        ([str(photos), "--detector", "mediapipe"], [str(keypoints)]), shapes, scores, strict=True
    ):
        assert main(["fit", *source, "--out", str(shape)]) == 0
        assert main(["score", *source, "--shape", str(shape), "--out", str(out)]) == 0
    assert scores[0].read_bytes() == scores[1].read_bytes()
    rows = scores[0].read_text().splitlines()
    assert [row.split(",")[0].strip('"') for row in rows[1:]] == ["broken.jpg", "larger.png", "man.jpg"]
    assert main(["score", str(photos), "--detector", "mediapipe", "--shape", str(shapes[0]), "--strict",
                 "--out", str(scores[0])]) == 1  # fmt: skip


def test_five_processes_give_the_same_bits() -> None:
    imports = "from adapters.keypoints.detectors.mediapipe_detector import MediaPipeDetector"
    assert len(printed_by_processes(f"{imports};MediaPipeDetector()")) == 1


def test_the_man_of_four_cameras_from_video_to_report(videos, tmp_path) -> None:
    folder = videos / "Pose2Sim" / "Demo_SinglePerson" / "videos"
    detector = ["--detector", "mediapipe", "--every", "25"]
    shape, scores, page = (tmp_path / name for name in ("man.npz", "scores.parquet", "report.html"))
    references = [str(folder / f"cam0{k}.mp4") for k in (1, 3)]
    probes = [str(folder / f"cam0{k}.mp4") for k in (2, 4)]
    assert main(["fit", *references, *detector, "--out", str(shape)]) == 0
    assert [r.status for r in Shape.load(shape).references] == ["ok"] * 8
    assert main(["score", *probes, *detector, "--shape", str(shape), "--out", str(scores), "--fit"]) == 0
    rows = pq.read_table(scores)
    assert rows["image"].to_pylist() == [f"cam0{k}.mp4#{n:06d}" for k in (2, 4) for n in (0, 25, 50, 75)]
    assert set(rows["status"].to_pylist()) <= {"ok", "low_information"}
    # The worst that was measured is 1.6 % of his height (benchmarks/results.md, "Photographs").
    assert np.all(rows["reprojection_error"].to_numpy() < 0.04)
    assert main(["report", str(scores), "--out", str(page)]) == 0
    assert "cam02.mp4#000025" in page.read_text()


def test_everybody_in_the_videos_is_found_and_scored(videos) -> None:
    found = detect_people(videos, every=25)
    assert {name: len(table) for name, table in found.groups.items() if name.startswith("man")} == {
        f"man cam0{k}": 4 for k in (1, 2, 3, 4)
    }
    assert len(found.groups["woman beside him"]) >= 4
    assert (found.groups["walking woman"].status == 0).sum() >= 4
    areas = separation(found.groups, show=lambda *_: None)
    assert len(areas) == 8
    assert all(0 <= area <= 1 for area in areas.values())
