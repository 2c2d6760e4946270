"""Small detections as the detectors write them, for the tests of readers and writers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from adapters.keypoints.table import KeypointTable
from engine.body.schemas import COCO_17


def points(seed: int, count: int = 17) -> list[list[float]]:
    return np.random.default_rng(seed).uniform(0, 1000, (count, 2)).astype(np.float32).tolist()


def scores(seed: int, count: int = 17) -> list[float]:
    return np.random.default_rng(seed).uniform(0.3, 1, count).astype(np.float32).tolist()


def instance(seed: int, count: int = 17) -> dict[str, Any]:
    """As MMPose's inferencer writes it, doubly nested box included."""
    return {
        "keypoints": points(seed, count),
        "keypoint_scores": scores(seed, count),
        "bbox": [[0.0, 0.0, 10.0, 20.0]],
        "bbox_score": 0.9,
    }


def triples(seed: int, count: int = 17) -> list[float]:
    """COCO's flat x, y, score."""
    pairs = zip(points(seed, count), scores(seed, count), strict=True)
    return [number for (x, y), score in pairs for number in (x, y, score)]


def meta_info(names: tuple[str, ...] = COCO_17.keypoint_names) -> dict[str, Any]:
    """As MMPose's demo scripts write it: arrays in json_tricks' form, string keys."""
    return {
        "dataset_name": "coco",
        "num_keypoints": len(names),
        "keypoint_id2name": {str(k): name for k, name in enumerate(names)},
        "flip_indices": list(range(len(names))),
        "skeleton_links": [[0, 1]],
        "sigmas": {"__ndarray__": [0.05] * len(names), "dtype": "float32", "shape": [len(names)], "Corder": True},
    }


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def assert_person(table: KeypointTable, row: int, seed: int) -> None:
    """That row holds, bit for bit, the keypoints made with ``seed``."""
    count = len(table.schema)
    np.testing.assert_array_equal(table.keypoints[row], np.array(points(seed, count), np.float32))
    np.testing.assert_array_equal(table.confidence[row], np.array(scores(seed, count), np.float32))


def assert_tables_equal(actual: KeypointTable, expected: KeypointTable) -> None:
    """Every column, bit for bit."""
    assert actual.schema == expected.schema
    assert actual.image.to_pylist() == expected.image.to_pylist()
    assert actual.detail.to_pylist() == expected.detail.to_pylist()
    for name in ("instance", "keypoints", "confidence", "status"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name), err_msg=name)


with_files = settings(max_examples=30, deadline=None)
"""For examples that write files: each is forced to the disk, which takes as long as the disk takes."""

coordinates = st.floats(3, 1e6, width=32)
confidences = st.one_of(st.just(0.0), st.floats(0.3125, 1, width=32))
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
