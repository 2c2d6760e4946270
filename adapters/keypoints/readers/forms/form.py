"""Defines a form of JSON, and the parts that all forms share: documents, entries, numbers.

A file becomes a ``Document``: it is cut into records without decoding them, so that only its text stays in memory. A
``Form`` recognises documents and yields an entry for each person, picture without one and unreadable record. A
``FormFile`` turns entries into rows. docs/keypoint-files.md ("Adding a form") lists the parts of a new form.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from adapters.keypoints.readers.file_rules import Size
from adapters.keypoints.readers.json_rows import BadRecord, Outline, Row, bad_input, no_detection, numbers
from adapters.keypoints.readers.json_text import MISFIT, reason, shown, untyped
from adapters.keypoints.readers.source_files import SourceFile
from engine.body.schemas import SCHEMAS, KeypointSchema

_cut = msgspec.json.Decoder(list[msgspec.Raw]).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_numbers = msgspec.json.Decoder(list[float]).decode
_decode_points: tuple[tuple[Callable[[msgspec.Raw], list[Any]], int | None], ...] = (
    (_decode_numbers, None),
    (msgspec.json.Decoder(list[tuple[float, float, float]]).decode, 3),
    (msgspec.json.Decoder(list[tuple[float, float]]).decode, 2),
)
"""Lists of numbers or of points, and how many numbers a point has."""
_NUMBERS = frozenset({float, int})
_FLOATS = frozenset({float})
_KNOWN_COUNTS = frozenset(len(schema) for schema in SCHEMAS.values())


class Pose(NamedTuple):
    """The keypoints of one person."""

    points: Sequence[float]
    """x, y of all keypoints in turn."""
    scores: Sequence[float]
    box: Sequence[float] | None = None
    """x1, y1, x2, y2."""
    flagged: bool = False
    """The scores come from visibility flags."""
    size: Size | None = None
    """Size of the picture."""
    image: str | None = None
    """The picture's name in the record; None takes the file's."""
    outline: Outline | None = None
    """What gives its outline, if the record has a mask."""


class Entry(NamedTuple):
    """One person, one picture without a person (no pose) or one record that cannot be read (a problem)."""

    image: str
    instance: int
    place: str
    pose: Pose | None
    problem: str | None = None


@dataclass(frozen=True)
class Document:
    """A JSON file that is cut: a list into its records, an object into its members."""

    source: SourceFile
    records: Sequence[msgspec.Raw] | None = None
    members: Mapping[str, msgspec.Raw] = field(default_factory=dict)
    head: Any = None
    """The record by which a list is recognised: one of the first; None in an object and in a list without any."""

    @property
    def head_keys(self) -> frozenset[str]:
        """The keys of ``head``; empty if it is not an object."""
        return frozenset(self.head) if isinstance(self.head, dict) else frozenset()

    def member(self, name: str) -> Any:
        """A member of an object; None if it is missing or cannot be read."""
        try:
            return untyped(self.members[name]) if name in self.members else None
        except MISFIT:
            return None


@dataclass(frozen=True)
class Form:
    """One form of JSON; see the module."""

    name: str
    """Its name in docs/keypoint-files.md."""
    recognises: Callable[[Document], bool]
    entries: Callable[[Document], Iterator[Entry]]
    schema: Callable[[Document], KeypointSchema | None] = lambda document: None
    """The file's own description of its keypoints."""
    by_count: Mapping[int, KeypointSchema] = field(default_factory=dict)
    """Schemas of this form by their number of keypoints, for numbers that are ambiguous in general."""


@dataclass(frozen=True)
class FormFile:
    """A file in a form that was recognised."""

    source: SourceFile
    form: Form
    document: Document
    schema: KeypointSchema | None

    @property
    def by_count(self) -> Mapping[int, KeypointSchema]:
        """See ``Form``."""
        return self.form.by_count

    def keypoint_counts(self) -> Iterator[int]:
        """Numbers of keypoints of the people that can be read."""
        return (len(entry.pose.scores) for entry in self.form.entries(self.document) if entry.pose is not None)

    def rows(self, width: int) -> Iterator[Row]:
        """All entries; people with another number of keypoints than ``width`` are bad input."""
        for image, instance, place, pose, problem in self.form.entries(self.document):
            if pose is None:
                yield no_detection(image) if problem is None else bad_input(image, instance, f"{place}: {problem}")
            elif len(pose.scores) != width:
                yield bad_input(image, instance, f"{place}: {len(pose.scores)} keypoints, expected {width}")
            else:
                yield _row(image, instance, place, pose)


def _row(image: str, instance: int, place: str, pose: Pose) -> Row:
    return Row(
        image,
        instance,
        pose.points,
        pose.scores,
        place=place,
        box=pose.box,
        flagged=pose.flagged,
        size=pose.size,
        outline=pose.outline,
    )


def people(
    records: Iterable[Any], image: str, place: str, read: Callable[[Any], Pose], first: int = 0
) -> Iterator[Entry]:
    """The people of one picture; without any, the picture has nobody in it.

    Args:
        records: the records of its people, as text or decoded.
        place: the place of the list, for messages.
        read: takes a record as it is in ``records``, and raises ``BadRecord`` if it cannot read the record.
        first: the number of the first person.
    """
    number = first - 1
    for number, record in enumerate(records, first):
        yield entry(record, image, number, f"{place}[{number - first}]", read)
    if number < first and not first:
        yield Entry(image, -1, place, None)


def named_people(records: Iterable[Any], image: str, place: str, read: Callable[[Any], Pose]) -> Iterator[Entry]:
    """People whose records may name their pictures, numbered picture by picture; ``image`` is for those that do not."""
    seen: dict[str, int] = {}
    for k, record in enumerate(records):
        found = entry(record, image, -1, f"{place}[{k}]", read)
        if found.pose is not None and found.pose.image:
            found = found._replace(image=found.pose.image)
        number = seen.get(found.image, 0)
        seen[found.image] = number + 1
        yield found._replace(instance=number)


def entry(record: Any, image: str, instance: int, place: str, read: Callable[[Any], Pose]) -> Entry:
    """One record as one person."""
    try:
        return Entry(image, instance, place, read(record))
    except BadRecord as error:
        return Entry(image, instance, place, None, str(error))


def decoded(record: Any) -> Any:
    """A record whose text is read, if it is text.

    Raises:
        BadRecord: it cannot be read.
    """
    if not isinstance(record, msgspec.Raw):
        return record
    try:
        return untyped(record)
    except MISFIT as error:
        raise BadRecord(reason(error)) from error


def cut(value: Any) -> Any:
    """A list whose text is not read yet, cut into its records; anything else decoded.

    Raises:
        BadRecord: it cannot be read.
    """
    return _opened(value, _cut)


def members(value: Any) -> Any:
    """An object whose text is not read yet, cut into its members; anything else decoded.

    Raises:
        BadRecord: it cannot be read.
    """
    return _opened(value, _members)


def _opened(value: Any, decode: Callable[[msgspec.Raw], Any]) -> Any:
    if isinstance(value, msgspec.Raw):
        try:
            return decode(value)
        except MISFIT:
            return decoded(value)
    return value


def frame_name(name: str, frame: int) -> str:
    """The name of a video's frame, by its number in the file."""
    return f"{name}_{frame:06d}"


def plain_numbers(values: Any, name: str) -> list[float]:
    """A list of numbers, null included, as text or decoded.

    Raises:
        BadRecord: something else.
    """
    if isinstance(values, msgspec.Raw):
        try:
            return _decode_numbers(values)
        except MISFIT:
            values = decoded(values)
    return values if isinstance(values, list) and _is_plain(values) else numbers(values, name)


def _is_plain(values: list[Any]) -> bool:
    """True if all are numbers that fit into an array; ``numbers`` turns whole numbers beyond float64 into NaN."""
    kinds = set(map(type, values))
    return kinds == _FLOATS or (kinds <= _NUMBERS and _is_finite(values))


def _is_finite(values: list[float]) -> bool:
    return not values or (max(values) < 1e300 and min(values) > -1e300)


def split_points(values: Any, name: str, *, y_first: bool = False) -> tuple[list[float], list[float] | None]:
    """Coordinates, and scores if there are any, of a flat list or a list of pairs or triples, as text or decoded.

    If a flat list could be pairs or triples, the one with a known number of keypoints is taken, triples first.

    Raises:
        BadRecord: it is something else.
    """
    flat, step = _flat_points(values, name)
    points = [0.0] * (2 * (len(flat) // step))
    x, y = (1, 0) if y_first else (0, 1)
    points[0::2], points[1::2] = flat[x::step], flat[y::step]
    return points, flat[2::step] if step > 2 else None


def _flat_points(values: Any, name: str) -> tuple[list[float], int]:
    """All numbers in one list, and the count of numbers of each point."""
    if isinstance(values, msgspec.Raw):
        for decode, width in _decode_points:
            try:
                found = decode(values)
            except MISFIT:
                continue
            if (step := width or _step(len(found))) and found:
                return list(chain.from_iterable(found)) if width else found, step
        values = decoded(values)
    if not isinstance(values, list):
        raise BadRecord(f"{name} is {shown(values)}, expected a list of numbers or of points")
    if values and not isinstance(values[0], (int, float)) and any(isinstance(value, list) for value in values):
        return _nested_points(values, name)
    flat = plain_numbers(values, name)
    step = _step(len(flat))
    if step is None:
        raise BadRecord(f"{len(flat)} numbers in {name}, expected x, y, score or x, y for each keypoint")
    return flat, step


def _nested_points(values: list[Any], name: str) -> tuple[list[float], int]:
    """Points that are lists of two, three or four numbers (x, y, score, any), null for a missing point."""
    width = next(len(point) for point in values if isinstance(point, list))
    if width not in (2, 3, 4):
        raise BadRecord(f"{name}: a point has {width} numbers, expected x, y or x, y, score")
    missing: list[float | None] = [None] * width
    whole: list[Any] = [missing if point is None else point for point in values] if None in values else values
    if set(map(type, whole)) != {list} or set(map(len, whole)) != {width}:
        k = next(k for k, point in enumerate(whole) if not isinstance(point, list) or len(point) != width)
        raise BadRecord(f"{name}[{k}] is {shown(whole[k])}, expected {width} numbers")
    flat: list[Any] = list(chain.from_iterable(whole))
    if _is_plain(flat):
        return flat, width
    return list(chain.from_iterable(numbers(point, f"{name}[{k}]") for k, point in enumerate(whole))), width


@cache
def _step(count: int) -> int | None:
    """The count of numbers of each point in a flat list; None if no count fits."""
    fits = [step for step in (3, 2) if count and count % step == 0]
    return next((step for step in fits if count // step in _KNOWN_COUNTS), fits[0] if fits else None)


def all_seen(points: Sequence[float]) -> list[float]:
    """Scores of points that have none: points that are not marked as missing were seen."""
    return [1.0] * (len(points) // 2)


def box_xyxy(value: Any) -> list[float] | None:
    """Corners, also nested once and with a score behind; None for anything else."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, list) or len(value) not in (4, 5) or not _NUMBERS.issuperset(map(type, value)):
        return None
    return value[:4] if _is_finite(value) else None


def box_xywh(value: Any) -> list[float] | None:
    """Corners of a box in COCO's form: corner, width and height."""
    box = box_xyxy(value)
    return None if box is None else [box[0], box[1], box[0] + box[2], box[1] + box[3]]
