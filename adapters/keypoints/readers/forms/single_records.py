"""Lists of people of one picture, in the records of two programs: Ultralytics, OpenPifPaf.

    Ultralytics to_json     [{"name", "class", "confidence", "box": {x1, y1, x2, y2},
                              "keypoints": {"x": [...], "y": [...], "visible": [...]}}, ...]
    OpenPifPaf              [{"keypoints": [x, y, score, ...], "bbox": [x, y, width, height], "score", "category_id"}]

Ultralytics writes points with a confidence below 0.5 as (0, 0); a dump of several results is a list of such lists.
OpenPifPaf calls its files ``<picture>.predictions.json``; for videos it writes one object
{"frame", "predictions"} a line.
"""

from collections.abc import Iterator
from typing import Any

from adapters.keypoints.readers.forms.form import (
    Document,
    Entry,
    Form,
    Pose,
    decoded,
    entry,
    frame_name,
    members,
    people,
)
from adapters.keypoints.readers.forms.point_lists import all_seen, box_xywh, box_xyxy, plain_numbers, split_points
from adapters.keypoints.readers.json_rows import BadRecord, required
from adapters.keypoints.readers.json_text import shown

_CORNERS = ("x1", "y1", "x2", "y2")


def _recognises_ultralytics(document: Document) -> bool:
    head = document.head
    if isinstance(head, list):
        head = next((item for item in head if isinstance(item, dict)), None)
    return isinstance(head, dict) and ("box" in head or "class" in head) and _has_axes(head.get("keypoints", {}))


def _has_axes(keypoints: Any) -> bool:
    return isinstance(keypoints, dict) and (not keypoints or {"x", "y"} <= keypoints.keys())


def _entries_of_ultralytics(document: Document) -> Iterator[Entry]:
    records, name, path = document.records or (), document.source.name, document.source.path
    if not isinstance(document.head, list):
        yield from people(records, name, f"{path}: record", _ultralytics)
        return
    for k, raw in enumerate(records):
        image = name if len(records) == 1 else frame_name(name, k)
        picture = entry(raw, image, -1, f"{path}: record[{k}]", decoded)
        if picture.problem is None and isinstance(picture.pose, list):
            yield from people(picture.pose, image, picture.place, _ultralytics)
        else:
            yield picture._replace(pose=None, problem=picture.problem or f"{shown(picture.pose)} is not a list")


def _ultralytics(record: Any) -> Pose:
    record = decoded(record)
    keypoints = required(record, "keypoints")
    x, y = (plain_numbers(required(keypoints, axis), axis) for axis in "xy")
    if len(x) != len(y):
        raise BadRecord(f"{len(x)} x and {len(y)} y")
    points = [0.0] * (2 * len(x))
    points[0::2], points[1::2] = x, y
    scores = all_seen(points)
    if "visible" in keypoints:
        scores = plain_numbers(keypoints["visible"], "visible")
        if len(scores) != len(x):
            raise BadRecord(f"{len(x)} keypoints and {len(scores)} visible")
    corners = record.get("box")
    box = box_xyxy([corners.get(key) for key in _CORNERS]) if isinstance(corners, dict) else None
    return Pose(points, scores, box)


def _recognises_pifpaf(document: Document) -> bool:
    keypoints = document.head.get("keypoints") if isinstance(document.head, dict) else None
    flat = isinstance(keypoints, list) and bool(keypoints) and not isinstance(keypoints[0], (list, dict))
    return flat or {"frame", "predictions"} <= document.head_keys


def _entries_of_pifpaf(document: Document) -> Iterator[Entry]:
    records, path = document.records or (), document.source.path
    name = document.source.name.removesuffix(".predictions")
    if "predictions" not in document.head_keys:
        yield from people(records, name, f"{path}: record", _pifpaf)
        return
    for k, raw in enumerate(records):
        place = f"{path}: record[{k}]"
        try:
            frame = decoded(raw)
            number, found = required(frame, "frame"), required(frame, "predictions")
            if not isinstance(number, int) or not isinstance(found, list):
                raise BadRecord("expected the number of a frame and a list of predictions")
        except BadRecord as error:
            yield Entry(name, -1, place, None, str(error))
            continue
        yield from people(found, frame_name(name, number), f"{place}.predictions", _pifpaf)


def _pifpaf(record: Any) -> Pose:
    record = members(record)
    points, scores = split_points(required(record, "keypoints"), "keypoints")
    return Pose(points, all_seen(points) if scores is None else scores, box_xywh(decoded(record.get("bbox"))))


ULTRALYTICS = Form("Ultralytics to_json", _recognises_ultralytics, _entries_of_ultralytics)
OPENPIFPAF = Form("OpenPifPaf", _recognises_pifpaf, _entries_of_pifpaf)
