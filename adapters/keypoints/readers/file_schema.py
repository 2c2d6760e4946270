"""Finds the keypoint schema of a file, and maps its columns to those of another schema.

The file's own description comes first (MMPose's ``meta_info``, the metadata of Parquet and .npz, the keypoint names of
COCO's categories), then the number of keypoints. A description that lists the names of a known schema is that schema,
whatever its own name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import msgspec
import numpy as np

from adapters.keypoints.readers.keypoint_names import is_known, known_names, listed
from adapters.keypoints.readers.source_files import BrokenFile
from engine.body.schemas import (
    BODY_25,
    COCO_17,
    OPENPOSE_18,
    SCHEMAS,
    KeypointSchema,
    find_schema,
    schema_for_count,
    schema_from_mmpose,
)

METADATA_KEY = "samebody.keypoint_schema"
"""Key of the schema in Parquet's key-value metadata."""


class _StoredSchema(msgspec.Struct):
    name: str
    keypoint_names: tuple[str, ...]
    sigmas: tuple[float, ...] | None = None
    swap: tuple[int, ...] | None = None
    edges: tuple[tuple[int, int], ...] = ()


def schema_to_text(schema: KeypointSchema) -> str:
    """JSON with all fields of the schema, for the metadata of files."""
    return msgspec.json.encode(asdict(schema)).decode()


def schema_from_text(text: str | bytes, place: str) -> KeypointSchema:
    """The schema in the metadata of a file: JSON with at least ``name`` and ``keypoint_names``, or a known name.

    Raises:
        BrokenFile: the text is neither; the message begins with ``place``.
    """
    try:
        content = text.encode() if isinstance(text, str) else text
        if not content.lstrip().startswith(b"{"):
            return find_schema(content.decode())
        stored = msgspec.json.decode(content, type=_StoredSchema)
        if stored.sigmas is None or stored.swap is None:
            return schema_from_names(stored.name, stored.keypoint_names)
        return _recognised(KeypointSchema(stored.name, stored.keypoint_names, stored.sigmas, stored.swap, stored.edges))
    except (ValueError, RecursionError) as error:
        raise BrokenFile(f"{place}: bad keypoint schema: {error}") from error


def schema_from_meta_info(meta_info: Any, place: str) -> KeypointSchema:
    """The schema that MMPose's ``meta_info`` describes.

    Raises:
        BrokenFile: it does not describe a schema.
    """
    try:
        if not isinstance(meta_info, Mapping):
            raise ValueError("not an object")
        schema = schema_from_mmpose(meta_info)
        return _recognised(replace(schema, keypoint_names=known_names(schema.keypoint_names)))
    except (ValueError, AttributeError, OverflowError) as error:
        raise BrokenFile(f"{place}: bad meta_info: {error}") from error


def schema_from_names(name: str, keypoint_names: Sequence[str]) -> KeypointSchema:
    """A schema from names alone: sigmas of known names from the known schemas, left and right by their prefixes.

    Raises:
        ValueError: names are repeated.
    """
    known = {
        k: sigma for schema in SCHEMAS.values() for k, sigma in zip(schema.keypoint_names, schema.sigmas, strict=True)
    }
    names = known_names(keypoint_names)
    column = {keypoint: k for k, keypoint in enumerate(names)}

    def mirrored(keypoint: str) -> str:
        side, _, rest = keypoint.partition("_")
        return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, keypoint)

    return _recognised(
        KeypointSchema(
            name,
            names,
            # No body models an unknown name, so its sigma is never used; the largest keeps the schema valid.
            tuple(known.get(keypoint, max(known.values())) for keypoint in names),
            tuple(column.get(mirrored(keypoint), column[keypoint]) for keypoint in names),
        )
    )


def _recognised(schema: KeypointSchema) -> KeypointSchema:
    if not schema.keypoint_names:
        raise ValueError("it names no keypoints")
    same = (known for known in SCHEMAS.values() if known.keypoint_names == schema.keypoint_names)
    return next(same, schema)


COCO_18 = schema_from_names("coco17 and another", (*COCO_17.keypoint_names, "another"))
"""The last keypoint is a neck in some files and another point in others, so it is not used."""
_FEET = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel"))
_BODY_25B = schema_from_names("body25b", (*COCO_17.keypoint_names, "upper neck", "head", *_FEET))
"""OpenPose's experimental model (CMU-Perceptual-Computing-Lab/openpose_train, BODY_25B)."""
ORDERS: Mapping[int, tuple[KeypointSchema, KeypointSchema]] = {
    18: (OPENPOSE_18, COCO_18),
    25: (BODY_25, _BODY_25B),
}
"""Numbers of keypoints that files without names have in two orders."""


def schema_in_use(stated: KeypointSchema, wanted: KeypointSchema | None) -> KeypointSchema:
    """The schema of a file that names its keypoints, from the names if they are known.

    Args:
        wanted: the caller's schema, used if the names are unknown and the number is the same.

    Raises:
        ValueError: none of the names is known.
    """
    known = sum(is_known(name) for name in stated.keypoint_names)
    if wanted is not None:
        common = len(set(stated.keypoint_names) & set(wanted.keypoint_names))
        if 2 * common < len(wanted) == len(stated):
            return wanted
        return stated
    if not known:
        names = listed(stated.keypoint_names)
        fitting = [schema.name for schema in SCHEMAS.values() if len(schema) == len(stated)]
        remedy = f"; if their order is that of {fitting[0]}, give --schema {fitting[0]}" if fitting else ""
        wanted_names = listed(SCHEMAS["coco17"].keypoint_names)
        raise ValueError(f"unknown keypoint names: {names}; samebody knows {wanted_names}{remedy}")
    return stated


def kept_schema(schema: KeypointSchema) -> KeypointSchema:
    """A schema without the hundreds of points of hands and face that a file of its kind has and no body models."""
    if schema is COCO_18:
        return COCO_17
    if schema.name == "halpe136":
        return SCHEMAS["halpe26"]
    if schema.name == "goliath308":
        return replace(schema.subset([*SCHEMAS["wholebody133"].keypoint_names, "neck"]), name="goliath64")
    return schema


def schema_of_counts(
    counts: Iterable[int], assumed: KeypointSchema | None, by_count: Mapping[int, KeypointSchema] | None = None
) -> KeypointSchema | None:
    """The schema of a file that names none, from the numbers of keypoints of its records.

    The first number that fits decides, so that one broken record does not condemn the file.

    Args:
        assumed: the schema of the other files; it is taken if the number fits.
        by_count: schemas that the form of the file gives for some numbers.

    Returns:
        None if there is no record.

    Raises:
        ValueError: no number fits; the message lists the known schemas.
    """
    misfit = None
    for count in counts:
        if assumed is not None and count == len(assumed):
            return assumed
        if by_count and count in by_count:
            return by_count[count]
        try:
            return schema_for_count(count)
        except ValueError as error:
            misfit = misfit or error
    if misfit:
        raise misfit
    return None


def columns_between(source: KeypointSchema, target: KeypointSchema, explicit: bool) -> np.ndarray | None:
    """The column of ``source`` for each keypoint of ``target``, -1 if it has none; None if both schemas are the same.

    Args:
        explicit: the caller asked for ``target`` and thus for the mapping.

    Raises:
        ValueError: the schemas differ and the caller gave none, or they have no keypoint in common.
    """
    if source.keypoint_names == target.keypoint_names:
        return None
    columns = np.array(source.columns_of(target.keypoint_names))
    names = f"{source.name} ({len(source)} keypoints) and {target.name} ({len(target)})"
    if not explicit and kept_schema(source).keypoint_names != target.keypoint_names:
        raise ValueError(f"different keypoint schemas, {names}; give the one you want, or read them apart")
    if not (columns >= 0).any():
        found, wanted = listed(source.keypoint_names), listed(target.keypoint_names)
        raise ValueError(f"{names} have no keypoint in common: it has {found}; wanted {wanted}")
    return columns
