"""Masks of people from arrays: one mask, a stack with one mask a person, or labels with one number a person.

A mask is an array of bytes, one a pixel: 0 outside, 255 inside, and the border where it passes 127.5. Matting programs
give values between; segmenters give 0 and 255 only.

    yes and no               one mask
    numbers from 0 to 1      one soft mask
    whole numbers            labels: 0 is the background, every other number is a person. A grey picture is one soft
                             mask instead if it uses more than ``_MOST_GREY_LABELS`` of the values 0 to 255, bright
                             ones included
    three axes               one mask for each entry of the first
"""

import numpy as np
from jaxtyping import UInt8

Mask = UInt8[np.ndarray, "height width"]

MOST_PIXELS = 100_000_000
"""Largest number of pixels of a mask, and of all masks of a picture together divided by ``MOST_MASKS``."""
MOST_MASKS = 64
"""Largest number of masks of a picture."""

HALF = 127.5
"""The value at the border of a mask."""

_MOST_GREY_LABELS = 16
_BRIGHT = 128
_VOID, _MOST_VOID_LABELS = 255, 20
"""The mark for borders between objects beside the labels of PASCAL VOC; it belongs to nobody."""


class BadMask(ValueError):
    """A mask cannot be used; the message has the reason without the file."""


def check_size(height: int, width: int, count: int = 1) -> None:
    """Check a size before memory is allocated for it.

    Raises:
        BadMask: the masks are empty or too large.
    """
    if height < 1 or width < 1:
        raise BadMask(f"a mask of {width} × {height} pixels")
    if height * width > MOST_PIXELS or count * height * width > MOST_PIXELS * 4:
        raise BadMask(f"{count} mask(s) of {width} × {height} pixels; at most {MOST_PIXELS:,} are read")
    if count > MOST_MASKS:
        raise BadMask(f"{count} masks for one picture; at most {MOST_MASKS} are read")


def masks_of_array(values: np.ndarray) -> list[Mask]:
    """The masks in an array; see the module.

    Raises:
        BadMask: the array is something else, or too large.
    """
    if values.ndim == 3:
        check_size(*values.shape[1:], count=max(len(values), 1))
        return [_one_mask(layer) for layer in values]
    if values.ndim != 2:
        raise BadMask(f"an array of shape {values.shape}, expected height and width")
    check_size(*values.shape)
    found = _labelled(values) if values.dtype.kind in "iu" else [_one_mask(values)]
    if not any(mask.any() for mask in found):
        raise BadMask("an empty mask")
    return found


def _one_mask(values: np.ndarray) -> Mask:
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f":
        if not ((values >= 0) & (values <= 1)).all():
            raise BadMask("a soft mask with values outside of 0 to 1")
        return np.rint(values * 255).astype(np.uint8)
    found = _labelled(values) if values.dtype.kind in "iu" else []
    if len(found) == 1:
        return found[0]
    if found or values.dtype.kind not in "iu":
        raise BadMask("one mask of a stack, expected two values or numbers from 0 to 1")
    return np.zeros(values.shape, np.uint8)


def _labelled(values: np.ndarray) -> list[Mask]:
    """One mask for each label; one soft mask if the values are shades of grey."""
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise BadMask(f"labels from {values.min()} to {values.max()}, expected 0 to {np.iinfo(np.uint16).max}")
    labels = np.flatnonzero(np.bincount(values.ravel()))
    labels = labels[labels > 0]
    if len(labels) > 1 and labels[-1] == _VOID and labels[-2] <= _MOST_VOID_LABELS:
        labels = labels[:-1]
    if len(labels) > _MOST_GREY_LABELS and _BRIGHT <= labels[-1] <= 255:
        return [values.astype(np.uint8)]
    check_size(*values.shape, count=max(len(labels), 1))
    return [(values == label).astype(np.uint8) * np.uint8(255) for label in labels]
