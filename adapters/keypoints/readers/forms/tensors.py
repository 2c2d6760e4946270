"""Dumped outputs of models: one object for a picture with everybody in it.

    torchvision     {"boxes", "labels", "scores", "keypoints": [[[x, y, visible], ...], ...], "keypoints_scores"}
    Detectron2      {"pred_boxes", "scores", "pred_classes", "pred_keypoints": [[[x, y, score], ...], ...]}, perhaps
                    below "instances"
    rtmlib          {"keypoints": [[[x, y], ...], ...], "scores": [[...], ...]}
    easy_ViTPose    {"keypoints": [{"<id>": [[y, x, score], ...]}, ...], "skeleton": {"0": name, ...}}

A file may also be a list of such objects, one a frame; easy_ViTPose's list has one object of people a frame. Scores of
torchvision and Detectron2 are not on a scale of 0 to 1. torchvision's scores are logits, the largest of a heatmap
(``roi_heads.heatmaps_to_keypoints``), 10 and more on clear points. Programs that draw the logits of this network
(Detectron, maskrcnn-benchmark) leave out those below 2; 2 becomes 0.3. Detectron2's scores are shares of the same
heatmap after a softmax (``structures/keypoints.py``). It leaves out those below 0.05 when it draws; 0.05 becomes 0.3.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from adapters.keypoints.readers.file_schema import schema_from_names
from adapters.keypoints.readers.forms.form import Document, Entry, Form, Pose, cut, decoded, entry, frame_name, members
from adapters.keypoints.readers.forms.point_lists import all_seen, box_xyxy, plain_numbers, split_points
from adapters.keypoints.readers.json_rows import BadRecord
from adapters.keypoints.readers.json_text import shown
from adapters.keypoints.readers.source_files import BrokenFile
from engine.body.schemas import KeypointSchema

_KEYPOINTS = ("keypoints", "pred_keypoints")
_SCORES = ("keypoints_scores", "keypoint_scores", "scores")
_BOXES = ("boxes", "pred_boxes", "bboxes")
_TORCHVISION_SCALE = 0.15
_DETECTRON2_SCALE = 6.0


def _recognises(document: Document) -> bool:
    if document.records is None:
        keys = document.members.keys()
        return "instances" in keys or bool(set(_KEYPOINTS) & keys)
    head = document.head
    head = head.get("instances", head) if isinstance(head, dict) else None
    if not isinstance(head, dict):
        return False
    return "pred_keypoints" in head or (bool({"keypoints_scores", "scores"} & head.keys()) and "keypoints" in head)


def _entries(document: Document) -> Iterator[Entry]:
    name, path = document.source.name, document.source.path
    if document.records is None:
        yield from _picture(document.members, name, path)
        return
    for k, raw in enumerate(document.records):
        image = name if len(document.records) == 1 else frame_name(name, k)
        yield from _picture(raw, image, f"{path}: record[{k}]")


def _picture(picture: Any, image: str, place: str) -> Iterator[Entry]:
    try:
        found = members(picture)
        if isinstance(found, Mapping) and "instances" in found:
            found = members(found["instances"])
        if not isinstance(found, Mapping):
            raise BadRecord(f"{shown(found)} is not an object")
        key = next((key for key in _KEYPOINTS if key in found), None)
        if key is None:
            raise BadRecord("it has no keypoints")
        everybody = cut(found[key])
        if not isinstance(everybody, list):
            raise BadRecord(f"{key} is {shown(everybody)}, expected a list of people")
        scores = _beside(found, _SCORES, len(everybody))
        boxes = _beside(found, _BOXES, len(everybody))
    except BadRecord as error:
        yield Entry(image, -1, place, None, str(error))
        return
    if not everybody:
        yield Entry(image, -1, place, None)
    scale = _TORCHVISION_SCALE if "keypoints_scores" in found else _DETECTRON2_SCALE if key == "pred_keypoints" else 1
    for number, points in enumerate(everybody):
        person = (points, None if scores is None else scores[number], None if boxes is None else boxes[number], scale)
        yield entry(person, image, number, f"{place}: {key}[{number}]", _pose)


def _beside(found: Mapping[str, Any], names: tuple[str, ...], count: int) -> list[Any] | None:
    """The first of the lists that exists and has one entry a person."""
    for name in names:
        if name in found:
            values = cut(found[name])
            values = values.get("tensor") if isinstance(values, dict) else values
            if isinstance(values, list) and len(values) == count:
                return values
    return None


def _pose(person: tuple[Any, Any, Any, float]) -> Pose:
    keypoints, beside, box, scale = person
    points, scores = split_points(keypoints, "keypoints")
    beside, box = decoded(beside), decoded(box)
    if isinstance(beside, list):
        # torchvision's third number is a constant; its scores stand beside the keypoints.
        scores = plain_numbers(beside, "scores")
        if 2 * len(scores) != len(points):
            raise BadRecord(f"{len(points) // 2} keypoints and {len(scores)} scores")
    if scores is None:
        return Pose(points, all_seen(points), box_xyxy(box))
    return Pose(points, [score * scale for score in scores] if scale != 1 else scores, box_xyxy(box))


def _recognises_vitpose(document: Document) -> bool:
    if not {"skeleton", "keypoints"} <= document.members.keys():
        return False
    try:
        frames = cut(document.members["keypoints"])
    except BadRecord:
        return False
    return isinstance(frames, list) and all(bytes(frame).lstrip().startswith(b"{") for frame in frames)


def _entries_of_vitpose(document: Document) -> Iterator[Entry]:
    frames, name = cut(document.members["keypoints"]), document.source.name
    for k, raw in enumerate(frames):
        image = name if len(frames) == 1 else frame_name(name, k)
        place = f"{document.source.path}: keypoints[{k}]"
        try:
            frame = members(raw)
        except BadRecord as error:
            yield Entry(image, -1, place, None, str(error))
            continue
        if not frame:
            yield Entry(image, -1, place, None)
        for number, (person, points) in enumerate(frame.items()):
            yield entry(points, image, number, f"{place}[{shown(person)}]", _vitpose)


def _vitpose(points: Any) -> Pose:
    flat, scores = split_points(points, "keypoints", y_first=True)
    if scores is None:
        raise BadRecord("its points have two numbers, expected y, x, score")
    return Pose(flat, scores)


def _schema_of_vitpose(document: Document) -> KeypointSchema | None:
    names = document.member("skeleton")
    if isinstance(names, dict) and names and all(isinstance(name, str) for name in names.values()):
        try:
            ordered = [names[str(k)] for k in range(len(names))]
            return schema_from_names("easy_ViTPose", ordered)
        except KeyError:
            return None
        except ValueError as error:
            raise BrokenFile(f"{document.source.path}: skeleton: {error}") from error
    return None


TENSORS = Form("Tensors of a picture", _recognises, _entries)
EASY_VITPOSE = Form("easy_ViTPose", _recognises_vitpose, _entries_of_vitpose, _schema_of_vitpose)
