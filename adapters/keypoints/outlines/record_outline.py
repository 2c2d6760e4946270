"""The outline of a person whose record in a JSON file holds a mask (COCO's ``segmentation``).

Masks are decoded when the person's keypoints are known, and not kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from jaxtyping import Bool, Float, Float32

from adapters.keypoints.outlines.coco_masks import mask_of_segmentation
from adapters.keypoints.outlines.mask_arrays import HALF, BadMask, Mask
from adapters.keypoints.outlines.measure import measure_outline
from engine.body.schemas import KeypointSchema

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True)
class RecordOutline:
    """The masks of one record and of the other people in its picture, not yet decoded."""

    own: msgspec.Raw
    others: Sequence[msgspec.Raw] = ()
    size: tuple[float, float] | None = None
    """Width and height of the picture."""

    def measure(
        self,
        points: Float[np.ndarray, "keypoints 2"],
        seen: Bool[np.ndarray, " keypoints"],
        schema: KeypointSchema,
    ) -> Float32[np.ndarray, "places 2"]:
        """See ``measure_outline``. Masks of other people that cannot be read are left out.

        Raises:
            BadMask: the person's own mask cannot be used.
        """
        mask = _mask(self.own, self.size)
        beside = np.zeros(mask.shape, bool)
        for raw in self.others:
            try:
                other = _mask(raw, self.size or (mask.shape[1], mask.shape[0]))
            except BadMask:
                continue
            beside |= other > HALF
        return measure_outline(mask, points, seen, schema, beside & (mask < HALF) if self.others else None)


def _mask(raw: msgspec.Raw, size: tuple[float, float] | None) -> Mask:
    try:
        segmentation = _decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadMask(f"segmentation cannot be read: {error}") from error
    return mask_of_segmentation(segmentation, size)
