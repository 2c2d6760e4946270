"""COCO keypoint JSON (cocodataset.org, "data format" and "results format").

    results    [{"image_id", "keypoints": [x, y, score, ...]}, ...]
    dataset    {"images": [{"id", "file_name"}], "annotations": [{"image_id", "keypoints": [x, y, v, ...]}],
                "categories": [{"id", "keypoints": [name, ...]}]}

Scores of results are the detector's, v of annotations is the annotator's flag; ``keypoint_table`` says what becomes of
either. COCO-WholeBody keeps feet, face and hands in keys of their own; records that have them are read as its 133
keypoints.

Pictures are called by ``file_name``, or by ``image_id`` where there is none. The people of a picture are numbered in
the order of the file. Rows are in the order of results or annotations; pictures of a dataset without annotations follow
at the end, in the order of ``images``. Annotations of categories without keypoints are not about people and left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from adapters.keypoints.readers.file_schema import schema_from_names
from adapters.keypoints.readers.json_rows import BadRecord, Row, bad_input, no_detection, numbers, required
from adapters.keypoints.readers.json_text import MISFIT, reason, shown, untyped
from adapters.keypoints.readers.source_files import BrokenFile, SourceFile
from adapters.keypoints.table import visibility_confidence
from engine.body.schemas import WHOLEBODY_133, KeypointSchema

_WHOLEBODY_PARTS = ("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")


class _Record(msgspec.Struct, gc=False):
    image_id: int | str
    keypoints: list[float]
    category_id: int | str | None = None
    foot_kpts: list[float] = []
    face_kpts: list[float] = []
    lefthand_kpts: list[float] = []
    righthand_kpts: list[float] = []

    def triples(self) -> list[float]:
        if not self.foot_kpts:
            return self.keypoints
        return self.keypoints + self.foot_kpts + self.face_kpts + self.lefthand_kpts + self.righthand_kpts


class _Outline(msgspec.Struct):
    image_id: int | str | None = None
    category_id: int | str | None = None


class _Image(msgspec.Struct):
    id: int | str
    file_name: str = ""


class _Category(msgspec.Struct):
    id: int | str | None = None
    name: str = ""
    keypoints: tuple[str, ...] = ()


_decode_record = msgspec.json.Decoder(_Record).decode
_decode_outline = msgspec.json.Decoder(_Outline).decode
_decode_image = msgspec.json.Decoder(_Image).decode
_decode_categories = msgspec.json.Decoder(list[_Category]).decode


@dataclass(frozen=True)
class CocoFile:
    """Results, or a dataset."""

    source: SourceFile
    records: Sequence[msgspec.Raw]
    place: str
    """How the list of records is called in messages."""
    images: Sequence[msgspec.Raw] = ()
    """Empty for results."""
    schema: KeypointSchema | None = None
    is_dataset: bool = False
    other_categories: frozenset[str] = frozenset()
    """Categories whose annotations have no keypoints."""

    def keypoint_counts(self) -> Iterator[int]:
        for record in self.records:
            try:
                yield len(_read_record(record).triples()) // 3
            except BadRecord:
                continue

    def rows(self, width: int) -> Iterator[Row]:
        names: dict[str, str] = {}
        for k, raw in enumerate(self.images):
            try:
                image = _decode_image(raw)
                names[str(image.id)] = image.file_name or str(image.id)
            except MISFIT as error:
                yield bad_input(self.source.name, -1, f"{self.source.path}: images[{k}]: {reason(error)}")
        seen: dict[str, int] = {}
        for k, raw in enumerate(self.records):
            yield from self._rows_of_record(raw, width, names, seen, k)
        for name in names.values():
            if name not in seen:
                # Two entries of ``images`` may share a name; it is still one picture.
                seen[name] = 0
                yield no_detection(name)

    def _rows_of_record(
        self, raw: msgspec.Raw, width: int, names: Mapping[str, str], seen: dict[str, int], index: int
    ) -> Iterator[Row]:
        problem = None
        try:
            record = _read_record(raw)
            values = record.triples()
            if len(values) != 3 * width:
                problem = f"{len(values)} numbers in keypoints, expected {3 * width} (x, y and score of {width})"
        except BadRecord as error:
            record, values, problem = _read_outline(raw), [], str(error)
        if self.other_categories and str(record.category_id) in self.other_categories:
            return
        if record.image_id is None:
            yield bad_input(self.source.name, -1, f"{self.source.path}: {self.place}[{index}]: {problem}")
            return
        image = names.get(str(record.image_id), str(record.image_id))
        instance = seen.get(image, 0)
        seen[image] = instance + 1
        if problem:
            yield bad_input(image, instance, f"{self.source.path}: {self.place}[{index}]: {problem}")
            return
        scores = values[2::3]
        del values[2::3]
        yield Row(image, instance, values, visibility_confidence(scores) if self.is_dataset else scores)


def dataset_file(
    source: SourceFile,
    annotations: Sequence[msgspec.Raw],
    images: Sequence[msgspec.Raw],
    categories: msgspec.Raw | None,
) -> CocoFile:
    """A dataset; the first category with keypoints says which they are.

    Raises:
        BrokenFile: the categories cannot be read.
    """
    try:
        listed = _decode_categories(categories) if categories is not None else []
        with_keypoints = [category for category in listed if category.keypoints]
        schema = schema_from_names(with_keypoints[0].name, with_keypoints[0].keypoints) if with_keypoints else None
    except (*MISFIT, ValueError) as error:
        raise BrokenFile(f"{source.path}: categories: {reason(error)}") from error
    if schema is not None and any(_has_parts(raw) for raw in annotations[:1]):
        # Its categories list the body only.
        schema = WHOLEBODY_133
    others = {str(category.id) for category in listed if not category.keypoints} if with_keypoints else set()
    return CocoFile(source, annotations, "annotations", images, schema, True, frozenset(others))


def _has_parts(raw: msgspec.Raw) -> bool:
    try:
        return bool(_read_record(raw).foot_kpts)
    except BadRecord:
        return False


def _read_record(raw: msgspec.Raw) -> _Record:
    try:
        return _decode_record(raw)
    except MISFIT:
        pass
    try:
        record = untyped(raw)
    except MISFIT as error:
        raise BadRecord(reason(error)) from error
    keypoints = numbers(required(record, "keypoints"), "keypoints")
    image_id = required(record, "image_id")
    if not isinstance(image_id, (int, str)) or isinstance(image_id, bool):
        raise BadRecord(f"image_id is {shown(image_id)}, expected a number or a name")
    parts = {part: numbers(record[part], part) for part in _WHOLEBODY_PARTS if part in record}
    return _Record(image_id, keypoints, record.get("category_id"), **parts)


def _read_outline(raw: msgspec.Raw) -> _Outline:
    """Whose record this is, as far as a broken one still says."""
    try:
        return _decode_outline(raw)
    except MISFIT:
        return _Outline()
