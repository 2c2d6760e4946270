"""Inputs that people have and that failed: each gives now what its README says. The files lie beside the repository."""

from pathlib import Path

import numpy as np
import pytest

from adapters.keypoints.readers import ReadingOptions, read_keypoints
from engine.body.schemas import COCO_17
from engine.scores import Status
from tests.places import SHARED

FIELD = SHARED / "field"
pytestmark = pytest.mark.skipif(not FIELD.is_dir(), reason="the field cases lie beside the repository, not in it")


def _case(number: str, name: str) -> Path:
    return next(FIELD.glob(f"{number}-*")) / name


@pytest.mark.parametrize("name", ["data.json", "refs.json"])
def test_01_points_at_the_corner_were_not_seen(name: str) -> None:
    table = read_keypoints([_case("01", name)])
    corner = (table.keypoints == 0).all(axis=-1)
    assert corner.any()
    assert not table.confidence[corner].any()
    assert (table.confidence[~corner] > 0).all()


def test_03_openpose() -> None:
    """25 keypoints in the order of BODY_25B, in which they look like people."""
    table = read_keypoints([_case("03", "")], options=ReadingOptions(judge=True))
    assert table.schema.name == "body25b"
    assert table.image.to_pylist() == ["a_000000000000", "b_000000000001"]
    assert table.status.tolist() == [Status.OK] * 2


@pytest.mark.parametrize("name", ["comfy.json", "webui.json"])
def test_04_pose_keypoint(name: str) -> None:
    table = read_keypoints([_case("04", name)])
    assert table.schema.name == "openpose18"
    assert table.keypoints.max() > 100
    assert (table.confidence > 0).sum() == 14


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("pifpaf.jpg.predictions.json", ["pifpaf.jpg"]),
        ("ultra.json", ["ultra"]),
        ("mm0.json", ["mm0"]),
        ("mm1749.json", ["anna_10.jpg", "anna_11.jpg"]),
        ("cocon.json", ["anna_10.jpg", "anna_11.jpg"]),
    ],
)
def test_05_records_in_other_forms(name: str, images: list[str]) -> None:
    table = read_keypoints([_case("05", name)])
    assert table.schema == COCO_17
    assert table.image.to_pylist() == images
    assert (table.status == Status.OK).all()
    assert table.keypoints[0, 0].tolist() == np.float32([701.33, 339.75]).tolist()


def test_06_normalised_coordinates() -> None:
    table = read_keypoints([_case("06", "data.json")])
    assert (table.status == Status.BAD_INPUT).all()
    assert "coordinates look normalised" in table.detail[0].as_py()
    scaled = read_keypoints([_case("06", "data.json")], options=ReadingOptions(image_size=(1024, 768)))
    assert (scaled.status == Status.OK).all()


@pytest.mark.parametrize("name", ["hyphen.json", "title.json"])
def test_09_names_spelt_otherwise(name: str) -> None:
    table = read_keypoints([_case("09", name)])
    assert table.schema == COCO_17
    assert (table.status == Status.OK).all()


def test_09_names_that_mean_nothing() -> None:
    path = _case("09", "numeric.json")
    with pytest.raises(ValueError, match="unknown keypoint names"):
        read_keypoints([path])
    assert read_keypoints([path], COCO_17).schema == COCO_17


def test_11_halpe_136() -> None:
    assert read_keypoints([_case("11", "alphapose-results.json")]).schema.name == "halpe26"
    eighteen = read_keypoints([_case("11", "coco18.json")])
    assert eighteen.schema == COCO_17
    assert eighteen.keypoints[0, 0].tolist() == np.float32([701.33, 339.75]).tolist()


def test_12_references_of_two_forms() -> None:
    table = read_keypoints([_case("12", "refs")])
    assert table.status.tolist() == [Status.OK] * 6


@pytest.mark.parametrize("name", ["dict.json", "list.json"])
def test_13_inferencer_results(name: str) -> None:
    table = read_keypoints([_case("13", name)])
    assert table.status.tolist() == [Status.OK]
    assert table.box is not None


def test_16_labels_and_pose_transfer() -> None:
    labels = read_keypoints([_case("16", "anna_10.txt")], options=ReadingOptions(image_size=(1024, 768)))
    np.testing.assert_allclose(labels.keypoints[0, 0], [701.33, 339.75], atol=0.01)
    table = read_keypoints([_case("16", "market.csv")])
    assert table.schema.name == "openpose18"
    assert table.keypoints[0, 0].tolist() == [32, 15]


def test_18_pairs_without_scores() -> None:
    table = read_keypoints([_case("18", "xy.json")])
    assert (table.status == Status.OK).all()
    assert table.confidence[0].tolist() == [1.0] * 17
