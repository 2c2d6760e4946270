"""Inputs of host applications in several forms: keypoints, bodies, β.

The keypoints of one picture have one of these forms:

    {"keypoints": (K, 2), "confidence": (K,)}          one person; MMPose's name ``keypoint_scores`` is understood too,
                                                       and ``outline``, ``clothes`` (``adapters.host.outlines``)
    (K, 3)                                             one person: x, y, confidence
    [person, person, ...]                              everybody in the picture, like MMPose's list of instances
    {"predictions": [[person, ...]]}                   result of MMPoseInferencer for one picture
    an object with ``pred_instances``                  result of MMPose's inference_topdown, or a list of them
    None, []                                           nobody was found
    an exception                                       the detector failed on this picture; others are unaffected

Numbers are lists, NumPy arrays or torch tensors. Coordinates are pixels, x right and y down.
``adapters.keypoints.table.clean_keypoints`` treats confidences out of range and values that are not numbers.
"""

import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from adapters.bodies.smplx_export import export_live_model
from adapters.host.outlines import outline_columns
from adapters.keypoints.plausibility import judged
from adapters.keypoints.table import KeypointTable, clean_keypoints
from engine.body.model import BodyModel
from engine.body.schemas import KeypointSchema, find_schema, schema_for_count
from engine.scores import Mode, Status
from engine.shape import Shape

BETA_COUNT = 10
"""Number of SMPL's shape components that a host stores."""

_SMPLX_BUFFERS = ("v_template", "shapedirs", "posedirs", "J_regressor", "lbs_weights")
_exported: "weakref.WeakKeyDictionary[Any, tuple[tuple[Any, ...], BodyModel]]" = weakref.WeakKeyDictionary()


def as_body(smpl_model: Any) -> BodyModel:
    """A samebody body, or a live smplx model, as a body with ten shape components.

    A live model is converted once, and again only after one of its buffers was replaced or written to.

    Raises:
        ValueError: another type, fewer shape components, or another model than SMPL.
    """
    if isinstance(smpl_model, BodyModel):
        if not smpl_model.fingerprint:
            raise ValueError(
                f"body {smpl_model.name} has no fingerprint; make it with engine.body.body_file.build_body"
            )
        body = smpl_model
    elif hasattr(smpl_model, "lbs_weights"):
        state = tuple(
            (id(buffer), buffer._version)
            for name in _SMPLX_BUFFERS
            if (buffer := getattr(smpl_model, name)) is not None
        )
        known = _exported.get(smpl_model)
        if known is None or known[0] != state:
            known = (state, export_live_model(smpl_model))
            _exported[smpl_model] = known
        body = known[1]
    else:
        raise ValueError(
            f"smpl_model is {type(smpl_model).__name__}; give a body of samebody's (ModelManager.load_smpl_model, "
            "engine.body.body_file.load_body) or a live smplx.SMPL"
        )
    return body if body.beta_count == BETA_COUNT else body.with_betas(BETA_COUNT)


def as_betas(values: Any) -> Float32[np.ndarray, " betas"]:
    """Ten shape components from an array, a list or a torch tensor; smplx's shape (1, 10) is accepted.

    Raises:
        ValueError: another number of components, or a component is not finite.
    """
    try:
        betas = np.asarray(_plain(values), np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"betas must be {BETA_COUNT} numbers ({error})") from error
    if betas.shape not in ((BETA_COUNT,), (1, BETA_COUNT)):
        raise ValueError(f"betas have shape {betas.shape}, expected ({BETA_COUNT},)")
    if not np.isfinite(betas).all():
        raise ValueError("betas hold NaN or infinity")
    return betas.reshape(BETA_COUNT)


def as_shape(reference: Any, body: BodyModel, mode: Mode) -> Shape:
    """The shape that a host compares with: a ``Shape``, or β alone, which has no evidence and so no probability.

    Args:
        mode: pose mode that β was fitted in; a shape has its own.

    Raises:
        ValueError: another type.
    """
    if isinstance(reference, Shape):
        return reference
    return Shape(as_betas(reference), body.name, body.fingerprint, schema="", mode=mode)


def keypoint_table(
    images: Sequence[str], pictures: Sequence[Any], schema: KeypointSchema | str | None = None
) -> KeypointTable:
    """A table of everybody in all pictures, in order. A person who cannot be read is a row with the reason.

    Args:
        images: names of the pictures.
        pictures: keypoints of each picture, in any of the forms above.
        schema: by default the one that has as many keypoints as the first person.

    Raises:
        ValueError: numbers of names and pictures differ, or no schema fits.
    """
    if len(images) != len(pictures):
        raise ValueError(f"{len(images)} pictures are named, keypoints are given for {len(pictures)}")
    names: list[str] = []
    instances: list[int] = []
    people: list[Any] = []
    rows: list[int] = []
    trouble: dict[int, tuple[Status, str | None]] = {}
    for image, picture in zip(images, pictures, strict=True):
        found = list(_people(picture))
        rows += range(len(names), len(names) + len(found))
        people += found
        if not found:
            trouble[len(names)] = (Status.NO_DETECTION, None)
        names += [image] * max(len(found), 1)
        instances += range(len(found)) if found else (-1,)
    outlined = outline_columns(people, rows, len(names))
    points, scores = _at_once(people) or _one_by_one(people, rows, trouble)
    rows = [row for row in rows if row not in trouble] if trouble else rows
    schema = _find_schema(schema, scores)
    count, width = len(names), len(schema)
    fits = [len(own) == width for own in scores]
    for row, own, fit in zip(rows, scores, fits, strict=True):
        if not fit:
            trouble[row] = (Status.BAD_INPUT, f"{len(own)} keypoints, expected {width} ({schema.name})")
    keep = [i for i, fit in enumerate(fits) if fit]
    good = np.array([rows[i] for i in keep], int)
    keypoints, confidence = np.zeros((count, width, 2), np.float32), np.zeros((count, width), np.float32)
    if len(good):
        whole = len(keep) == len(scores)
        keypoints[good], confidence[good] = clean_keypoints(
            np.asarray(points if whole else [points[i] for i in keep]),
            np.asarray(scores if whole else [scores[i] for i in keep]),
        )
    status = np.full(count, Status.OK, np.int8)
    detail: list[str | None] = [outlined.notes.get(row) for row in range(count)]
    for row, (own_status, reason) in trouble.items():
        status[row] = own_status
        detail[row] = reason
    table = KeypointTable(
        schema=schema,
        image=pa.array(names, pa.string()),
        instance=np.array(instances, np.int32).reshape(count),
        keypoints=keypoints,
        confidence=confidence,
        status=status,
        detail=pa.array(detail, pa.string()),
        outline_px=outlined.outline_px,
        clothes_m=outlined.clothes_m,
    )
    return judged(table)


def array_table(
    images: Sequence[str], keypoints: Any, confidence: Any, schema: KeypointSchema | str | None = None
) -> KeypointTable:
    """A table of one person per picture from two arrays, keypoints (N, K, 2) and confidences (N, K): the fast way.

    Raises:
        ValueError: the arrays do not fit together or to the schema.
    """
    points, scores = np.asarray(_plain(keypoints)), np.asarray(_plain(confidence))
    if points.ndim != 3 or points.shape != (len(images), *scores.shape[1:], 2) or scores.shape != points.shape[:2]:
        raise ValueError(
            f"keypoints have shape {points.shape} and confidence {scores.shape}; expected ({len(images)}, K, 2) and "
            f"({len(images)}, K) for {len(images)} pictures"
        )
    found = _find_schema(schema, list(scores[:1]))
    if scores.shape[1] != len(found):
        raise ValueError(f"{scores.shape[1]} keypoints, expected {len(found)} for schema {found.name}")
    points, scores = clean_keypoints(
        np.asarray(points, np.result_type(points, np.float32)), np.asarray(scores, np.result_type(scores, np.float32))
    )
    table = KeypointTable(
        schema=found,
        image=pa.array(images, pa.string()),
        instance=np.zeros(len(images), np.int32),
        keypoints=points,
        confidence=scores,
        status=np.full(len(images), Status.OK, np.int8),
        detail=pa.nulls(len(images), pa.string()),
    )
    return judged(table)


def readable(table: KeypointTable) -> KeypointTable:
    """Check that every row could be read, for callers that do not report rows. Returns the table.

    Raises:
        ValueError: a row could not be read; the message names it and the reason.
    """
    bad = np.flatnonzero((table.status == Status.BAD_INPUT) | (table.status == Status.IMPLAUSIBLE))
    if len(bad):
        row = int(bad[0])
        raise ValueError(f"{table.image[row].as_py()}: {table.detail[row].as_py()}")
    return table


def reference_table(
    images: Sequence[str], pictures: Sequence[Any], schema: KeypointSchema | str | None = None
) -> KeypointTable:
    """``keypoint_table`` of pictures with at most one person.

    Raises:
        ValueError: a picture cannot be read, or shows several people; the message names it.
    """
    table = readable(keypoint_table(images, pictures, schema))
    crowded = np.flatnonzero(table.instance > 0)
    if len(crowded):
        raise ValueError(f"{table.image[int(crowded[0])].as_py()} shows several people; give the one that is meant")
    return table


def _find_schema(schema: KeypointSchema | str | None, scores: Sequence[np.ndarray] | np.ndarray) -> KeypointSchema:
    if isinstance(schema, KeypointSchema):
        return schema
    if schema is not None:
        return find_schema(schema)
    return schema_for_count(len(scores[0])) if len(scores) else find_schema("coco17")


def _at_once(people: Sequence[Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Coordinates and scores of all people by one conversion, four times faster than one by one; None if their forms
    differ or are not plain."""
    if not people or not all(isinstance(person, dict) for person in people):
        return None
    key = "confidence" if "confidence" in people[0] else "keypoint_scores"
    parts = [[person.get(name) for person in people] for name in ("keypoints", key)]
    if not all(type(part) in (list, np.ndarray) for column in parts for part in column):
        return None
    try:
        points, scores = (np.array(column, np.float64) for column in parts)
    except (TypeError, ValueError, OverflowError):
        return None
    return (points, scores) if points.ndim == 3 and points.shape == (*scores.shape, 2) else None


def _one_by_one(
    people: Sequence[Any], rows: Sequence[int], trouble: dict[int, tuple[Status, str | None]]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Coordinates and scores of people who can be read; rows of the others go to ``trouble``."""
    points, scores = [], []
    for row, person in zip(rows, people, strict=True):
        try:
            own_points, own_scores = _person(person)
        except (TypeError, ValueError, OverflowError) as error:
            trouble[row] = (Status.BAD_INPUT, str(error))
        else:
            points.append(own_points)
            scores.append(own_scores)
    return points, scores


def _people(picture: Any) -> Iterator[Any]:
    if picture is None:
        return
    if isinstance(picture, Mapping):
        if "predictions" in picture and "keypoints" not in picture:
            for part in picture["predictions"]:
                yield from _people(part)
        else:
            yield picture
    elif hasattr(picture, "pred_instances"):
        found = picture.pred_instances
        for points, scores in zip(found.keypoints, found.keypoint_scores, strict=True):
            yield {"keypoints": points, "keypoint_scores": scores}
    elif isinstance(picture, (list, tuple)) and all(
        isinstance(p, Mapping) or hasattr(p, "pred_instances") for p in picture
    ):
        for part in picture:
            yield from _people(part)
    else:
        yield picture


def _person(person: Any) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates and scores of one person, of any number of keypoints."""
    if isinstance(person, Exception):
        raise ValueError(f"the detector failed: {type(person).__name__}: {person}")
    if isinstance(person, Mapping):
        if "keypoints" not in person:
            raise ValueError("it has no keypoints")
        points = np.asarray(_plain(person["keypoints"]), np.float64)
        given = person.get("confidence")
        given = person.get("keypoint_scores") if given is None else given
        if given is None and points.ndim == 2 and points.shape[1] == 3:
            return points[:, :2], points[:, 2]
        if given is None:
            raise ValueError("it has no confidence (or keypoint_scores)")
        scores = np.asarray(_plain(given), np.float64)
    else:
        both = np.asarray(_plain(person), np.float64)
        if both.ndim != 2 or both.shape[1] != 3:
            raise ValueError(f"an array of shape {both.shape}; expected (K, 3): x, y, confidence")
        points, scores = both[:, :2], both[:, 2]
    if points.ndim != 2 or points.shape[1] != 2 or scores.shape != points.shape[:1]:
        raise ValueError(f"keypoints have shape {points.shape} and confidence {scores.shape}; expected (K, 2) and (K,)")
    return points, scores


def _plain(values: Any) -> Any:
    """Convert torch tensors on any device to NumPy; return other values unchanged."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values
