"""Groups of pictures in the order in which to look at them, by certainty; pictures of a group likewise.

A picture belongs to its group with a probability (``adapters.jobs.clustering``). The sum of these probabilities is the
expected number of pictures that show the body of the group, and their mean is the certainty of the group. Groups are
ordered by certainty. Evidence for one body is not used for the order: it adds up over pictures, so it is large for a
large group whose pictures hardly belong to it.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Int, UInt8

from engine.scores import Status

SURE = 0.9
"""A picture belongs to its group if its probability is at least this."""


class Membership(IntEnum):
    """Relation of a picture to its group."""

    BELONGS = 0
    DOUBTFUL = 1
    ALONE = 2
    TOO_LITTLE = 3
    DETECTOR_UNSURE = 4


class Group(NamedTuple):
    """Two pictures or more that one body explains better than several."""

    number: int
    """Number in the column ``cluster``."""
    rows: Int[np.ndarray, " pictures"]
    """Rows of the table, in order of decreasing probability."""
    belonging: float
    """Expected number of pictures that show the body of the group."""

    @property
    def certainty(self) -> float:
        """The mean probability that a picture of the group belongs to it."""
        return self.belonging / len(self.rows)


def groups_by_certainty(table: pa.Table) -> list[Group]:
    """Groups of two pictures or more, the surest first.

    Args:
        table: a table made by ``adapters.jobs.cluster_table``.
    """
    cluster, probability = _columns(table)
    groups = []
    for number in np.unique(cluster[cluster >= 0]):
        rows = np.flatnonzero(cluster == number)
        if len(rows) > 1:
            surest = rows[np.argsort(-probability[rows], kind="stable")]
            groups.append(Group(int(number), surest, float(probability[rows].sum())))
    return sorted(groups, key=lambda one: (-one.certainty, -len(one.rows), one.number))


def memberships(table: pa.Table) -> UInt8[np.ndarray, " rows"]:
    """Relation of each row to its group; ``table`` as for ``groups_by_certainty``."""
    cluster, probability = _columns(table)
    status = np.array(table["status"].to_pylist(), dtype=object)
    found = np.full(len(table), Membership.DOUBTFUL, np.uint8)
    found[probability >= SURE] = Membership.BELONGS
    found[np.asarray(table["cluster_size"].fill_null(0)) == 1] = Membership.ALONE
    found[status == Status.LOW_INFORMATION.label] = Membership.TOO_LITTLE
    found[cluster < 0] = Membership.DETECTOR_UNSURE
    return found


def _columns(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Cluster and probability of each row; -1 and 0 for rows without a cluster."""
    return np.asarray(table["cluster"].fill_null(-1)), np.asarray(table["probability"].fill_null(0.0))
