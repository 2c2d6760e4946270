"""Which files are read, in which order, under which names, and how their schemas go together."""

import json
from pathlib import Path

import numpy as np
import pytest

from adapters.keypoints.readers import open_keypoints, read_keypoints
from adapters.keypoints.table import slice_table
from adapters.keypoints.writers import write_keypoints
from engine.body.schemas import BODY_25, COCO_17, HALPE_26, WHOLEBODY_133
from engine.scores import Status
from tests.adapters.sample_keypoints import (
    assert_person,
    assert_tables_equal,
    instance,
    meta_info,
    points,
    triples,
    write_json,
)
from tests.places import DEMO, SHARED

POSE2SIM = SHARED / "pose2sim"


def test_folder_is_read_with_what_is_below_it_sorted_by_path(tmp_path: Path) -> None:
    for seed, name in enumerate(["b", "a", "sub/z", "sub/deeper/y", "c"]):
        write_json(tmp_path / f"{name}.json", [instance(seed)])
    write_json(tmp_path / ".hidden.json", "not keypoints")
    write_json(tmp_path / ".cache" / "x.json", "not keypoints")
    (tmp_path / "notes.txt").write_text("not keypoints")
    table = read_keypoints([tmp_path])
    assert table.image.to_pylist() == ["a", "b", "c", "sub/deeper/y", "sub/z"]
    for row, seed in enumerate([1, 0, 4, 3, 2]):
        assert_person(table, row, seed)


def test_paths_are_read_in_the_order_given_and_each_file_once(tmp_path: Path) -> None:
    a = write_json(tmp_path / "a.json", [instance(1)])
    b = write_json(tmp_path / "b.json", [instance(2)])
    assert read_keypoints([b, a, tmp_path, b]).image.to_pylist() == ["b", "a"]


def test_files_that_would_share_a_name_get_longer_ones(tmp_path: Path) -> None:
    paths = [write_json(tmp_path / f"{day}/{name}.json", [instance(1)]) for day in "xy" for name in ("front", day)]
    assert read_keypoints(paths).image.to_pylist() == ["x/front", "x", "y/front", "y"]
    assert read_keypoints([tmp_path / "x", tmp_path / "y"]).image.to_pylist() == ["x/front", "x", "y/front", "y"]


def test_files_that_differ_in_their_suffix_keep_it(tmp_path: Path) -> None:
    table = read_keypoints([write_json(tmp_path / "a.json", [instance(1)])])
    np.savez(tmp_path / "a.npz", keypoints=table.keypoints, confidence=table.confidence)
    assert read_keypoints([tmp_path / "a.json", tmp_path / "a.npz"]).image.to_pylist() == ["a.json", "a.npz_000000"]


def test_demo_and_inferencer_output_of_one_picture_keep_their_names_apart(tmp_path: Path) -> None:
    write_json(tmp_path / "results_anna.json", {"meta_info": meta_info(), "instance_info": [instance(1)]})
    write_json(tmp_path / "anna.json", [instance(2)])
    assert read_keypoints([tmp_path]).image.to_pylist() == ["anna", "results_anna"]


def test_upper_case_suffix_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "A.JSON", [instance(1)])
    assert read_keypoints([tmp_path]).image.to_pylist() == ["A"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.json", "missing.json: no such file"),
        ("missing", "no such file or folder"),
        ("notes.md", "not a keypoint file; samebody reads .json, .npz, .parquet, .csv, .txt.*--detector"),
        ("empty", "no .json or .txt file in or below this folder"),
    ],
)
def test_path_that_is_no_keypoint_file_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("x")
    good = write_json(tmp_path / "good.json", [instance(1)])
    with pytest.raises(ValueError, match=message):
        open_keypoints([good, tmp_path / name])


def test_no_paths_are_an_error() -> None:
    with pytest.raises(ValueError, match="no keypoint files given"):
        open_keypoints([])


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 7, 1000])
def test_pieces_of_any_size_are_the_whole(tmp_path: Path, chunk_size: int) -> None:
    people = [instance(seed) for seed in range(4)]
    frames = [{"frame_id": k, "instances": people[: k % 3]} for k in range(7)]
    write_json(tmp_path / "a.json", people)
    write_json(tmp_path / "b.json", frames)
    (tmp_path / "c.json").write_text("{broken")
    write_json(tmp_path / "d.json", [{"image_id": 1, "keypoints": triples(9)}, {"image_id": 2}])
    whole = read_keypoints([tmp_path])
    write_keypoints(tmp_path / "p.parquet", whole)
    write_keypoints(tmp_path / "q.npz", whole)
    paths = [tmp_path / "p.parquet", tmp_path, tmp_path / "q.npz"]
    source = open_keypoints(paths, chunk_size=chunk_size)
    expected = read_keypoints(paths)
    assert len(expected) == 3 * len(whole)
    for _ in range(2):
        tables = list(source)
        assert all(0 < len(table) <= chunk_size for table in tables)
        row = 0
        for table in tables:
            assert table.image.to_pylist() == expected.image[row : row + len(table)].to_pylist()
            np.testing.assert_array_equal(table.keypoints, expected.keypoints[row : row + len(table)])
            row += len(table)
        assert row == len(expected)


def test_same_files_give_the_same_rows(tmp_path: Path) -> None:
    for seed in range(20):
        write_json(tmp_path / f"{seed}.json", [instance(seed), instance(seed + 100)])
    assert_tables_equal(read_keypoints([tmp_path]), read_keypoints([tmp_path]))


def test_schema_is_known_before_anything_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [])
    (tmp_path / "b.json").write_text("broken")
    write_json(tmp_path / "c.json", [instance(1, 26)])
    source = open_keypoints([tmp_path])
    assert source.schema == HALPE_26
    (table,) = source
    assert table.status.tolist() == [Status.NO_DETECTION, Status.BAD_INPUT, Status.OK]


def test_pictures_without_anybody_need_no_schema(tmp_path: Path) -> None:
    for name in "ab":
        write_json(tmp_path / f"{name}.json", [])
    assert read_keypoints([tmp_path]).status.tolist() == [Status.NO_DETECTION] * 2


def test_files_of_different_schemas_are_an_error_that_names_both(tmp_path: Path) -> None:
    a = write_json(tmp_path / "a.json", [instance(1)])
    b = write_json(tmp_path / "b.json", [instance(1, 26)])
    with pytest.raises(ValueError, match="different keypoint schemas, halpe26") as caught:
        read_keypoints([a, b])
    assert f"{b} and {a}" in str(caught.value)


@pytest.mark.parametrize("suffix", [".json", ".npz", ".parquet"])
def test_explicit_schema_matches_keypoints_by_name(tmp_path: Path, suffix: str) -> None:
    source = read_keypoints([write_json(tmp_path / "wide.json", [instance(2, 133)])])
    if suffix != ".json":
        write_keypoints(tmp_path / f"wide{suffix}", source)
    a = write_json(tmp_path / "a.json", [instance(1)])
    table = read_keypoints([a, tmp_path / f"wide{suffix}"], HALPE_26)
    assert table.schema == HALPE_26
    assert table.keypoints[0, :17].tolist() == points(1)
    assert not table.confidence[0, 17:].any()
    toe = WHOLEBODY_133.keypoint_names.index("left_heel")
    assert table.keypoints[1, HALPE_26.keypoint_names.index("left_heel")].tolist() == points(2, 133)[toe]
    # Halpe's head, neck and hip are no keypoints of COCO-WholeBody.
    assert np.flatnonzero(table.confidence[1] == 0).tolist() == [17, 18, 19]
    assert not table.keypoints[1, 17:20].any()


def test_explicit_schema_of_the_same_size_is_believed_for_files_that_name_nothing(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", [instance(1, 25)])
    table = read_keypoints([path], BODY_25)
    assert table.schema == BODY_25
    assert_person(table, 0, 1)


def test_explicit_schema_of_an_unknown_size_is_believed_too(tmp_path: Path) -> None:
    trio = HALPE_26.subset(["nose", "left_hip", "right_hip"])
    table = read_keypoints([write_json(tmp_path / "a.json", [instance(1, 3)])], trio)
    assert table.schema == trio
    assert_person(table, 0, 1)


def test_schemas_without_a_common_keypoint_are_an_error(tmp_path: Path) -> None:
    content = {"meta_info": meta_info(("antler", "tail")), "instance_info": [instance(1, 2)]}
    path = write_json(tmp_path / "stag.json", content)
    with pytest.raises(ValueError, match=r"stag\.json: .* have no keypoint in common"):
        read_keypoints([path], COCO_17)


def test_unknown_number_of_keypoints_lists_the_known_schemas(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", [instance(1, 16)])
    with pytest.raises(ValueError, match=r"16 keypoints do not tell their order: MPII has 16; known: coco17 "):
        open_keypoints([path])


@pytest.mark.skipif(not POSE2SIM.is_dir(), reason="the Pose2Sim keypoints lie beside the repository, not in it")
def test_every_labelled_person_of_the_real_recordings_has_its_row() -> None:
    labels = json.loads((POSE2SIM / "labels.json").read_text())
    for folder in ("single", "multi_static"):
        table = read_keypoints([POSE2SIM / folder])
        expected = [
            (f"{Path(file).stem}_{int(frame):06d}", instance)
            for file in sorted(name for name in labels if name.startswith(folder))
            for frame, people in labels[file].items()
            for instance in range(len(people))
        ]
        assert list(zip(table.image.to_pylist(), table.instance.tolist(), strict=True)) == expected
        assert (table.status == Status.OK).all()
        assert table.schema == COCO_17


@pytest.mark.parametrize("suffixes", [(".npz", ".parquet"), (".parquet", ".parquet"), (".json", ".npz")])
def test_a_person_of_a_picture_counts_once_whatever_files_it_is_in(suffixes: tuple[str, str], tmp_path: Path) -> None:
    table = slice_table(read_keypoints([DEMO / "dataset.parquet"]), 0, 6)
    paths = [tmp_path / f"{name}{suffix}" for name, suffix in zip("ab", suffixes, strict=True)]
    write_keypoints(paths[0], slice_table(table, 0, 4))
    write_keypoints(paths[1], slice_table(table, 2, 6))
    read = read_keypoints(paths)
    assert read.status.tolist() == [0, 0, 0, 0, Status.BAD_INPUT, Status.BAD_INPUT, 0, 0]
    assert "another" in read.detail[4].as_py()
    assert not read.confidence[4:6].any()
    if set(suffixes) == {".parquet"}:
        with pytest.raises(ValueError, match=r"b\.parquet: row 0 has the image and instance of another row"):
            open_keypoints(paths).pieces(2)
