"""From a table of keypoints to a table of groups: the group of every person in every picture, and its certainty."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from adapters.jobs.clustering import Clustering, cluster_pictures
from adapters.jobs.prepared import COMPUTING, prepare
from adapters.keypoints.table import KeypointTable
from engine.body.model import BodyModel
from engine.evidence.calibration import Calibration, calibrated_pictures
from engine.evidence.calibration_file import default_calibration
from engine.evidence.stages import LOW_INFORMATION_BITS
from engine.scores import LABELS, Status

COLUMNS = pa.schema(
    [
        ("image", pa.string()),
        ("instance", pa.int32()),
        ("status", pa.string()),
        ("cluster", pa.int32()),
        ("cluster_size", pa.int32()),
        ("log_bayes_factor", pa.float32()),
        ("margin", pa.float32()),
        ("probability", pa.float32()),
        ("detail", pa.string()),
    ]
)


class ClusteredTable(NamedTuple):
    """Groups of a table's pictures."""

    rows: pa.Table
    """Rows in the order of the table; null in rows that could not be fitted."""
    found: Clustering
    sizes: np.ndarray
    """The count of pictures in each group."""


def cluster_table(
    table: KeypointTable, body: BodyModel, calibration: Calibration | None = None, least: float = 0.0
) -> ClusteredTable:
    """Group everybody in a table by body.

    Args:
        calibration: the detector's calibration; the shipped one by default.
        least: see ``cluster_pictures``.

    Raises:
        ValueError: no picture can be fitted, or there are too many.
    """
    trusted = default_calibration() if calibration is None else calibration
    trusted.check_body(body.fingerprint)
    prepared = prepare(body, table.schema)
    with COMPUTING:
        pictures = prepared.evidence_stage(trusted)(*prepared.seen(table))
    evidence = calibrated_pictures(pictures.evidence, trusted)
    usable = np.flatnonzero(pictures.known & (table.status == Status.OK))
    found = cluster_pictures(type(evidence)(*(np.asarray(part)[usable] for part in evidence)), least)

    def spread(values: np.ndarray) -> pa.Array:
        # None, not NaN or -1: a picture that could not be fitted has no cluster.
        column = [None] * len(table)
        for row, value in zip(usable, values.tolist(), strict=True):
            column[row] = value
        return pa.array(column)

    sizes = np.bincount(found.group)
    status = np.where(table.status == Status.OK, pictures.status, table.status)
    bits = 0.5 * np.linalg.slogdet(np.asarray(evidence.precision, float) + np.eye(body.beta_count))[1] / np.log(2)
    status = np.where((status == Status.OK) & (bits < LOW_INFORMATION_BITS), Status.LOW_INFORMATION, status)
    numbers = (found.group, sizes[found.group], found.log_bayes_factor, found.margin, found.probability)
    columns = [
        table.image,
        pa.array(table.instance),
        pa.array([LABELS[code] for code in status]),
        *(spread(values).cast(COLUMNS.field(3 + i).type) for i, values in enumerate(numbers)),
        table.detail,
    ]
    return ClusteredTable(pa.Table.from_arrays(columns, schema=COLUMNS), found, sizes)
