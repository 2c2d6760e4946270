"""The JSON that MMPose writes.

Demo scripts with ``--save-predictions`` write ``results_<name>.json`` = {"meta_info", "instance_info"}.
MMPoseInferencer with ``pred_out_dir`` writes ``<name>.json`` = what the demo scripts call instance_info. In both it is

    for a picture   [instance, ...]
    for a video     [{"frame_id": ..., "instances": [instance, ...]}, ...]
    instance        {"keypoints": [[x, y], ...], "keypoint_scores": [...], maybe "bbox", "bbox_score", and others}

Pictures are called as their file, frames ``<name>_<frame_id>`` with six digits, and frame_id as MMPose wrote it (from 1
by the demo scripts, from 0 by the inferencer). A file or a frame without instances is a picture with nobody in it.
The inferencer then takes the whole picture for a person, which no reader can tell from a detection.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import msgspec

from adapters.keypoints.readers.json_rows import BadRecord, Row, bad_input, no_detection, numbers, required
from adapters.keypoints.readers.json_text import MISFIT, reason, shown, untyped
from adapters.keypoints.readers.source_files import SourceFile
from engine.body.schemas import KeypointSchema


class _Instance(msgspec.Struct, gc=False):
    keypoints: list[tuple[float, float]]
    keypoint_scores: list[float]


class _Frame(msgspec.Struct, gc=False):
    frame_id: int
    instances: list[_Instance]


class _UnreadFrame(msgspec.Struct):
    frame_id: int
    instances: list[msgspec.Raw]


_decode_instance = msgspec.json.Decoder(_Instance).decode
_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_unread_frame = msgspec.json.Decoder(_UnreadFrame).decode


@dataclass(frozen=True)
class MMPosePicture:
    """The instances of one picture."""

    source: SourceFile
    name: str
    schema: KeypointSchema | None
    records: Sequence[msgspec.Raw]
    place: str
    """How the list is called in messages."""

    def keypoint_counts(self) -> Iterator[int]:
        return _counts(self.records)

    def rows(self, width: int) -> Iterator[Row]:
        if not self.records:
            yield no_detection(self.name)
        for k, record in enumerate(self.records):
            yield _row_of_record(self.name, k, record, width, f"{self.source.path}: {self.place}[{k}]")


@dataclass(frozen=True)
class MMPoseVideo:
    """The frames of one video."""

    source: SourceFile
    name: str
    schema: KeypointSchema | None
    records: Sequence[msgspec.Raw]
    place: str
    """How the list is called in messages."""

    def keypoint_counts(self) -> Iterator[int]:
        for record in self.records:
            try:
                yield from _counts(_decode_unread_frame(record).instances)
            except MISFIT:
                continue

    def rows(self, width: int) -> Iterator[Row]:
        seen: dict[int, int] = {}
        for k, record in enumerate(self.records):
            place = f"{self.source.path}: {self.place}[{k}]"
            frame: _Frame | _UnreadFrame
            try:
                frame = _decode_frame(record)
            except MISFIT:
                try:
                    frame = _decode_unread_frame(record)
                except MISFIT as error:
                    yield bad_input(self.name, -1, f"{place}: {reason(error)}")
                    continue
            image = f"{self.name}_{frame.frame_id:06d}"
            # A frame that comes twice must not give two people one number.
            first = seen.get(frame.frame_id, 0)
            seen[frame.frame_id] = first + len(frame.instances)
            if not frame.instances and not first:
                yield no_detection(image)
            elif isinstance(frame, _Frame):
                for number, instance in enumerate(frame.instances):
                    points = list(chain.from_iterable(instance.keypoints))
                    row_place = f"{place}.instances[{number}]"
                    yield _row(image, first + number, points, instance.keypoint_scores, width, row_place)
            else:
                for number, unread in enumerate(frame.instances):
                    yield _row_of_record(image, first + number, unread, width, f"{place}.instances[{number}]")


def _counts(records: Sequence[msgspec.Raw]) -> Iterator[int]:
    for record in records:
        try:
            yield len(_read_instance(record)[1])
        except BadRecord:
            continue


def _row_of_record(image: str, instance: int, record: msgspec.Raw, width: int, place: str) -> Row:
    try:
        points, scores = _read_instance(record)
    except BadRecord as error:
        return bad_input(image, instance, f"{place}: {error}")
    return _row(image, instance, points, scores, width, place)


def _row(image: str, instance: int, points: Sequence[float], scores: Sequence[float], width: int, place: str) -> Row:
    if len(points) == 2 * width and len(scores) == width:
        return Row(image, instance, points, scores)
    found = f"{len(points) // 2} keypoints and {len(scores)} keypoint_scores"
    return bad_input(image, instance, f"{place}: {found}, expected {width}")


def _read_instance(record: msgspec.Raw) -> tuple[Sequence[float], Sequence[float]]:
    try:
        typed = _decode_instance(record)
        return list(chain.from_iterable(typed.keypoints)), typed.keypoint_scores
    except MISFIT:
        pass
    try:
        instance = untyped(record)
    except MISFIT as error:
        raise BadRecord(reason(error)) from error
    points = required(instance, "keypoints")
    scores = numbers(required(instance, "keypoint_scores"), "keypoint_scores")
    if not isinstance(points, list):
        raise BadRecord(f"keypoints is {shown(points)}, expected a list of [x, y]")
    flat: list[float] = []
    for k, point in enumerate(points):
        pair = numbers([None, None] if point is None else point, f"keypoints[{k}]")
        if len(pair) != 2:
            raise BadRecord(f"keypoints[{k}] is {shown(point)}, expected [x, y]")
        flat += pair
    return flat, scores
