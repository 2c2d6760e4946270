"""Keypoints in lines of text: labels of Ultralytics' YOLO, and the tables of pose transfer.

    YOLO, one .txt a picture     class x y width height  x y v  x y v ...     fractions of the picture, a line a person
    YOLO, predictions            the same with scores for v, perhaps the person's score and track at the end
    pose transfer, .csv          name:keypoints_y:keypoints_x, then picture:[y, ...]:[x, ...] with -1 for not seen

YOLO's labels need the size of the pictures. An empty file of labels is a picture with nobody in it. Pose transfer has
OpenPose's 18 keypoints (github AliaksandrSiarohin/pose-gan reads such tables; docs.ultralytics.com/datasets/pose).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from adapters.keypoints.readers.forms.form import Document, Entry, Form, FormFile, Pose, named_people
from adapters.keypoints.readers.forms.point_lists import all_seen
from adapters.keypoints.readers.json_rows import BadRecord
from adapters.keypoints.readers.json_text import MISFIT, shown
from adapters.keypoints.readers.source_files import BrokenFile, SourceFile
from adapters.keypoints.table import visibility_confidence
from engine.body.schemas import OPENPOSE_18, SCHEMAS

_BOX_NUMBERS = 5
_AT_THE_END = (0, 1, 2)
"""Numbers behind the keypoints: none, a score, a score and a track."""
_FLAGS = frozenset({0.0, 1.0, 2.0})
_COUNTS = frozenset(len(schema) for schema in SCHEMAS.values())
TRANSFER_HEADER = b"name:keypoints_y:keypoints_x"

_decode_numbers = msgspec.json.Decoder(list[float]).decode


@dataclass(frozen=True)
class TextDocument(Document):
    """The lines of a file."""

    lines: Sequence[bytes] = ()


def open_labels(source: SourceFile) -> FormFile:
    """A .txt file of labels.

    Raises:
        BrokenFile: the file cannot be read, or its first line is not a label.
    """
    document = TextDocument(source, lines=_lines(source))
    if document.lines:
        try:
            _label(document.lines[0])
        except BadRecord as error:
            raise BrokenFile(f"{source.path}: not labels of YOLO-pose: line 1: {error}") from error
    return FormFile(source, YOLO_LABELS, document, None)


def open_transfer_table(source: SourceFile) -> FormFile:
    """A .csv file whose first line is ``TRANSFER_HEADER``.

    Raises:
        BrokenFile: it cannot be read.
    """
    return FormFile(source, POSE_TRANSFER, TextDocument(source, lines=_lines(source)[1:]), OPENPOSE_18)


def _lines(source: SourceFile) -> list[bytes]:
    try:
        with open(source.path, "rb") as stream:
            return [line for line in stream.read().splitlines() if line.strip()]
    except OSError as error:
        raise BrokenFile(f"{source.path}: cannot be read: {error.strerror}") from error


def _line_entries(read: Callable[[bytes], Pose]) -> Callable[[Document], Iterator[Entry]]:
    def entries(document: Document) -> Iterator[Entry]:
        assert isinstance(document, TextDocument)
        if not document.lines:
            yield Entry(document.source.name, -1, document.source.path, None)
        yield from named_people(document.lines, document.source.name, f"{document.source.path}: line", read)

    return entries


def _label(line: bytes) -> Pose:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        raise BadRecord(f"{shown(line)} is not numbers with blanks between them") from None
    count, step = _layout(len(values) - _BOX_NUMBERS)
    x, y, width, height = values[1:_BOX_NUMBERS]
    box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    keypoints = values[_BOX_NUMBERS : _BOX_NUMBERS + count * step]
    if step == 2:
        return Pose(keypoints, all_seen(keypoints), box)
    scores = keypoints[2::3]
    del keypoints[2::3]
    flagged = _FLAGS.issuperset(scores)
    return Pose(keypoints, visibility_confidence(scores) if flagged else scores, box, flagged)


def _layout(numbers: int) -> tuple[int, int]:
    """The number of keypoints, and the count of numbers of each."""
    for step in (3, 2):
        for more in _AT_THE_END:
            count, rest = divmod(numbers - more, step)
            if not rest and count in _COUNTS:
                return count, step
    count, rest = divmod(numbers, 3)
    if rest or count < 1:
        raise BadRecord(f"{numbers + _BOX_NUMBERS} numbers, expected class, box and x, y, visibility of each keypoint")
    return count, 3


def _transfer_row(line: bytes) -> Pose:
    name, *lists = line.rsplit(b":", 2)
    try:
        y, x = (_decode_numbers(values) for values in lists)
        image = name.decode()
    except (*MISFIT, ValueError):
        raise BadRecord(f"{shown(line)} is not picture:[y, ...]:[x, ...]") from None
    if len(x) != len(y):
        raise BadRecord(f"{len(y)} y and {len(x)} x")
    points = [0.0] * (2 * len(x))
    points[0::2], points[1::2] = x, y
    # A point with a mark in one axis only has no place either.
    seen = [1.0 if a >= 0 and b >= 0 else 0.0 for a, b in zip(x, y, strict=True)]
    return Pose(points, seen, image=image)


YOLO_LABELS = Form("YOLO labels", lambda document: False, _line_entries(_label))
POSE_TRANSFER = Form("Pose-transfer CSV", lambda document: False, _line_entries(_transfer_row))
