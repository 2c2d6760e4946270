"""Detected keypoints as a table with one row per person in a picture, and the conversion of detector output to rows.

A row that could not be read is still a row, with a status and the reason, so that nothing is lost silently.

Rules for confidences, defined only here
- MMPose's keypoint scores are maxima of heatmaps or of SimCC axes, not probabilities: they can exceed 1 (a sharp peak)
  or be negative (no peak at all). They are clipped to 0..1: a peak above 1 has full confidence, one below 0 was not
  seen. Probabilities are not changed.
- A score that is NaN, infinite or null means not seen. So does a coordinate that is NaN, infinite, null or more than a
  million pixels away, where float32 has no digits left for a person: its confidence becomes 0, its coordinates 0.
- A point at exactly (0, 0), or with two negative coordinates, was not seen, whatever its score. Programs mark missing
  points that way (Ultralytics and OpenPose with zeros, pose-transfer tables with -1).
- COCO's ground truth has visibility flags instead: 0 not labelled → 0; 1 labelled but hidden → 0.5, since the place is
  an annotator's guess; 2 visible → 1.
Files get stricter rules (``file_rules``): a least score, the border of the picture, coordinates in pixels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float32, Int, Int8, Int32

from engine.body.schemas import KeypointSchema
from engine.picture.clothes import Clothes, thickness_m
from engine.picture.outline_places import PLACES, SIDES
from engine.scores import Status

FARTHEST_PX = 1e6
"""Largest coordinate, wider than any picture; a larger one is an error of the detector or of the file."""

# Values that float32 rounds to zero are zero, in double precision too.
_ZERO = float(np.finfo(np.float32).tiny)

HIDDEN_CONFIDENCE = 0.5
"""Confidence of a keypoint that an annotator labelled without seeing it."""


_OPTIONAL: dict[str, tuple[int, ...]] = {"box": (4,), "outline_px": (len(PLACES), SIDES), "clothes_m": ()}
"""Columns that a table may lack, with the shape of a row. NaN stands for a missing value in a row."""


@dataclass(frozen=True)
class KeypointTable:
    """People in pictures. Rows of one picture have the same ``image`` and different ``instance``."""

    schema: KeypointSchema
    image: pa.StringArray
    """The picture's name."""
    instance: Int32[np.ndarray, " images"]
    """Number of the detection in that picture, from 0; -1 if a row stands for a whole picture or file."""
    keypoints: Float32[np.ndarray, "images keypoints 2"]
    """Pixels, always finite. May be a read-only view of the file's own memory."""
    confidence: Float32[np.ndarray, "images keypoints"]
    """0 (not seen) to 1."""
    status: Int8[np.ndarray, " images"]
    """``Status.OK``, ``NO_DETECTION`` (nobody in this picture), ``BAD_INPUT`` or ``IMPLAUSIBLE``; only the first holds
    keypoints."""
    detail: pa.StringArray
    """The problem, with its file and place; null for good rows, unless their mask could not be used."""
    box: Float32[np.ndarray, "images 4"] | None = None
    """x1, y1, x2, y2 in pixels, from the program that found the person; NaN if it gave none."""
    outline_px: Float32[np.ndarray, "images places 2"] | None = None
    """Widths at ``engine.picture.outline.PLACES``; NaN where they were not seen; None if there are no masks."""
    clothes_m: Float32[np.ndarray, " images"] | None = None
    """Thickness of everybody's clothes (``engine.picture.clothes``); NaN where it is not known."""

    def __post_init__(self) -> None:
        rows, width = len(self.image), len(self.schema)
        shapes = {
            "instance": ((rows,), np.int32),
            "keypoints": ((rows, width, 2), np.float32),
            "confidence": ((rows, width), np.float32),
            "status": ((rows,), np.int8),
            **{name: ((rows, *shape), np.float32) for name, shape in _OPTIONAL.items()},
        }
        for name, (shape, dtype) in shapes.items():
            array: np.ndarray | None = getattr(self, name)
            if array is None and name in _OPTIONAL:
                continue
            assert array is not None
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"{name} is {array.dtype}{array.shape}, expected {np.dtype(dtype)}{shape}")
        if len(self.detail) != rows:
            raise ValueError(f"detail has {len(self.detail)} rows, expected {rows}")

    def __len__(self) -> int:
        return len(self.image)

    def __repr__(self) -> str:
        seen = int(np.sum(self.status == Status.OK))
        outlines = f", {self.outlined:,} outlines" if self.outlined else ""
        return f"KeypointTable of {len(self):,} rows, {seen:,} with keypoints ({self.schema.name}){outlines}"

    @property
    def outlined(self) -> int:
        """The number of people with an outline."""
        return 0 if self.outline_px is None else int(np.isfinite(self.outline_px).any(axis=(1, 2)).sum())


def with_clothes(table: KeypointTable, clothes: Clothes) -> KeypointTable:
    """The table of people who wear this kind of clothes; the same table if it is unknown.

    Raises:
        ValueError: there is no such kind.
    """
    thickness = thickness_m(clothes)
    if clothes == "unknown":
        return table
    return replace(table, clothes_m=np.full(len(table), thickness, np.float32))


def concat_tables(schema: KeypointSchema, tables: Sequence[KeypointTable]) -> KeypointTable:
    """All rows in order; no tables give a table without rows."""
    width = len(schema)
    if len(tables) == 1:
        return tables[0]
    return KeypointTable(
        schema=schema,
        image=pa.concat_arrays([pa.array([], pa.string()), *(table.image for table in tables)]),
        instance=np.concatenate([np.zeros(0, np.int32), *(table.instance for table in tables)]),
        keypoints=np.concatenate([np.zeros((0, width, 2), np.float32), *(table.keypoints for table in tables)]),
        confidence=np.concatenate([np.zeros((0, width), np.float32), *(table.confidence for table in tables)]),
        status=np.concatenate([np.zeros(0, np.int8), *(table.status for table in tables)]),
        detail=pa.concat_arrays([pa.array([], pa.string()), *(table.detail for table in tables)]),
        **{name: _concat_optional(tables, name) for name in _OPTIONAL},
    )


def _concat_optional(tables: Sequence[KeypointTable], name: str) -> np.ndarray | None:
    parts = [getattr(table, name) for table in tables]
    if all(part is None for part in parts):
        return None
    return np.concatenate(
        [
            np.full((len(table), *_OPTIONAL[name]), np.nan, np.float32) if part is None else part
            for table, part in zip(tables, parts, strict=True)
        ]
    )


def slice_table(table: KeypointTable, start: int, stop: int) -> KeypointTable:
    """Some rows, without a copy."""
    return _some_rows(table, slice(start, stop), lambda texts: texts[start:stop])


def take_rows(table: KeypointTable, rows: Int[np.ndarray, " rows"]) -> KeypointTable:
    """The rows with these numbers, copied."""
    return _some_rows(table, rows, lambda texts: texts.take(pa.array(rows)))


def _some_rows(
    table: KeypointTable, rows: slice | Int[np.ndarray, " rows"], of_texts: Callable[[pa.StringArray], pa.StringArray]
) -> KeypointTable:
    optional = {name: getattr(table, name) for name in _OPTIONAL}
    return KeypointTable(
        schema=table.schema,
        image=of_texts(table.image),
        instance=table.instance[rows],
        keypoints=table.keypoints[rows],
        confidence=table.confidence[rows],
        status=table.status[rows],
        detail=of_texts(table.detail),
        **{name: None if part is None else part[rows] for name, part in optional.items()},
    )


def refuse_rows(table: KeypointTable, problems: Mapping[int, str], status: Status) -> KeypointTable:
    """The table with that status and reason for some rows, which lose keypoints and outlines."""
    if not problems:
        return table
    rows = list(problems)
    keypoints, confidence, statuses = table.keypoints.copy(), table.confidence.copy(), table.status.copy()
    keypoints[rows], confidence[rows], statuses[rows] = 0, 0, status
    outline_px = None if table.outline_px is None else table.outline_px.copy()
    if outline_px is not None:
        outline_px[rows] = np.nan
    details = table.detail.to_pylist()
    for row, problem in problems.items():
        details[row] = problem
    return replace(
        table,
        keypoints=keypoints,
        confidence=confidence,
        status=statuses,
        detail=pa.array(details, pa.string()),
        outline_px=outline_px,
    )


def even_tables(tables: Iterable[KeypointTable], rows: int, skip: int = 0) -> Iterator[KeypointTable]:
    """The same rows in tables of equal length, except the last one; the first ``skip`` rows are left out."""
    waiting: list[KeypointTable] = []
    count = 0
    for table in tables:
        start = min(skip, len(table))
        skip -= start
        while start < len(table):
            stop = min(start + rows - count, len(table))
            waiting.append(slice_table(table, start, stop))
            count += stop - start
            start = stop
            if count == rows:
                yield concat_tables(table.schema, waiting)
                waiting, count = [], 0
    if waiting:
        yield concat_tables(waiting[0].schema, waiting)


def clean_keypoints(
    keypoints: Float[np.ndarray, "images keypoints 2"], scores: Float[np.ndarray, "images keypoints"]
) -> tuple[Float32[np.ndarray, "images keypoints 2"], Float32[np.ndarray, "images keypoints"]]:
    """Coordinates and confidences by the rules of this module; float32 arrays that need no repair are not copied."""
    # Written so that NaN fails the comparison; both axes by hand, a reduction over two numbers is ten times slower.
    near = np.abs(keypoints) <= FARTHEST_PX
    usable = near[..., 0] & near[..., 1] & ~_is_mark(keypoints)
    if not usable.all():
        keypoints = np.where(usable[..., None], keypoints, 0)
    if not (usable.all() and ((scores >= 0) & (scores <= 1)).all()):
        # NaN has no order and would pass through a clip.
        scores = np.clip(np.where(usable & np.isfinite(scores), scores, 0), 0, 1)
    return keypoints.astype(np.float32, copy=False), scores.astype(np.float32, copy=False)


def _is_mark(keypoints: Float[np.ndarray, "images keypoints 2"]) -> Bool[np.ndarray, "images keypoints"]:
    """True for coordinates that mark a missing point."""
    x, y = keypoints[..., 0], keypoints[..., 1]
    return ((np.abs(x) < _ZERO) & (np.abs(y) < _ZERO)) | ((x < 0) & (y < 0))


def visibility_confidence(flags: Sequence[float]) -> list[float]:
    """Confidences for COCO's visibility flags 0, 1, 2."""
    return [1.0 if flag >= 2 else HIDDEN_CONFIDENCE if flag > 0 else 0.0 for flag in flags]


def instance_numbers(
    image: pa.Array, previous: tuple[str | None, int] = (None, -1)
) -> tuple[Int32[np.ndarray, " images"], tuple[str | None, int]]:
    """Numbers from 0 for the people of each picture; rows of one picture must be adjacent.

    Args:
        image: names of pictures.
        previous: name and number of the row before the first, if the table comes in pieces.

    Returns:
        The numbers, and ``previous`` for the next piece.
    """
    count = len(image)
    if count == 0:
        return np.zeros(0, np.int32), previous
    codes = image.dictionary_encode()
    indices = codes.indices.to_numpy()
    starts = np.concatenate([[True], indices[1:] != indices[:-1]])
    offset = np.arange(count) - np.maximum.accumulate(np.where(starts, np.arange(count), 0))
    first_run = np.cumsum(starts) == 1
    if image[0].as_py() == previous[0]:
        offset[first_run] += previous[1] + 1
    return offset.astype(np.int32), (image[count - 1].as_py(), int(offset[-1]))
