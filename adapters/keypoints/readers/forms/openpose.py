"""OpenPose's JSON and its variants: ControlNet, ComfyUI, DWPose, AlphaPose's ``open`` and ``cmu``.

    OpenPose --write_json      {"people": [{"pose_keypoints_2d": [x, y, score, ...], ...}]}, one file a frame
    ControlNet, sd-webui       the same with "canvas_width" and "canvas_height", pixels
    ComfyUI POSE_KEYPOINT      a list of such objects, one a frame; coordinates may be fractions of the canvas
    AlphaPose --format open    {"picture.jpg": {"version", "people": [{"pose_keypoints_2d"}]}, ...}
    AlphaPose --format cmu     {"picture.jpg": {"version", "bodies": [{"joints"}]}, ...}; also one object a file

25 keypoints are BODY_25, 18 are OpenPose's COCO order. Hands and faces are not read. ``people`` without anybody is a
picture in which nobody was found; so is a null for its keypoints.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from adapters.keypoints.readers.file_rules import Size
from adapters.keypoints.readers.forms.form import Document, Entry, Form, Pose, cut, decoded, frame_name, members, people
from adapters.keypoints.readers.forms.point_lists import all_seen, split_points
from adapters.keypoints.readers.json_rows import BadRecord
from adapters.keypoints.readers.json_text import shown
from engine.body.schemas import OPENPOSE_18

_LISTS = ("people", "bodies")
_KEYPOINTS = ("pose_keypoints_2d", "pose_keypoints", "joints")
_NOTHING = (b"null", b"[]")


def _recognises(document: Document) -> bool:
    return bool(set(_LISTS) & document.members.keys())


def _entries(document: Document) -> Iterator[Entry]:
    name = document.source.name.removesuffix("_keypoints")
    yield from _picture(document.members, name, document.source.path)


def _recognises_frames(document: Document) -> bool:
    return bool(set(_LISTS) & document.head_keys)


def _entries_of_frames(document: Document) -> Iterator[Entry]:
    name, frames = document.source.name.removesuffix("_keypoints"), document.records or ()
    for k, raw in enumerate(frames):
        image = name if len(frames) == 1 else frame_name(name, k)
        yield from _picture(raw, image, f"{document.source.path}: frame[{k}]")


def _recognises_pictures(document: Document) -> bool:
    for raw in document.members.values():
        try:
            value = decoded(raw)
        except BadRecord:
            continue
        return isinstance(value, dict) and bool(set(_LISTS) & value.keys())
    return False


def _entries_of_pictures(document: Document) -> Iterator[Entry]:
    for image, raw in document.members.items():
        yield from _picture(raw, image, f"{document.source.path}: {shown(image)}")


def _picture(picture: Any, image: str, place: str) -> Iterator[Entry]:
    try:
        found = members(picture)
        if not isinstance(found, Mapping):
            raise BadRecord(f"{shown(found)} is not an object with people")
        key = next((key for key in _LISTS if key in found), None)
        if key is None:
            raise BadRecord("it has no people")
        records = cut(found[key])
        if not isinstance(records, list):
            raise BadRecord(f"{key} is {shown(records)}, expected a list")
        size = _canvas(found)
    except BadRecord as error:
        yield Entry(image, -1, place, None, str(error))
        return
    yield from people(_present(records), image, f"{place}: {key}", lambda record: _pose(record, size))


def _present(records: Iterable[Any]) -> Iterator[Any]:
    """The people with more than a hand or a face; hands and faces are not read."""
    for record in records:
        try:
            found = members(record)
        except BadRecord:
            found = record
        if not _is_absent(found):
            yield found


def _is_absent(record: Any) -> bool:
    """ComfyUI keeps a person of whom only a hand or a face was found, with null or [] for the body."""
    found = [record[key] for key in _KEYPOINTS if key in record] if isinstance(record, dict) else []
    return any(bytes(value) in _NOTHING if isinstance(value, msgspec.Raw) else value in (None, []) for value in found)


def _canvas(picture: Mapping[str, Any]) -> Size | None:
    sides = [decoded(picture.get(f"canvas_{side}")) for side in ("width", "height")]
    if all(isinstance(side, (int, float)) and 0 < side < 1e6 for side in sides):
        return sides[0], sides[1]
    return None


def _pose(record: Any, size: Size | None) -> Pose:
    record = decoded(record)
    if not isinstance(record, dict):
        raise BadRecord(f"{shown(record)} is not an object")
    key = next((key for key in _KEYPOINTS if key in record), None)
    if key is None:
        raise BadRecord(f"it has no {_KEYPOINTS[0]}")
    points, scores = split_points(record[key], key)
    return Pose(points, all_seen(points) if scores is None else scores, size=size)


_BY_COUNT = {18: OPENPOSE_18}
OPENPOSE = Form("OpenPose", _recognises, _entries, by_count=_BY_COUNT)
POSE_KEYPOINT = Form("POSE_KEYPOINT", _recognises_frames, _entries_of_frames, by_count=_BY_COUNT)
ALPHAPOSE_OPEN = Form("AlphaPose open and cmu", _recognises_pictures, _entries_of_pictures, by_count=_BY_COUNT)
