"""Defines a form of JSON, and the parts that all forms share: documents and entries (``point_lists``: their numbers).

A file becomes a ``Document``: it is cut into records without decoding them, so that only its text stays in memory. A
``Form`` recognises documents and yields an entry for each person, picture without one and unreadable record. A
``FormFile`` turns entries into rows. docs/keypoint-files.md ("Adding a form") lists the parts of a new form.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from adapters.keypoints.readers.file_rules import Size
from adapters.keypoints.readers.json_rows import BadRecord, Outline, Row, bad_input, no_detection
from adapters.keypoints.readers.json_text import MISFIT, reason, untyped
from adapters.keypoints.readers.source_files import SourceFile
from engine.body.schemas import KeypointSchema

_cut = msgspec.json.Decoder(list[msgspec.Raw]).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


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
