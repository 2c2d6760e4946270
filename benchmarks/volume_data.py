"""Keypoint files of any size, for measurements of volume."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Float32

from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import KeypointTable
from adapters.keypoints.writers import arrow_table, write_keypoints
from benchmarks.rest_pose import random_pictures
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.schemas import COCO_17
from engine.picture.outline_places import PLACES, SIDES
from engine.scores import Status

FIVE_PEOPLE = Path(__file__).parents[1] / "tests" / "data" / "five_people"
ROWS_PER_GROUP = 65536


def tables(count: int, real: bool, outlines: bool = False) -> Iterator[KeypointTable]:
    """Pictures with names of their own; the keypoints repeat after 65,536, or after the demo's 90 if they are real.

    Outlines are random and never repeat, so that files do not compress better than those of real people.
    """
    if real:
        demo = read_keypoints([FIVE_PEOPLE / "dataset.parquet"])
        keypoints, confidence = demo.keypoints, demo.confidence
    else:
        keypoints, confidence = random_pictures(reduce_body(load_embedded_body(), COCO_17), min(count, ROWS_PER_GROUP))
    for start in range(0, count, ROWS_PER_GROUP):
        rows = np.arange(start, min(start + ROWS_PER_GROUP, count))
        yield KeypointTable(
            schema=COCO_17,
            image=pa.array([f"picture_{row:08d}.jpg" for row in rows.tolist()]),
            instance=np.zeros(len(rows), np.int32),
            keypoints=keypoints[rows % len(keypoints)],
            confidence=confidence[rows % len(keypoints)],
            status=np.full(len(rows), Status.OK, np.int8),
            detail=pa.nulls(len(rows), pa.string()),
            outline_px=_random_outlines(start, keypoints[rows % len(keypoints)]) if outlines else None,
        )


def _random_outlines(
    seed: int, keypoints: Float[np.ndarray, "images keypoints 2"]
) -> Float32[np.ndarray, "images places 2"]:
    """Widths of 2 to 12 % of the keypoints' height, a tenth of them not seen."""
    generator = np.random.default_rng(seed)
    shares = generator.uniform(0.02, 0.12, (len(keypoints), len(PLACES), SIDES)).astype(np.float32)
    shares[generator.random(shares.shape, np.float32) < 0.1] = np.nan
    return shares * np.ptp(keypoints[..., 1], axis=1).astype(np.float32)[:, None, None]


def write_data(path: Path, count: int, real: bool = False, outlines: bool = False) -> Path:
    """A file of so many pictures; Parquet is written in pieces."""
    if path.suffix != ".parquet":
        (table,) = tables(count, real, outlines)
        write_keypoints(path, table)
        return path
    pieces = (arrow_table(table) for table in tables(count, real, outlines))
    first = next(pieces)
    repeating = ["row_status", "detail"]
    with pq.ParquetWriter(
        path,
        first.schema,
        use_dictionary=repeating,  # pyright: ignore[reportArgumentType] (its stubs know only bool)
    ) as writer:
        writer.write_table(first)
        for piece in pieces:
            writer.write_table(piece)
    return path
