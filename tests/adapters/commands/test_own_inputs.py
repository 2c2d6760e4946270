"""No command overwrites what it reads, and a result file leads no command out of its folder."""

import json
from pathlib import Path

import pytest

from adapters.commands.cli import main
from adapters.results.recorded_sources import is_below
from engine.evidence.calibration_file import default_calibration, save_calibration
from tests.places import DEMO
from tests.smpl_samples import sample_model, write_npz


@pytest.mark.parametrize(
    "command",
    [
        ["fit", "KEYPOINTS.npz", "--pose", "rest", "--out", "KEYPOINTS.npz"],
        ["fit", "KEYPOINTS.npz", "--body", "KEYPOINTS.npz", "--out", "LINK.npz"],
        ["score", "KEYPOINTS.parquet", "--shape", "KEYPOINTS.npz", "--out", "KEYPOINTS.parquet"],
        ["score", "x.json", "--shape", "x.npz", "--out", "o.csv", "--keep-evidence", "KEYPOINTS.parquet"],
        ["cluster", "KEYPOINTS.parquet", "--out", "KEYPOINTS.parquet"],
        ["calibrate", "LABELS", "--out", "LABELS/KEYPOINTS.json"],
        ["calibrate", "KEYPOINTS.parquet", "--people", "LABELS.csv", "--out", "LABELS.csv"],
        ["export-body", "smplx", "--model-path", "SMPL_NEUTRAL.npz", "--gender", "neutral", "--out", "SMPL_MALE.npz"],
        ["export-body", "smplx", "--model-path", "SMPL_NEUTRAL.npz", "--gender", "neutral", "--out", "LINK.npz"],
    ],
    ids=" ".join,
)
def test_an_input_is_not_overwritten(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "LABELS").mkdir()
    names = ("KEYPOINTS.npz", "KEYPOINTS.parquet", "LABELS/KEYPOINTS.json", "LABELS.csv", "SMPL_MALE.npz")
    for name in names:
        Path(name).write_bytes(
            (DEMO / "references.parquet").read_bytes() if name.endswith("parquet") else b"image,person"
        )
    write_npz(Path("SMPL_NEUTRAL.npz"), sample_model())
    target = "SMPL_NEUTRAL.npz" if command[0] == "export-body" else "KEYPOINTS.npz"
    if command[0] == "score" and "x.npz" in command:
        command = [{"x.json": "KEYPOINTS.parquet", "x.npz": "KEYPOINTS.npz"}.get(word, word) for word in command]
    Path("LINK.npz").symlink_to(target)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "overwritten" in said
    assert len(said.splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_older_output_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "shape.npz"
    for _ in range(2):
        assert main(["fit", str(DEMO / "references.parquet"), "--pose", "rest", "--out", str(out)]) == 0


def test_recorded_paths_stay_in_the_folder_of_the_result(tmp_path: Path) -> None:
    inside = tmp_path / "run"
    (inside / "below").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (inside / "link").symlink_to(tmp_path / "other")
    assert is_below(inside / "below", inside)
    assert is_below(inside / "below" / ".." / "below", inside)
    for path in ("..", "../other", "below/../../other", "link", "link/x", "a\0b"):
        assert not is_below(inside / path, inside)


@pytest.mark.parametrize(
    "rows", ["a.jpg,\n", ",p\n", "a.jpg,p\na.jpg,p\n", '"' + "x" * 200_000 + '",p\n', "a.jpg,p\0\n"]
)
def test_labels_that_cannot_be_read_are_refused(tmp_path: Path, rows: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"image,person\n{rows}")
    out = tmp_path / "calibration.json"
    assert main(["calibrate", str(DEMO / "references.parquet"), "--people", str(path), "--out", str(out)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not out.exists()


def test_a_calibration_of_another_size_is_refused_before_the_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.json"
    save_calibration(path, default_calibration())
    record = json.loads(path.read_text())
    record.pop("digest")
    path.write_text(
        json.dumps({**record, "within_person": [[1.0, 0.0], [0.0, 1.0]], "mean": None, "between_people": None})
    )
    command = ["fit", str(DEMO / "references.parquet"), "--calibration", str(path), "--out", str(tmp_path / "s.npz")]
    assert main(command) == 2
    assert "shape components" in capsys.readouterr().err
