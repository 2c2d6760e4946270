"""The forms of JSON that are read, in the order in which they are tried. docs/keypoint-files.md describes them all."""

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from adapters.keypoints.readers.forms.coco import COCO_DATASET, COCO_RESULTS
from adapters.keypoints.readers.forms.form import Document, Form, FormFile
from adapters.keypoints.readers.forms.landmarks import MEDIAPIPE
from adapters.keypoints.readers.forms.mmpose import MMPOSE, MMPOSE_OLD, MMPOSE_RESULTS, instance_info
from adapters.keypoints.readers.forms.openpose import ALPHAPOSE_OPEN, OPENPOSE, POSE_KEYPOINT
from adapters.keypoints.readers.forms.single_records import OPENPIFPAF, ULTRALYTICS
from adapters.keypoints.readers.forms.tensors import EASY_VITPOSE, TENSORS
from adapters.keypoints.readers.json_text import MISFIT, decode_text, read_text, shown, untyped
from adapters.keypoints.readers.source_files import BrokenFile, SourceFile

FORMS: tuple[Form, ...] = (
    COCO_DATASET,
    COCO_RESULTS,
    MMPOSE,
    OPENPOSE,
    POSE_KEYPOINT,
    ULTRALYTICS,
    EASY_VITPOSE,
    OPENPIFPAF,
    TENSORS,
    MMPOSE_RESULTS,
    MMPOSE_OLD,
    MEDIAPIPE,
    ALPHAPOSE_OPEN,
)

_PROBED_RECORDS = 1000
PAGE = "docs/keypoint-files.md"
"""The page that lists the forms and the conversions of other programs' files."""

_record = msgspec.json.Decoder(msgspec.Raw)
_records = msgspec.json.Decoder(list[msgspec.Raw])
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def open_json(source: SourceFile) -> FormFile:
    """Recognise a JSON file and cut it into records.

    Raises:
        BrokenFile: it cannot be read, is not JSON, or holds no keypoints in a form that samebody knows.
    """
    document = _document(source)
    recognised = next(_recognised(document), None)
    if recognised is None:
        raise BrokenFile(f"{source.path}: holds no keypoints in a form that samebody reads: {_seen(document)}; {PAGE}")
    document, form = recognised
    if form is MMPOSE and document.records is None:
        instance_info(document)
    return FormFile(source, form, document, form.schema(document))


def _recognised(document: Document) -> Iterator[tuple[Document, Form]]:
    """The document headed by the first record that a form recognises, so that a broken first record does no harm."""
    for raw in (document.records or [None])[:_PROBED_RECORDS]:
        try:
            candidate = replace(document, head=None if raw is None else untyped(raw))
        except MISFIT:
            continue
        yield from ((candidate, form) for form in FORMS if form.recognises(candidate))
    if document.records is not None and all(bytes(raw).strip() == b"[]" for raw in document.records):
        yield document, MMPOSE_RESULTS


def _document(source: SourceFile) -> Document:
    text = read_text(source)
    start = text[:200].lstrip()[:1]
    if start == b"[":
        return Document(source, decode_text(text, _records, source))
    if start != b"{":
        raise BrokenFile(f"{source.path}: no JSON list or object; it begins with {shown(text[:20])}")
    try:
        return Document(source, members=decode_text(text, _members, source))
    except BrokenFile:
        lines = _lines(text)
        if lines is None:
            raise
        return Document(source, lines)


def _lines(text: bytes) -> list[msgspec.Raw] | None:
    """The objects of a file that has one on each line; None for other files."""
    try:
        return _record.decode_lines(text) if text.count(b"\n{") else None
    except MISFIT:
        return None


def _seen(document: Document) -> str:
    if document.records is None:
        keys = sorted(document.members)
        return f"an object with the keys {', '.join(keys[:10])}" if keys else "an empty object"
    try:
        first = untyped(document.records[0])
    except MISFIT:
        first = bytes(document.records[0])
    if isinstance(first, dict):
        return f"a list of {len(document.records)} objects with the keys {', '.join(sorted(first)[:10])}"
    return f"a list of {len(document.records)}, the first {shown(first)}"
