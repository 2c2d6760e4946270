"""Swapped left and right labels of arms or legs, and how they are undone.

A swap of ALL labels of a picture does not matter. A symmetric body and its reflection in depth, seen from afar, give
the same picture; the reflected body has left and right swapped and stands in the mirrored pose, which is equally likely
under the prior. The fit then shows the person from the other side, at the same energy and with the same evidence about
the shape.

If the labels of the arms alone, or of the legs, are swapped, no body fits: limbs cross the trunk. Both swaps, and both
together, are tried if a fit is bad. The result is kept as a code, the sum of ``LEGS`` and ``ARMS``.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Int

from engine.batching import AnyArray
from engine.body.schemas import KeypointSchema
from engine.picture.observation import Observation

LEGS, ARMS = 1, 2
SWAPS = (LEGS, ARMS, LEGS + ARMS)

_PARTS = {LEGS: ("knee", "ankle", "big_toe", "small_toe", "heel"), ARMS: ("elbow", "wrist")}


def swapped_columns(schema: KeypointSchema) -> Int[np.ndarray, "codes keypoints"]:
    """Source of each column for every code from 0 (nothing swapped) to ``LEGS + ARMS``."""
    identity = np.arange(len(schema))
    part = np.array([name.partition("_")[2] for name in schema.keypoint_names])
    columns = np.tile(identity, (1 + LEGS + ARMS, 1))
    for code in range(len(columns)):
        for limb, names in _PARTS.items():
            if code & limb:
                columns[code] = np.where(np.isin(part, names), np.array(schema.swap), columns[code])
    return columns


def swap_values(schema: KeypointSchema, values: AnyArray, codes: Int[np.ndarray, " images"]) -> np.ndarray:
    """Values per keypoint with the labels of each picture swapped by its code; doing it twice undoes it."""
    columns = swapped_columns(schema)[codes]
    values = np.asarray(values)
    return np.take_along_axis(values, columns.reshape(*columns.shape, *(1,) * (values.ndim - 2)), axis=1)


def swap_labels(schema: KeypointSchema, observed: Observation, codes: Int[np.ndarray, " images"]) -> Observation:
    """Pictures with the labels of some limbs swapped."""
    return eqx.tree_at(
        lambda o: (o.points, o.confidence),
        observed,
        (swap_values(schema, observed.points, codes), swap_values(schema, observed.confidence, codes)),
    )
