"""COCO keypoint JSON (cocodataset.org, "data format" and "results format"), with the variants of other programs.

    results    [{"image_id", "keypoints": [x, y, score, ...], maybe "bbox": [x, y, width, height]}, ...]
    dataset    {"images": [{"id", "file_name"}], "annotations": [{"image_id", "keypoints": [x, y, v, ...]}],
                "categories": [{"id", "keypoints": [name, ...]}]}

Scores of results are the detector's, v of annotations is the annotator's flag (a dataset whose third numbers are not 0,
1 and 2 has scores). The keypoints of results may also be a list of points, or pairs without scores; then all of them
are seen. AlphaPose calls the box ``box``. COCO-WholeBody keeps feet, face and hands in keys of their own; records that
have them are read as its 133 keypoints. ``segmentation`` is the person's mask (``outlines.coco_masks``).

Pictures are called by ``file_name``, or by ``image_id`` if there is none. The people of a picture are numbered in
the order of the file. Rows are in the order of results or annotations; pictures of a dataset without annotations follow
at the end, in the order of ``images``. Annotations of categories without keypoints do not show people and are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from adapters.keypoints.readers.file_rules import Size
from adapters.keypoints.readers.file_schema import schema_from_names
from adapters.keypoints.readers.forms.form import Document, Entry, Form, Pose, decoded
from adapters.keypoints.readers.forms.point_lists import all_seen, box_xywh, plain_numbers, split_points
from adapters.keypoints.readers.json_rows import BadRecord, Outline, numbers, required
from adapters.keypoints.readers.json_text import MISFIT, decode_text, reason, shown
from adapters.keypoints.readers.source_files import BrokenFile, SourceFile
from adapters.keypoints.table import visibility_confidence
from engine.body.schemas import WHOLEBODY_133, KeypointSchema

_WHOLEBODY_PARTS = ("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
_FLAGS = frozenset({0, 1, 2})
_SEGMENTATION = b'"segmentation"'
_NO_MASK = frozenset({b"", b"null", b"[]", b"[[]]"})


class _Record(msgspec.Struct, gc=False):
    image_id: int | str
    keypoints: list[float]
    category_id: int | str | None = None
    bbox: list[Any] | None = None
    box: list[Any] | None = None
    foot_kpts: list[float] = []
    face_kpts: list[float] = []
    lefthand_kpts: list[float] = []
    righthand_kpts: list[float] = []
    keypoint_scores: msgspec.Raw = msgspec.Raw()


class _Head(msgspec.Struct):
    image_id: int | str | None = None
    category_id: int | str | None = None
    segmentation: msgspec.Raw = msgspec.Raw()


class _Image(msgspec.Struct):
    id: int | str
    file_name: str = ""
    width: float | None = None
    height: float | None = None


class _Category(msgspec.Struct):
    id: int | str | None = None
    name: str = ""
    keypoints: tuple[str, ...] = ()


_decode_record = msgspec.json.Decoder(_Record).decode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_image = msgspec.json.Decoder(_Image).decode
_decode_categories = msgspec.json.Decoder(list[_Category]).decode
_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def _entries(document: Document) -> Iterator[Entry]:
    place, seen = f"{document.source.path}: record", dict[str, int]()
    masks = _Masks(document.records or (), document.source)
    for k, raw in enumerate(document.records or ()):
        read = partial(_pose, raw, is_dataset=False, outline=masks.outline(k))
        yield _entry(raw, document.source.name, f"{place}[{k}]", seen, read)


def _dataset_entries(document: Document) -> Iterator[Entry]:
    path, name = document.source.path, document.source.name
    names: dict[str, str] = {}
    sizes: dict[str, Size] = {}
    for k, raw in enumerate(_list(document, "images")):
        try:
            image = _decode_image(raw)
        except MISFIT as error:
            yield Entry(name, -1, f"{path}: images[{k}]", None, reason(error))
            continue
        names[str(image.id)] = image.file_name or str(image.id)
        if image.width and image.height and image.width > 0 and image.height > 0:
            sizes[str(image.id)] = (image.width, image.height)
    others, seen = _other_categories(document), dict[str, int]()
    annotations = _list(document, "annotations")
    masks = _Masks(annotations, document.source)
    for k, raw in enumerate(annotations):
        head = _read_head(raw)
        if str(head.category_id) not in others:
            size = sizes.get(str(head.image_id))
            read = partial(_pose, raw, is_dataset=True, size=size, outline=masks.outline(k, size))
            yield _entry(raw, name, f"{path}: annotations[{k}]", seen, read, names)
    for image_name in names.values():
        if image_name not in seen:
            # Two entries of ``images`` may share a name; it is still one picture.
            seen[image_name] = 0
            yield Entry(image_name, -1, path, None)


def _entry(
    raw: msgspec.Raw, name: str, place: str, seen: dict[str, int], read: Any, names: Mapping[str, str] = {}
) -> Entry:
    try:
        pose, problem = read(), None
        image_id = pose.image
    except BadRecord as error:
        pose, problem = None, str(error)
        found = _read_head(raw).image_id
        image_id = None if found is None else str(found)
    if image_id is None:
        return Entry(name, -1, place, None, problem)
    image = names.get(image_id, image_id)
    instance = seen.get(image, 0)
    seen[image] = instance + 1
    return Entry(image, instance, place, pose, problem)


class _Masks:
    """The masks of all records, found by picture, so that each person's outline knows the other people."""

    def __init__(self, records: Sequence[msgspec.Raw], source: SourceFile) -> None:
        self._masks: dict[int, msgspec.Raw] = {}
        self._image: dict[int, str] = {}
        self._records: dict[str, list[int]] = {}
        if not source.options.outlines or not any(_SEGMENTATION in bytes(raw) for raw in records):
            return
        for k, raw in enumerate(records):
            head = _read_head(raw)
            if bytes(head.segmentation) not in _NO_MASK:
                self._masks[k], self._image[k] = head.segmentation, str(head.image_id)
                self._records.setdefault(self._image[k], []).append(k)

    def outline(self, record: int, size: Size | None = None) -> Outline | None:
        """What gives the outline of a record; None if it has no mask."""
        if record not in self._masks:
            return None
        from adapters.keypoints.outlines.record_outline import RecordOutline

        beside = [self._masks[k] for k in self._records[self._image[record]] if k != record]
        return RecordOutline(self._masks[record], beside, size)


def _pose(raw: msgspec.Raw, is_dataset: bool, size: Size | None = None, outline: Outline | None = None) -> Pose:
    try:
        record = _decode_record(raw)
        values = record.keypoints + record.foot_kpts + record.face_kpts + record.lefthand_kpts + record.righthand_kpts
        image_id, box = record.image_id, record.bbox or record.box
        beside = decoded(record.keypoint_scores) if record.keypoint_scores else None
    except MISFIT:
        untyped_record = decoded(raw)
        values = required(untyped_record, "keypoints")
        image_id = required(untyped_record, "image_id")
        if not isinstance(image_id, (int, str)) or isinstance(image_id, bool):
            raise BadRecord(f"image_id is {shown(image_id)}, expected a number or a name") from None
        for part in _WHOLEBODY_PARTS:
            values = values + numbers(untyped_record[part], part) if part in untyped_record else values
        box = untyped_record.get("bbox", untyped_record.get("box"))
        beside = untyped_record.get("keypoint_scores")
    points, scores = split_points(values, "keypoints")
    if beside is not None:
        scores = plain_numbers(beside, "keypoint_scores")
        if 2 * len(scores) != len(points):
            raise BadRecord(f"{len(points) // 2} keypoints and {len(scores)} keypoint_scores")
    flagged = is_dataset and scores is not None and _FLAGS.issuperset(scores)
    if scores is None:
        scores = all_seen(points)
    elif flagged:
        scores = visibility_confidence(scores)
    return Pose(points, scores, box_xywh(box), flagged, size, str(image_id), outline)


def _schema(document: Document) -> KeypointSchema | None:
    """The keypoints of the first category that has any, unless the records have another number."""
    categories = _categories(document)
    named = next((category for category in categories if category.keypoints), None)
    if named is None:
        return None
    try:
        schema = schema_from_names(named.name, named.keypoints)
    except ValueError as error:
        raise BrokenFile(f"{document.source.path}: categories: {reason(error)}") from error
    for raw in _list(document, "annotations"):
        try:
            count = len(_pose(raw, is_dataset=True).scores)
        except BadRecord:
            continue
        if count == len(schema):
            break
        # COCO-WholeBody's categories list the body only; others are left over from another tool.
        return WHOLEBODY_133 if count == len(WHOLEBODY_133) else None
    return schema


def _other_categories(document: Document) -> frozenset[str]:
    categories = _categories(document)
    if not any(category.keypoints for category in categories):
        return frozenset()
    return frozenset(str(category.id) for category in categories if not category.keypoints)


def _categories(document: Document) -> list[_Category]:
    if "categories" not in document.members:
        return []
    try:
        return _decode_categories(document.members["categories"])
    except MISFIT as error:
        raise BrokenFile(f"{document.source.path}: categories: {reason(error)}") from error


def _list(document: Document, name: str) -> Sequence[msgspec.Raw]:
    return decode_text(document.members[name], _list_decoder, document.source) if name in document.members else ()


def _read_head(raw: msgspec.Raw) -> _Head:
    """The picture of a record, if a broken record still names it."""
    try:
        return _decode_head(raw)
    except MISFIT:
        return _Head()


COCO_RESULTS = Form("COCO results", lambda document: "image_id" in document.head_keys, _entries)
COCO_DATASET = Form("COCO dataset", lambda document: "annotations" in document.members, _dataset_entries, _schema)
