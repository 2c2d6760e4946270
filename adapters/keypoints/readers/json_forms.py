"""Which of the JSON forms that hold keypoints a file has."""

from collections.abc import Sequence

import msgspec

from adapters.keypoints.readers.coco_json import CocoFile, dataset_file
from adapters.keypoints.readers.file_schema import schema_from_meta_info
from adapters.keypoints.readers.json_text import MISFIT, decode_text, read_text, shown, untyped
from adapters.keypoints.readers.mmpose_json import MMPosePicture, MMPoseVideo
from adapters.keypoints.readers.source_files import BrokenFile, SourceFile
from engine.body.schemas import KeypointSchema

JsonFile = MMPosePicture | MMPoseVideo | CocoFile
"""A file that was recognised and cut into records. Each form has ``schema``, what the file says about its keypoints;
``keypoint_counts()``, the numbers of keypoints of its readable records; and ``rows(width)``, all records, where those
with another number of keypoints than ``width`` are bad input."""

_FORMS = "MMPose predictions, COCO results or a COCO keypoint dataset"
_ABSENT = msgspec.Raw()


class _Document(msgspec.Struct):
    instance_info: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    meta_info: msgspec.Raw = _ABSENT
    annotations: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    images: list[msgspec.Raw] = []
    categories: msgspec.Raw = _ABSENT


class _Keys(msgspec.Struct):
    """The keys that tell the records of one form from those of another."""

    frame_id: msgspec.Raw = _ABSENT
    instances: msgspec.Raw = _ABSENT
    image_id: msgspec.Raw = _ABSENT
    keypoints: msgspec.Raw = _ABSENT


_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_document_decoder = msgspec.json.Decoder(_Document)
_decode_keys = msgspec.json.Decoder(_Keys).decode


def open_json(source: SourceFile) -> JsonFile:
    """Recognise a JSON file and cut it into records.

    Raises:
        BrokenFile: it cannot be read, is not JSON, or holds no keypoints in a form that samebody knows.
    """
    text = read_text(source)
    start = text[:200].lstrip()[:1]
    if start == b"[":
        return _list_file(source, decode_text(text, _list_decoder, source))
    if start != b"{":
        raise BrokenFile(f"{source.path}: no JSON list or object; it begins with {shown(text[:20])}")
    document = decode_text(text, _document_decoder, source)
    if document.instance_info is not msgspec.UNSET:
        schema = None
        if bytes(document.meta_info):
            try:
                schema = schema_from_meta_info(untyped(document.meta_info), source.path)
            except MISFIT as error:
                raise BrokenFile(f"{source.path}: meta_info: {error}") from error
        records = document.instance_info
        return _mmpose_file(source, records, _first_keys(records), "instance_info", schema)
    if document.annotations is not msgspec.UNSET:
        categories = document.categories if bytes(document.categories) else None
        return dataset_file(source, document.annotations, document.images, categories)
    raise BrokenFile(f"{source.path}: no {_FORMS}: it has neither instance_info nor annotations")


def _list_file(source: SourceFile, records: list[msgspec.Raw]) -> JsonFile:
    keys = _first_keys(records)
    if keys & {"image_id"}:
        return CocoFile(source, records, "record")
    if records and not keys:
        raise BrokenFile(f"{source.path}: no {_FORMS}: none of its {len(records)} records has keypoints or instances")
    return _mmpose_file(source, records, keys, "record", None)


def _mmpose_file(
    source: SourceFile, records: list[msgspec.Raw], keys: set[str], place: str, schema: KeypointSchema | None
) -> JsonFile:
    # Only the demo scripts write a schema, and they alone put results_ before the name.
    name = source.name if schema is None else source.demo_name
    if keys & {"frame_id", "instances"}:
        return MMPoseVideo(source, name, schema, records, place)
    return MMPosePicture(source, name, schema, records, place)


def _first_keys(records: Sequence[msgspec.Raw]) -> set[str]:
    """The telling keys of the first record that has any."""
    for record in records:
        try:
            keys = _decode_keys(record)
        except MISFIT:
            continue
        if found := {name for name in _Keys.__struct_fields__ if bytes(getattr(keys, name))}:
            return found
    return set()
