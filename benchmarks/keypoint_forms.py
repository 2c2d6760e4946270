"""Small files of every form of keypoints that is read, and what they hold: for tests, fuzzing and reading speed."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from engine.body.schemas import (
    BLAZEPOSE_33,
    BODY_25,
    COCO_17,
    GOLIATH_308,
    HALPE_26,
    HALPE_136,
    OPENPOSE_18,
    WHOLEBODY_133,
    KeypointSchema,
)

SIZE = (2048, 1024)
"""Width and height of the pictures, where a form has fractions of them."""


class People(NamedTuple):
    """People in pictures, one in each."""

    keypoints: Float32[np.ndarray, "images keypoints 2"]
    scores: Float32[np.ndarray, "images keypoints"]

    def pairs(self, row: int) -> list[list[float]]:
        """[[x, y], ...] of one person."""
        return self.keypoints[row].tolist()

    def triples(self, row: int) -> list[list[float]]:
        """[[x, y, score], ...] of one person."""
        return np.concatenate([self.keypoints[row], self.scores[row][:, None]], axis=1).tolist()

    def flat(self, row: int) -> list[float]:
        """[x, y, score, x, y, score, ...] of one person."""
        return [number for triple in self.triples(row) for number in triple]


def make_people(count: int, schema: KeypointSchema, seed: int = 0) -> People:
    """Random points and scores; in every person one point was not seen."""
    random = np.random.default_rng(seed)
    # Multiples of a power of two survive every division and multiplication by the size of a picture.
    keypoints = (random.integers(32, 960, (count, len(schema), 2)) + random.integers(0, 4, 1) / 4).astype(np.float32)
    scores = (random.integers(40, 128, (count, len(schema))) / 128).astype(np.float32)
    keypoints[:, 1], scores[:, 1] = 0, 0
    return People(keypoints, scores)


@dataclass(frozen=True)
class KeypointForm:
    """One form of file."""

    name: str
    """As docs/keypoint-files.md calls it."""
    suffix: str
    schema: KeypointSchema
    write: Callable[[People, KeypointSchema], bytes]
    scored: bool = True
    """False: what is there counts as seen."""
    sized: bool = False
    """Its coordinates are fractions of the picture, and the size must be given."""


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()


def _rows(people: People) -> range:
    return range(len(people.keypoints))


def _image(row: int) -> str:
    return f"p{row:06d}.jpg"


def _instance(people: People, row: int) -> dict[str, Any]:
    return {"keypoints": people.pairs(row), "keypoint_scores": people.scores[row].tolist(), "bbox": [[1, 2, 3, 4]]}


def _mmpose(people: People, schema: KeypointSchema) -> bytes:
    return _json([_instance(people, row) for row in _rows(people)])


def _mmpose_video(people: People, schema: KeypointSchema) -> bytes:
    meta = {
        "dataset_name": schema.name,
        "keypoint_id2name": {str(k): name for k, name in enumerate(schema.keypoint_names)},
        "sigmas": list(schema.sigmas),
        "flip_indices": list(schema.swap),
    }
    frames = [{"frame_id": row + 1, "instances": [_instance(people, row)]} for row in _rows(people)]
    return _json({"meta_info": meta, "instance_info": frames})


def _mmpose_old(people: People, schema: KeypointSchema) -> bytes:
    return _json([{"bbox": [1, 2, 3, 4, 0.9], "keypoints": people.triples(row)} for row in _rows(people)])


def _inferencer(people: People, schema: KeypointSchema) -> bytes:
    return _json({"predictions": [[_instance(people, row)] for row in _rows(people)], "visualization": []})


def _coco_results(keypoints: Callable[[People, int], Any]) -> Callable[[People, KeypointSchema], bytes]:
    def write(people: People, schema: KeypointSchema) -> bytes:
        return _json(
            [
                {"image_id": _image(row), "category_id": 1, "keypoints": keypoints(people, row), "score": 0.9}
                for row in _rows(people)
            ]
        )

    return write


def _coco_dataset(people: People, schema: KeypointSchema) -> bytes:
    def annotation(row: int) -> dict[str, Any]:
        flat = people.flat(row)
        flat[2::3] = [2 if score > 0 else 0 for score in flat[2::3]]
        return {"id": row, "image_id": row, "category_id": 1, "keypoints": flat, "bbox": [1, 2, 3, 4]}

    names = [name.replace("_", " ").title() for name in schema.keypoint_names]
    return _json(
        {
            "images": [{"id": row, "file_name": _image(row)} for row in _rows(people)],
            "annotations": [annotation(row) for row in _rows(people)],
            "categories": [{"id": 1, "name": "person", "keypoints": names}],
        }
    )


def _openpose(people: People, schema: KeypointSchema) -> bytes:
    found = [
        {"person_id": [-1], "pose_keypoints_2d": people.flat(row), "face_keypoints_2d": []} for row in _rows(people)
    ]
    return _json({"version": 1.3, "people": found})


def _pose_keypoint(people: People, schema: KeypointSchema) -> bytes:
    fractions = People(people.keypoints / np.array(SIZE, np.float32), people.scores)
    return _json(
        [
            {"people": [{"pose_keypoints_2d": fractions.flat(row)}], "canvas_width": SIZE[0], "canvas_height": SIZE[1]}
            for row in _rows(people)
        ]
    )


def _alphapose_cmu(people: People, schema: KeypointSchema) -> bytes:
    return _json(
        {_image(row): {"version": "AlphaPose v0.3", "bodies": [{"joints": people.flat(row)}]} for row in _rows(people)}
    )


def _ultralytics(people: People, schema: KeypointSchema) -> bytes:
    def record(row: int) -> dict[str, Any]:
        x, y = people.keypoints[row].T.tolist()
        keypoints = {"x": x, "y": y, "visible": people.scores[row].tolist()}
        box = {"x1": 1, "y1": 2, "x2": 3, "y2": 4}
        return {"name": "person", "class": 0, "confidence": 0.9, "box": box, "keypoints": keypoints}

    return _json([record(row) for row in _rows(people)])


def _pifpaf(people: People, schema: KeypointSchema) -> bytes:
    return _json(
        [{"keypoints": people.flat(row), "bbox": [1, 2, 3, 4], "score": 0.8, "category_id": 1} for row in _rows(people)]
    )


def _vitpose(people: People, schema: KeypointSchema) -> bytes:
    frames = [{"0": [[y, x, score] for x, y, score in people.triples(row)]} for row in _rows(people)]
    return _json({"keypoints": frames, "skeleton": {str(k): name for k, name in enumerate(schema.keypoint_names)}})


def _torchvision(people: People, schema: KeypointSchema) -> bytes:
    pictures = [
        {
            "boxes": [[1, 2, 3, 4]],
            "labels": [1],
            "scores": [0.9],
            "keypoints": [[[x, y, 1.0] for x, y in people.pairs(row)]],
            "keypoints_scores": [(people.scores[row] / 0.15).tolist()],
        }
        for row in _rows(people)
    ]
    return _json(pictures)


def _detectron2(people: People, schema: KeypointSchema) -> bytes:
    shares = People(people.keypoints, people.scores / np.float32(6))
    return _json(
        [
            {"instances": {"pred_boxes": [[1, 2, 3, 4]], "scores": [0.9], "pred_keypoints": [shares.triples(row)]}}
            for row in _rows(people)
        ]
    )


def _rtmlib(people: People, schema: KeypointSchema) -> bytes:
    return _json({"keypoints": people.keypoints.tolist(), "scores": people.scores.tolist()})


def _mediapipe(people: People, schema: KeypointSchema) -> bytes:
    def landmark(point: np.ndarray, score: float) -> dict[str, float]:
        x, y = (point / SIZE).tolist()
        return {"x": x, "y": y, "z": 0.0, "visibility": float(score)}

    poses = [
        [landmark(point, score) for point, score in zip(people.keypoints[row], people.scores[row], strict=True)]
        for row in _rows(people)
    ]
    return _json(poses)


def _labels(people: People, schema: KeypointSchema) -> bytes:
    lines = []
    for row in _rows(people):
        points = " ".join(f"{x / SIZE[0]!r} {y / SIZE[1]!r} {score!r}" for x, y, score in people.triples(row))
        lines.append(f"0 0.5 0.5 0.25 0.5 {points}\n")
    return "".join(lines).encode()


def _transfer(people: People, schema: KeypointSchema) -> bytes:
    lines = ["name:keypoints_y:keypoints_x"]
    for row in _rows(people):
        seen = people.scores[row] > 0
        x, y = (np.where(seen, axis, -1).tolist() for axis in people.keypoints[row].T)
        lines.append(f"{_image(row)}:{y}:{x}")
    return "\n".join(lines).encode()


def _csv(people: People, schema: KeypointSchema) -> bytes:
    columns = [f"{name}_{axis}" for name in schema.keypoint_names for axis in ("x", "y", "score")]
    lines = [",".join(["image", *columns])]
    lines += [",".join([_image(row), *map(repr, people.flat(row))]) for row in _rows(people)]
    return "\n".join(lines).encode()


def _long_csv(people: People, schema: KeypointSchema) -> bytes:
    lines = ["image,keypoint,x,y,score"]
    for row in _rows(people):
        for name, (x, y, score) in zip(schema.keypoint_names, people.triples(row), strict=True):
            lines.append(f"{_image(row)},{name},{x!r},{y!r},{score!r}")
    return "\n".join(lines).encode()


def _npz(arrays: Callable[[People], Mapping[str, Any]]) -> Callable[[People, KeypointSchema], bytes]:
    def write(people: People, schema: KeypointSchema) -> bytes:
        stream = io.BytesIO()
        np.savez(stream, **arrays(people))
        return stream.getvalue()

    return write


def _parquet(people: People, schema: KeypointSchema) -> bytes:
    stream = io.BytesIO()
    columns = {
        "image": [_image(row) for row in _rows(people)],
        "keypoints": pa.FixedSizeListArray.from_arrays(pa.array(people.keypoints.reshape(-1)), 2 * len(schema)),
        "keypoint_scores": pa.FixedSizeListArray.from_arrays(pa.array(people.scores.reshape(-1)), len(schema)),
    }
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def _stacked(people: People) -> Mapping[str, Any]:
    return {"keypoints": np.concatenate([people.keypoints, people.scores[..., None]], axis=-1)}


FORMS: tuple[KeypointForm, ...] = (
    KeypointForm("MMPose 1.x, a picture", ".json", COCO_17, _mmpose),
    KeypointForm("MMPose 1.x, a video", ".json", HALPE_26, _mmpose_video),
    KeypointForm("MMPose 0.x", ".json", COCO_17, _mmpose_old),
    KeypointForm("MMPoseInferencer results", ".json", WHOLEBODY_133, _inferencer),
    KeypointForm("Sapiens", ".json", GOLIATH_308, _mmpose),
    KeypointForm("COCO results", ".json", COCO_17, _coco_results(People.flat)),
    KeypointForm("COCO results, triples", ".json", COCO_17, _coco_results(People.triples)),
    KeypointForm("COCO results, pairs", ".json", COCO_17, _coco_results(People.pairs), scored=False),
    KeypointForm("COCO dataset", ".json", COCO_17, _coco_dataset, scored=False),
    KeypointForm("OpenPose BODY_25", ".json", BODY_25, _openpose),
    KeypointForm("OpenPose COCO", ".json", OPENPOSE_18, _openpose),
    KeypointForm("POSE_KEYPOINT", ".json", OPENPOSE_18, _pose_keypoint),
    KeypointForm("Ultralytics to_json", ".json", COCO_17, _ultralytics),
    KeypointForm("YOLO labels", ".txt", COCO_17, _labels, sized=True),
    KeypointForm("OpenPifPaf", ".json", COCO_17, _pifpaf),
    KeypointForm("easy_ViTPose", ".json", COCO_17, _vitpose),
    KeypointForm("rtmlib", ".json", HALPE_26, _rtmlib),
    KeypointForm("AlphaPose Halpe-26", ".json", HALPE_26, _coco_results(People.flat)),
    KeypointForm("AlphaPose Halpe-136", ".json", HALPE_136, _coco_results(People.flat)),
    KeypointForm("AlphaPose cmu", ".json", OPENPOSE_18, _alphapose_cmu),
    KeypointForm("MediaPipe landmarks", ".json", BLAZEPOSE_33, _mediapipe, sized=True),
    KeypointForm("torchvision", ".json", COCO_17, _torchvision),
    KeypointForm("Detectron2", ".json", COCO_17, _detectron2),
    KeypointForm("Pose-transfer CSV", ".csv", OPENPOSE_18, _transfer, scored=False),
    KeypointForm("CSV, wide", ".csv", COCO_17, _csv),
    KeypointForm("CSV, long", ".csv", COCO_17, _long_csv),
    KeypointForm(
        "NumPy", ".npz", COCO_17, _npz(lambda people: {"keypoints": people.keypoints, "scores": people.scores})
    ),
    KeypointForm("NumPy, scores inside", ".npz", COCO_17, _npz(_stacked)),
    KeypointForm("Parquet", ".parquet", COCO_17, _parquet),
)
