"""The command line as other programs see it: files, exit status, one clear line on stderr."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest

from adapters.commands.cli import main
from adapters.commands.display import summary_lines
from adapters.jobs.score import RunSettings, score_to_file
from adapters.keypoints.readers import open_keypoints, read_keypoints
from engine.evidence.calibration import Calibration
from engine.evidence.calibration_file import as_record, load_calibration, save_calibration
from engine.shape import Shape
from tests.places import DEMO, SHARED

REAL = SHARED / "pose2sim" / "single"


@pytest.fixture(scope="module")
def shape_path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("shape") / "shape.npz"
    assert main(["fit", str(DEMO / "references.parquet"), "--out", str(path)]) == 0
    return path


def _refused(capsys, *arguments: str) -> str:
    """The message of a command that must fail with status 2 and one line."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("samebody: ")
    assert captured.err.count("\n") == 1
    return captured.err


_PEOPLE = ("anna", "boris", "chen", "dalia", "emil")


def test_demo_runs_the_whole_job_and_tells_the_others_from_the_person_of_the_references(tmp_path, capsys) -> None:
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    same = {line[0]: float(line[-1]) for line in lines if line and line[0] in _PEOPLE}
    assert set(same) == set(_PEOPLE)
    assert same.pop("anna") > 0.5 > 0.2 > max(same.values())
    assert {path.name for path in (tmp_path / "demo").iterdir()} >= {
        "references.parquet", "dataset.parquet", "shape.npz", "scores.parquet", "report.html",
    }  # fmt: skip
    scores = pq.read_table(tmp_path / "demo" / "scores.parquet")
    first = np.argsort(scores["log_bayes_factor"].to_numpy())[:20]
    assert sum(scores["image"][int(row)].as_py().startswith("anna") for row in first) <= 2
    assert scores["rank"].to_numpy()[first].tolist() == list(range(1, 21))


def test_a_pipe_gets_the_summary_on_stderr_and_nothing_on_stdout(shape_path, tmp_path, capsys) -> None:
    assert (
        main(["score", str(DEMO / "dataset.parquet"), "--shape", str(shape_path), "--out", str(tmp_path / "s.csv")])
        == 0
    )
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("90 rows: ")
    assert any(line.endswith("s.csv") for line in captured.err.splitlines())


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_scores_are_the_same_in_every_format(shape_path, tmp_path, suffix) -> None:
    out = tmp_path / f"scores.{suffix}"
    assert main(["score", str(DEMO / "dataset.parquet"), "--shape", str(shape_path), "--out", str(out)]) == 0
    if suffix == "parquet":
        consistency = pq.read_table(out)["consistency"].to_pylist()
    elif suffix == "csv":
        consistency = arrow_csv.read_csv(out)["consistency"].to_pylist()
    else:
        consistency = [json.loads(line)["consistency"] for line in out.read_text().splitlines()]
    reference = tmp_path / "reference.parquet"
    main(["score", str(DEMO / "dataset.parquet"), "--shape", str(shape_path), "--out", str(reference)])
    expected = pq.read_table(reference)["consistency"].to_numpy()
    np.testing.assert_array_equal(np.array(consistency, np.float32), expected)


def test_the_same_references_write_the_same_bytes(shape_path, tmp_path) -> None:
    again = tmp_path / "again.npz"
    main(["fit", str(DEMO / "references.parquet"), "--out", str(again)])
    assert again.read_bytes() == shape_path.read_bytes()


def test_shape_file_tells_its_history_without_paths(shape_path) -> None:
    shape = Shape.load(shape_path)
    assert shape.converged
    assert [reference.status for reference in shape.references] == ["ok"] * 6
    assert str(DEMO).encode() not in shape_path.read_bytes()


def _mmpose_picture(path: Path, people: list[np.ndarray]) -> None:
    instances = [{"keypoints": person.tolist(), "keypoint_scores": [0.9] * len(person)} for person in people]
    path.write_text(json.dumps(instances))


def test_a_broken_file_in_a_folder_costs_one_row(shape_path, tmp_path) -> None:
    folder = tmp_path / "predictions"
    folder.mkdir()
    people = read_keypoints([DEMO / "dataset.parquet"]).keypoints
    for name in ("a", "c"):
        _mmpose_picture(folder / f"{name}.json", list(people[:2]))
    (folder / "b.json").write_text('[{"keypoints": [[1, 2')
    out = tmp_path / "scores.parquet"
    assert main(["score", str(folder), "--shape", str(shape_path), "--out", str(out)]) == 0
    rows = pq.read_table(out).to_pylist()
    assert [row["instance"] for row in rows] == [0, 1, -1, 0, 1]
    assert [row["status"] for row in rows] == ["ok", "ok", "bad_input", "ok", "ok"]
    assert "b.json" in rows[2]["detail"]
    assert np.isnan(rows[2]["consistency"])
    assert main(["score", str(folder), "--shape", str(shape_path), "--out", str(out), "--strict"]) == 1


def test_the_largest_person_is_fitted_unless_all_are_meant(tmp_path) -> None:
    generator = np.random.default_rng(0)
    small, large = generator.uniform(0, 100, (17, 2)), generator.uniform(0, 900, (17, 2))
    _mmpose_picture(tmp_path / "picture.json", [small, large])
    for person, instances in (("largest", [1]), ("all", [0, 1])):
        out = tmp_path / f"{person}.npz"
        assert main(["fit", str(tmp_path / "picture.json"), "--out", str(out), "--person", person, "--force"]) == 0
        assert [reference.instance for reference in Shape.load(out).references] == instances


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit"], "REFERENCES"),
        (["fit", "none.json", "--out", "x.npz"], "none.json"),
        (["score", "d.parquet", "--shape", "none.npz", "--out", "s.parquet"], "samebody fit"),
        (["score", "d.parquet", "--shape", "x.npz", "--out", "s.xlsx"], ".jsonl"),
        (["fit", str(DEMO / "references.parquet"), "--out", "x.npz", "--body", "smpl.pkl"], "export-body"),
        (["fit", str(DEMO / "references.parquet"), "--out", "x.npz", "--schema", "coco18"], "coco17"),
        (["fit", str(DEMO / "references.parquet"), "--out", "no/such/folder/x.npz"], "folder"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_mistakes_end_in_one_clear_line(capsys, tmp_path, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in _refused(capsys, *arguments)


def test_a_shape_of_another_body_is_refused(capsys, shape_path, tmp_path, anny) -> None:
    import dataclasses

    from engine.body.body_file import BodyProvenance, save_body

    other = dataclasses.replace(anny, v_template=anny.v_template * 1.01, fingerprint="")
    save_body(tmp_path / "other.npz", other, BodyProvenance("Other", "a test", "CC0"))
    message = _refused(
        capsys, "score", str(DEMO / "dataset.parquet"), "--shape", str(shape_path),
        "--out", str(tmp_path / "s.csv"), "--body", str(tmp_path / "other.npz"),
    )  # fmt: skip
    assert "--body" in message


def test_doctor_finds_a_working_installation(capsys) -> None:
    assert main(["doctor"]) == 0
    output = capsys.readouterr().out
    assert "Anny-24" in output
    assert "smplx" in output


@pytest.mark.parametrize(
    "command", [[], ["demo"], ["fit"], ["score"], ["cluster"], ["calibrate"], ["export-body"], ["doctor"]]
)
def test_help_teaches(capsys, command) -> None:
    assert main([*command, "--help"]) == 0
    assert len(capsys.readouterr().out) > 200


def test_help_does_not_wait_for_jax() -> None:
    script = "import sys, adapters.commands.cli; print('jax' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_a_rest_pose_shape_is_scored_in_rest_pose_and_not_otherwise(tmp_path, capsys) -> None:
    shape, out = str(tmp_path / "rest.npz"), str(tmp_path / "scores.parquet")
    assert main(["fit", str(DEMO / "references.parquet"), "--pose", "rest", "--out", shape]) == 0
    assert main(["score", str(DEMO / "dataset.parquet"), "--shape", shape, "--out", out]) == 0
    assert "same_body_probability" not in pq.read_schema(out).names
    assert "--pose rest" in _refused(
        capsys, "score", str(DEMO / "dataset.parquet"), "--shape", shape, "--out", out, "--pose", "free"
    )


def test_a_solver_of_the_other_mode_is_refused(capsys, tmp_path) -> None:
    arguments = ("--out", str(tmp_path / "shape.npz"), "--pose", "rest", "--solver", "lm")
    assert "--pose rest" in _refused(capsys, "fit", str(DEMO / "references.parquet"), *arguments)


def test_the_only_reference_scores_itself_perfectly(tmp_path) -> None:
    table = read_keypoints([DEMO / "dataset.parquet"])
    _mmpose_picture(tmp_path / "one.json", [table.keypoints[3]])
    shape, out = str(tmp_path / "shape.npz"), tmp_path / "scores.parquet"
    assert main(["fit", str(tmp_path / "one.json"), "--out", shape]) == 0
    assert main(["score", str(tmp_path / "one.json"), "--shape", shape, "--out", str(out)]) == 0
    assert pq.read_table(out)["consistency"][0].as_py() >= 0.99


@pytest.mark.skipif(not REAL.exists(), reason="needs the real four-camera keypoints, which are not in the repository")
def test_real_keypoints_give_a_row_for_every_instance(tmp_path) -> None:
    cameras = [str(REAL / f"T01_balancing_cam0{i}.json") for i in (1, 2, 3, 4)]
    assert main(["fit", *cameras, "--out", str(tmp_path / "shape.npz"), "--pose", "rest"]) == 0
    out = tmp_path / "scores.parquet"
    assert main(["score", str(REAL), "--shape", str(tmp_path / "shape.npz"), "--out", str(out)]) == 0
    instances = 0
    for path in REAL.glob("*.json"):
        instances += sum(len(frame["instances"]) for frame in json.loads(path.read_text())["instance_info"])
    scores = pq.read_table(out).to_pylist()
    assert len(scores) == instances
    # A person behind the other, of whom the camera shows so little that few scores reach 0.3.
    hidden = {(f"T01_balancing_cam02_{frame:06d}", 1) for frame in (81, 82, 83, 84, 88)}
    for row in scores:
        expected = "too_few_keypoints" if (row["image"], row["instance"]) in hidden else "ok"
        assert row["status"] == expected, row


@pytest.fixture(scope="module")
def two_shapes(tmp_path_factory) -> list[str]:
    """Anna and Boris, by the names of their files, from pictures of the demo's data set."""
    folder = tmp_path_factory.mktemp("people")
    table = read_keypoints([DEMO / "dataset.parquet"])
    images = np.array(table.image.to_pylist())
    paths = []
    for name in ("anna", "boris"):
        rows = [row for row, image in enumerate(images) if image.startswith(name)][:4]
        (folder / name).mkdir()
        for row in rows:
            _mmpose_picture(folder / name / f"{images[row].partition('.')[0]}.json", [table.keypoints[row]])
        paths.append(str(folder / f"{name}.npz"))
        assert main(["fit", str(folder / name), "--out", paths[-1]]) == 0
    return paths


def test_several_shapes_give_the_best_match_and_its_margin(two_shapes, tmp_path) -> None:
    out, one = tmp_path / "scores.parquet", tmp_path / "one.parquet"
    data = str(DEMO / "dataset.parquet")
    people = [argument for path in two_shapes for argument in ("--shape", path)]
    assert main(["score", data, *people, "--out", str(out), "--one-person"]) == 0
    assert main(["score", data, "--shape", two_shapes[0], "--out", str(one)]) == 0
    together, alone = pq.read_table(out), pq.read_table(one)
    assert set(together.column_names) - set(alone.column_names) == {"best_match", "margin"}
    best = np.array(together["best_match"].to_pylist())
    assert set(best) == {"anna", "boris"}
    assert (together["margin"].to_numpy() >= 0).all()
    annas = best == "anna"
    np.testing.assert_array_equal(
        together["log_bayes_factor"].to_numpy()[annas], alone["log_bayes_factor"].to_numpy()[annas]
    )


def test_summary_counts_verdicts_and_says_what_a_set_says_together(two_shapes, tmp_path, anny) -> None:
    source = open_keypoints([Path(two_shapes[0]).with_suffix("")])
    shapes = {Path(path).stem: Shape.load(path) for path in two_shapes}
    summary = score_to_file(source, anny, shapes, tmp_path / "s.csv", run=RunSettings(one_person=True))
    assert summary.verdicts is not None
    assert sum(summary.verdicts) == summary.rows == 4
    assert summary.together is not None
    assert (summary.together.best_match, summary.together.pictures, summary.together.clips) == ("anna", 4, 0)
    lines = "\n".join(summary_lines(summary, "s.csv"))
    assert "undecided" in lines
    assert "anna, margin" in lines


def test_a_calibration_travels_with_the_shape(two_shapes, tmp_path, capsys) -> None:
    calibration, out = tmp_path / "calibration.json", tmp_path / "scores.parquet"
    save_calibration(calibration, Calibration(2.0, np.zeros((10, 10)), "a test"))
    folder = str(Path(two_shapes[0]).with_suffix(""))
    shape = str(tmp_path / "shape.npz")
    assert main(["fit", folder, "--calibration", str(calibration), "--out", shape]) == 0
    kept = Shape.load(shape).calibration
    assert kept is not None
    assert as_record(kept) == as_record(load_calibration(calibration))
    bits = []
    for arguments in (["--shape", shape], ["--shape", two_shapes[0], "--calibration", str(calibration)],
                      ["--shape", two_shapes[0]]):  # fmt: skip
        assert main(["score", folder, *arguments, "--out", str(out)]) == 0
        bits.append(pq.read_table(out)["information_bits"].to_numpy())
    np.testing.assert_array_equal(bits[0], bits[1])
    assert (bits[0] < bits[2]).all()
    refused = _refused(capsys, "score", folder, "--shape", shape, "--shape", two_shapes[1], "--out", str(out))
    assert "--calibration" in refused


def test_cluster_writes_a_row_for_every_row(tmp_path) -> None:
    out = tmp_path / "clusters.csv"
    assert main(["cluster", str(DEMO / "dataset.parquet"), "--out", str(out)]) == 0
    table = arrow_csv.read_csv(out)
    assert len(table) == len(read_keypoints([DEMO / "dataset.parquet"]))
    cluster, size = table["cluster"].to_numpy(), table["cluster_size"].to_numpy()
    np.testing.assert_array_equal(size, np.bincount(cluster)[cluster])


def test_calibrate_from_a_table_of_labels(tmp_path, capsys) -> None:
    table = read_keypoints([DEMO / "dataset.parquet"])
    labels, out = tmp_path / "labels.csv", tmp_path / "calibration.json"
    rows = [f"{image},{instance},{image.rpartition('_')[0]}" for image, instance in
            zip(table.image.to_pylist(), table.instance.tolist(), strict=True)]  # fmt: skip
    labels.write_text("image,instance,person\n" + "\n".join(rows) + "\n")
    labelled = [str(DEMO / "dataset.parquet"), "--people", str(labels), "--out", str(out)]
    assert main(["calibrate", *labelled]) == 0
    capsys.readouterr()
    assert not load_calibration(out).keypoint_noise
    assert main(["calibrate", *labelled, "--solver", "lm"]) == 0
    printed = capsys.readouterr().out
    assert "log likelihood" in printed
    assert "calibration error" in printed
    found = load_calibration(out)
    assert 0.3 < found.noise_scale < 3
    assert found.keypoint_noise["left_knee"] == found.keypoint_noise["right_knee"] != 1
    labels.write_text("image,person\nnobody.jpg,anna\n")
    refused = _refused(capsys, "calibrate", str(DEMO / "dataset.parquet"), "--people", str(labels), "--out", str(out))
    assert "nobody.jpg" in refused
    labels.write_text("picture,who\n")
    assert "person" in _refused(
        capsys, "calibrate", str(DEMO / "dataset.parquet"), "--people", str(labels), "--out", str(out)
    )
