"""What the writers write, the readers read back; what they must not write, they refuse."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.readers.file_schema import METADATA_KEY
from adapters.keypoints.table import KeypointTable, clean_keypoints, instance_numbers
from adapters.keypoints.writers import write_keypoints
from engine.body.schemas import COCO_17, KeypointSchema
from engine.scores import Status
from tests.adapters.sample_keypoints import assert_tables_equal, confidences, coordinates, names, with_files

TRIO = KeypointSchema("trio", ("left_a", "right_a", "tail"), (0.1, 0.1, 0.2), (1, 0, 2), ((0, 2), (1, 2)))


@st.composite
def tables(draw: st.DrawFn, only_people: bool = False, schema: KeypointSchema = COCO_17) -> KeypointTable:
    """Tables as readers make them: people numbered from 0, nothing in rows that are not OK."""
    kinds = [Status.OK] if only_people else [Status.OK, Status.NO_DETECTION, Status.BAD_INPUT]
    pictures = draw(st.lists(names, max_size=4, unique=True))
    image, instance, status, detail = [], [], [], []
    for name in pictures:
        people = draw(st.integers(1, 3))
        image += [name] * people
        instance += range(people)
        for code in draw(st.lists(st.sampled_from(kinds), min_size=people, max_size=people)):
            status.append(code)
            detail.append(draw(names.filter(bool)) if code == Status.BAD_INPUT else None)
    good = np.array(status, np.int8) == Status.OK
    points = draw(hnp.arrays(np.float32, (len(image), len(schema), 2), elements=coordinates))
    confidence = draw(hnp.arrays(np.float32, (len(image), len(schema)), elements=confidences))
    return KeypointTable(
        schema,
        pa.array(image, pa.string()),
        np.array(instance, np.int32),
        np.where(good[:, None, None], points, np.float32(0)),
        np.where(good[:, None], confidence, np.float32(0)),
        np.array(status, np.int8),
        pa.array(detail, pa.string()),
    )


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
@given(table=st.one_of(tables(), tables(schema=TRIO)))
@with_files
def test_every_row_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, suffix: str, table) -> None:
    path = tmp_path_factory.mktemp("k") / f"k{suffix}"
    write_keypoints(path, table)
    assert_tables_equal(read_keypoints([path]), table)


@given(table=tables(only_people=True).filter(len))
@with_files
def test_people_come_back_from_json_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, table) -> None:
    path = tmp_path_factory.mktemp("k") / "k.json"
    write_keypoints(path, table)
    assert_tables_equal(read_keypoints([path]), table)


@given(table=tables().filter(lambda table: Status.OK in table.status.tolist()))
@with_files
def test_json_holds_the_people_and_only_them(tmp_path_factory: pytest.TempPathFactory, table) -> None:
    path = tmp_path_factory.mktemp("k") / "k.json"
    write_keypoints(path, table)
    good = np.flatnonzero(table.status == Status.OK)
    read = read_keypoints([path])
    assert read.image.to_pylist() == [table.image[k].as_py() for k in good]
    np.testing.assert_array_equal(read.keypoints, table.keypoints[good])


def test_json_image_ids_are_numbers_where_the_names_are(tmp_path: Path) -> None:
    count = 3
    table = KeypointTable(
        COCO_17,
        pa.array(["12", "012", "12.jpg"]),
        np.zeros(count, np.int32),
        np.full((count, 17, 2), 9, np.float32),
        np.full((count, 17), 0.5, np.float32),
        np.zeros(count, np.int8),
        pa.nulls(count, pa.string()),
    )
    write_keypoints(tmp_path / "k.json", table)
    records = json.loads((tmp_path / "k.json").read_text())
    assert [record["image_id"] for record in records] == [12, "012", "12.jpg"]
    assert [record["score"] for record in records] == [0.5] * 3


def test_parquet_has_the_documented_columns_and_metadata(tmp_path: Path) -> None:
    empty = KeypointTable(
        COCO_17,
        pa.array([], pa.string()),
        np.zeros(0, np.int32),
        np.zeros((0, 17, 2), np.float32),
        np.zeros((0, 17), np.float32),
        np.zeros(0, np.int8),
        pa.array([], pa.string()),
    )
    write_keypoints(tmp_path / "k.parquet", empty)
    schema = pq.read_schema(tmp_path / "k.parquet")
    assert schema.field("keypoints").type == pa.list_(pa.float32(), 34)
    assert schema.field("keypoint_scores").type == pa.list_(pa.float32(), 17)
    assert schema.field("instance").type == pa.int32()
    assert [schema.field(name).type for name in ("image", "row_status", "detail")] == [pa.string()] * 3
    stored = json.loads(schema.metadata[METADATA_KEY.encode()])
    assert stored["name"] == "coco17"
    assert tuple(stored["keypoint_names"]) == COCO_17.keypoint_names
    assert_tables_equal(read_keypoints([tmp_path / "k.parquet"]), empty)


@pytest.mark.parametrize("name", ["k.csv", "k", "k.parquet.gz"])
def test_other_suffix_lists_those_that_are_written(tmp_path: Path, name: str) -> None:
    table = read_keypoints([_npz(tmp_path)])
    with pytest.raises(ValueError, match=r"keypoints are written as \.parquet, \.npz, \.json"):
        write_keypoints(tmp_path / name, table)


def test_missing_folder_and_folder_in_place_of_a_file_are_clear_errors(tmp_path: Path) -> None:
    table = read_keypoints([_npz(tmp_path)])
    with pytest.raises(ValueError, match=r"there is no folder .*gone; make it first"):
        write_keypoints(tmp_path / "gone" / "k.npz", table)
    (tmp_path / "d.npz").mkdir()
    with pytest.raises(ValueError, match="it is a folder"):
        write_keypoints(tmp_path / "d.npz", table)


def _npz(folder: Path) -> Path:
    np.savez(folder / "in.npz", keypoints=np.zeros((1, 17, 2)), confidence=np.zeros((1, 17)))
    return folder / "in.npz"


@given(
    hnp.arrays(np.float64, (3, 4, 2), elements=st.floats(allow_nan=True, allow_infinity=True)),
    hnp.arrays(np.float64, (3, 4), elements=st.floats(allow_nan=True, allow_infinity=True)),
)
def test_clean_keypoints_are_finite_and_cleaning_twice_changes_nothing(points, raw_scores) -> None:
    keypoints, confidence = clean_keypoints(points, raw_scores)
    assert np.isfinite(keypoints).all()
    assert ((confidence >= 0) & (confidence <= 1)).all()
    again = clean_keypoints(keypoints, confidence)
    np.testing.assert_array_equal(again[0], keypoints)
    np.testing.assert_array_equal(again[1], confidence)
    bad = ~(np.abs(points) <= 1e6).all(axis=-1)
    assert not confidence[bad].any()
    zero = np.abs(points) < np.finfo(np.float32).tiny
    bad |= zero.all(axis=-1) | (points < 0).all(axis=-1)
    assert not confidence[bad].any()
    untouched = ~bad & (raw_scores >= 0) & (raw_scores <= 1)
    np.testing.assert_array_equal(confidence[untouched], raw_scores[untouched].astype(np.float32))
    np.testing.assert_array_equal(keypoints[~bad], points[~bad].astype(np.float32))


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(0, 12))
def test_instance_numbers_do_not_depend_on_the_pieces(image: list[str], cut: int) -> None:
    whole, _ = instance_numbers(pa.array(image, pa.string()))
    first, state = instance_numbers(pa.array(image[:cut], pa.string()))
    second, _ = instance_numbers(pa.array(image[cut:], pa.string()), state)
    assert [*first, *second] == whole.tolist()
    for k, name in enumerate(image):
        assert whole[k] == (whole[k - 1] + 1 if k and image[k - 1] == name else 0)


@pytest.mark.parametrize(
    ("width", "details", "message"),
    [
        (16, 1, r"keypoints is float32\(1, 16, 2\), expected float32\(1, 17, 2\)"),
        (17, 2, "detail has 2 rows, expected 1"),
    ],
)
def test_table_that_does_not_fit_its_schema_or_itself_is_refused(width: int, details: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeypointTable(
            COCO_17,
            pa.array(["a"]),
            np.zeros(1, np.int32),
            np.zeros((1, width, 2), np.float32),
            np.zeros((1, width), np.float32),
            np.zeros(1, np.int8),
            pa.nulls(details, pa.string()),
        )
