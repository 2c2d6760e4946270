"""MediaPipe's landmarks in the forms that its users dump.

    a pose      [{"x", "y", "z", "visibility"}, ...] of 33, or {"landmark": [...]} as protobuf's MessageToDict has it
    a file      a pose; a list of poses, one a frame; or {"pose_landmarks": ...}, however it is spelt, alone or one a
                frame, of one pose or a list of poses

Coordinates are fractions of the picture's edges, so the size of the picture is needed. A landmark of less than 0.5
visibility counts as not seen, as in the detector. World landmarks are metres and have no place in the picture.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from adapters.keypoints.readers.forms.form import Document, Entry, Form, Pose, decoded, frame_name, people
from adapters.keypoints.readers.forms.point_lists import plain_numbers
from adapters.keypoints.readers.json_rows import BadRecord, required
from adapters.keypoints.readers.json_text import MISFIT, shown

_LISTS = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark")
_LEAST_VISIBILITY = 0.5


class _Landmark(msgspec.Struct, gc=False):
    x: float
    y: float
    visibility: float = 1.0


_decode_marks = msgspec.json.Decoder(list[_Landmark]).decode


def _recognises(document: Document) -> bool:
    if document.records is None:
        return bool(set(_LISTS) & document.members.keys())
    return _is_pose(_inner(document.head)) or _is_landmark(document.head)


def _inner(value: Any) -> Any:
    """The value below the keys for landmarks, and the first pose of several."""
    while isinstance(value, dict) and (key := next((key for key in _LISTS if key in value), None)) is not None:
        value = value[key]
    if isinstance(value, list) and value and not _is_landmark(value[0]):
        return _inner(value[0])
    return value


def _is_landmark(value: Any) -> bool:
    return isinstance(value, dict) and {"x", "y"} <= value.keys() and not isinstance(value["x"], list)


def _is_pose(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and _is_landmark(value[0])


def _entries(document: Document) -> Iterator[Entry]:
    name, path = document.source.name, document.source.path
    if document.records is None:
        key = next(key for key in _LISTS if key in document.members)
        yield from _frame(document.members[key], name, f"{path}: {key}")
    elif _is_landmark(document.head):
        yield from _frame([decoded_or_text(raw) for raw in document.records], name, f"{path}: record")
    else:
        for k, raw in enumerate(document.records):
            image = name if len(document.records) == 1 else frame_name(name, k)
            yield from _frame(raw, image, f"{path}: record[{k}]")


def decoded_or_text(raw: Any) -> Any:
    """A record, or the problem with it, which is not a landmark either."""
    try:
        return decoded(raw)
    except BadRecord as error:
        return str(error)


def _frame(value: Any, image: str, place: str) -> Iterator[Entry]:
    typed = _typed_pose(value) if isinstance(value, msgspec.Raw) else None
    if typed is not None:
        yield Entry(image, 0, place, typed)
        return
    try:
        poses = decoded(value)
        while isinstance(poses, dict):
            key = next((key for key in _LISTS if key in poses), None)
            if key is None:
                raise BadRecord(f"it has no {_LISTS[0]}")
            poses = poses[key]
        if not (poses is None or isinstance(poses, list)):
            raise BadRecord(f"{shown(poses)} is not a list of landmarks")
    except BadRecord as error:
        yield Entry(image, -1, place, None, str(error))
        return
    yield from people([poses] if _is_pose(poses) else poses or [], image, place, _pose)


def _typed_pose(raw: msgspec.Raw) -> Pose | None:
    """A list of landmarks; None for anything else."""
    try:
        marks = _decode_marks(raw)
    except MISFIT:
        return None
    points = [number for mark in marks for number in (mark.x, mark.y)]
    return _seen(points, [mark.visibility for mark in marks]) if marks else None


def _seen(points: list[float], visibility: list[float]) -> Pose:
    # NaN fails the comparison.
    return Pose(points, [score if score >= _LEAST_VISIBILITY else 0.0 for score in visibility])


def _pose(value: Any) -> Pose:
    while isinstance(value, dict):
        key = next((key for key in _LISTS if key in value), _LISTS[0])
        value = required(value, key)
    if not isinstance(value, list):
        raise BadRecord(f"{shown(value)} is not a list of landmarks")
    x, y, visibility = (plain_numbers([_number(mark, key) for mark in value], key) for key in ("x", "y", "visibility"))
    points = [0.0] * (2 * len(value))
    points[0::2], points[1::2] = x, y
    return _seen(points, visibility)


def _number(landmark: Any, key: str) -> Any:
    if not isinstance(landmark, dict):
        raise BadRecord(f"{shown(landmark)} is not a landmark")
    return landmark.get(key, 1.0) if key == "visibility" else required(landmark, key)


MEDIAPIPE = Form("MediaPipe landmarks", _recognises, _entries)
