"""JSON of MMPose 1.x and 0.x.

Demo scripts of 1.x with ``--save-predictions`` write ``results_<name>.json`` = {"meta_info", "instance_info"}.
MMPoseInferencer with ``pred_out_dir`` writes ``<name>.json`` = the content of instance_info. In both it is

    for a picture   [instance, ...]
    for a video     [{"frame_id": ..., "instances": [instance, ...]}, ...]
    instance        {"keypoints": [[x, y], ...], "keypoint_scores": [...], maybe "bbox", "bbox_score", and others}

A dumped result of the inferencer is {"predictions": [[instance, ...], ...], "visualization"}, a list of such objects,
or the predictions alone: one list of instances for each picture.

MMPose 0.x has pose_results: [{"bbox": [x1, y1, x2, y2, score], "keypoints": [[x, y, score], ...]}, ...] for a picture,
a list of such lists for a video.

Pictures are called as their file, frames ``<name>_<number>`` with six digits: frame_id as MMPose wrote it (from 1 by
the demo scripts, from 0 by the inferencer), elsewhere the place in the list from 0. A file or a frame without instances
is a picture with nobody in it. The inferencer then takes the whole picture for a person, which no reader can
distinguish from a detection.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec

from adapters.keypoints.readers.file_schema import schema_from_meta_info
from adapters.keypoints.readers.forms.form import (
    Document,
    Entry,
    Form,
    Pose,
    cut,
    decoded,
    frame_name,
    named_people,
    people,
)
from adapters.keypoints.readers.forms.point_lists import box_xyxy, plain_numbers, split_points
from adapters.keypoints.readers.json_rows import BadRecord, required
from adapters.keypoints.readers.json_text import MISFIT, reason, shown, untyped
from adapters.keypoints.readers.source_files import BrokenFile
from engine.body.schemas import KeypointSchema


class _Instance(msgspec.Struct, gc=False):
    keypoints: list[tuple[float, float]]
    keypoint_scores: list[float]
    bbox: list[Any] | None = None


class _Frame(msgspec.Struct, gc=False):
    frame_id: int
    instances: list[_Instance]


class _UnreadFrame(msgspec.Struct):
    frame_id: int
    instances: list[msgspec.Raw]


class _Keys(msgspec.Struct):
    """The keys that distinguish a frame from an instance."""

    frame_id: msgspec.Raw = msgspec.Raw()
    instances: msgspec.Raw = msgspec.Raw()
    keypoints: msgspec.Raw = msgspec.Raw()


_decode_keys = msgspec.json.Decoder(_Keys).decode
_decode_instance = msgspec.json.Decoder(_Instance).decode
_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_unread_frame = msgspec.json.Decoder(_UnreadFrame).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def instance_pose(record: Any) -> Pose:
    """One instance, as 1.x or 0.x writes it.

    Raises:
        BadRecord: it is something else.
    """
    if isinstance(record, msgspec.Raw):
        try:
            return _typed_pose(_decode_instance(record))
        except MISFIT:
            record = decoded(record)
    points, inside = split_points(required(record, "keypoints"), "keypoints")
    scores = inside
    if inside is None or "keypoint_scores" in record:
        scores = plain_numbers(required(record, "keypoint_scores"), "keypoint_scores")
        if inside is not None:
            raise BadRecord("its keypoints have three numbers beside keypoint_scores, expected [x, y]")
        if len(scores) != len(points) // 2:
            raise BadRecord(f"{len(points) // 2} keypoints and {len(scores)} keypoint_scores")
    return Pose(points, scores or [], box_xyxy(record.get("bbox")))


def _typed_pose(instance: _Instance) -> Pose:
    if len(instance.keypoints) != len(instance.keypoint_scores):
        raise BadRecord(f"{len(instance.keypoints)} keypoints and {len(instance.keypoint_scores)} keypoint_scores")
    points = list(chain.from_iterable(instance.keypoints))
    return Pose(points, instance.keypoint_scores, box_xyxy(instance.bbox))


def _recognises(document: Document) -> bool:
    if "instance_info" in document.members or document.records == []:
        return True
    keys = document.head_keys
    if "frame_id" in keys or ("instances" in keys and isinstance(document.head["instances"], list)):
        return True
    return {"keypoints", "keypoint_scores"} <= keys and "image_id" not in keys


def _schema(document: Document) -> KeypointSchema | None:
    if "meta_info" not in document.members:
        return None
    try:
        return schema_from_meta_info(untyped(document.members["meta_info"]), document.source.path)
    except MISFIT as error:
        raise BrokenFile(f"{document.source.path}: meta_info: {error}") from error


def _entries(document: Document) -> Iterator[Entry]:
    source, records, name, place = document.source, document.records, document.source.name, "record"
    if records is None:
        # Only the demo scripts write meta_info, and they alone put results_ before the name.
        name = source.demo_name if "meta_info" in document.members else source.name
        records, place = instance_info(document), "instance_info"
    if _is_video(records):
        yield from _frames(records, name, f"{source.path}: {place}")
    else:
        yield from people(records, name, f"{source.path}: {place}", instance_pose)


def instance_info(document: Document) -> Sequence[msgspec.Raw]:
    """The list of that name.

    Raises:
        BrokenFile: it is not a list.
    """
    try:
        return _decode_list(document.members["instance_info"])
    except MISFIT as error:
        message = reason(error).replace("'$'", "'$.instance_info'")
        if "expected 'array'" in message and "$.instance_info" not in message:
            message += " - at '$.instance_info'"
        raise BrokenFile(f"{document.source.path}: {message}") from error


def _is_video(records: Sequence[msgspec.Raw]) -> bool:
    for raw in records:
        try:
            keys = _decode_keys(raw)
        except MISFIT:
            continue
        if bytes(keys.frame_id) or bytes(keys.instances):
            return True
        if bytes(keys.keypoints):
            return False
    return False


def _frames(records: Sequence[msgspec.Raw], name: str, path: str) -> Iterator[Entry]:
    seen: dict[int, int] = {}
    for k, record in enumerate(records):
        place = f"{path}[{k}]"
        frame: _Frame | _UnreadFrame
        try:
            frame = _decode_frame(record)
        except MISFIT:
            try:
                frame = _decode_unread_frame(record)
            except MISFIT as error:
                yield Entry(name, -1, place, None, reason(error))
                continue
        image = frame_name(name, frame.frame_id)
        # A frame that comes twice must not give two people one number.
        first = seen.get(frame.frame_id, 0)
        seen[frame.frame_id] = first + len(frame.instances)
        if isinstance(frame, _Frame) and frame.instances:
            for number, instance in enumerate(frame.instances):
                yield _typed_entry(instance, image, first + number, f"{place}.instances[{number}]")
        else:
            yield from people(frame.instances, image, f"{place}.instances", instance_pose, first)


def _typed_entry(instance: _Instance, image: str, number: int, place: str) -> Entry:
    try:
        return Entry(image, number, place, _typed_pose(instance))
    except BadRecord as error:
        return Entry(image, number, place, None, str(error))


def _recognises_old(document: Document) -> bool:
    return "keypoints" in document.head_keys and _is_nested(document.head["keypoints"])


def _is_nested(keypoints: Any) -> bool:
    return isinstance(keypoints, list) and any(isinstance(point, list) for point in keypoints)


def _entries_old(document: Document) -> Iterator[Entry]:
    place = f"{document.source.path}: record"
    return named_people(document.records or (), document.source.name, place, _named_pose)


def _named_pose(record: Any) -> Pose:
    """An instance, also with the picture's name, as scripts around MMPose add it."""
    record = decoded(record)
    pose = instance_pose(record)
    named = next((record[key] for key in ("image_name", "file_name", "image_path", "image") if key in record), None)
    return pose._replace(image=named) if isinstance(named, str) else pose


def _recognises_dump(document: Document) -> bool:
    if isinstance(document.head, list):
        return any(_is_instance(item) for item in document.head)
    keys = document.members.keys() if document.records is None else document.head_keys
    return "predictions" in keys


def _is_instance(item: Any) -> bool:
    return isinstance(item, dict) and _is_nested(item.get("keypoints"))


def _entries_dump(document: Document) -> Iterator[Entry]:
    pictures = list(_pictures_of_dump(document))
    for k, (place, records) in enumerate(pictures):
        image = document.source.name if len(pictures) == 1 else frame_name(document.source.name, k)
        try:
            instances = cut(records)
            if not isinstance(instances, list):
                raise BadRecord(f"{shown(instances)} is not a list of instances")
        except BadRecord as error:
            yield Entry(image, -1, place, None, str(error))
            continue
        yield from people(instances, image, place, instance_pose)


def _pictures_of_dump(document: Document) -> Iterator[tuple[str, Any]]:
    path = document.source.path
    if document.records is None:
        try:
            predictions = cut(document.members["predictions"])
        except BadRecord:
            predictions = document.members["predictions"]
        yield from _pictures(predictions, f"{path}: predictions")
        return
    for k, raw in enumerate(document.records):
        try:
            value = cut(raw)
        except BadRecord:
            value = raw
        if isinstance(value, dict) and "predictions" in value:
            yield from _pictures(value["predictions"], f"{path}: record[{k}].predictions")
        else:
            yield f"{path}: record[{k}]", value


def _pictures(predictions: Any, place: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(predictions, list) or any(map(_is_object, predictions)):
        yield place, predictions
        return
    yield from ((f"{place}[{k}]", records) for k, records in enumerate(predictions))


def _is_object(item: Any) -> bool:
    return bytes(item).lstrip().startswith(b"{") if isinstance(item, msgspec.Raw) else isinstance(item, dict)


MMPOSE = Form("MMPose 1.x", _recognises, _entries, _schema)
MMPOSE_RESULTS = Form("MMPoseInferencer results", _recognises_dump, _entries_dump)
MMPOSE_OLD = Form("MMPose 0.x", _recognises_old, _entries_old)
