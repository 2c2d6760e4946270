"""Masks in files: PNG and other pictures without loss, and .npz.

    grey, palette    one mask, or labels with one number a person (``mask_arrays``); a palette's entries are labels
    transparency     one soft mask: programs that cut people out write it beside the colours
    colours          every colour but black is a person
    .npz             the array ``masks`` (people, height, width), or the only array, which may also have two axes

Pictures need Pillow, which comes with the extras report, plot and those of detectors.
"""

from pathlib import Path
from typing import Any

import numpy as np

from adapters.keypoints.containers.images import open_image
from adapters.keypoints.outlines.mask_arrays import MOST_MASKS, MOST_PIXELS, BadMask, Mask, check_size, masks_of_array
from engine.body.files.arrays import open_arrays

PICTURE_SUFFIXES = (".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
SUFFIXES = (*PICTURE_SUFFIXES, ".npz")

_LARGEST_FILE_BYTES = 1 << 28


def read_masks(path: Path) -> list[Mask]:
    """The masks of a file.

    Raises:
        BadMask: the file cannot be read, or holds something else.
        ValueError: Pillow is missing.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise BadMask(f"a file of {path.stat().st_size >> 20} MiB; masks are smaller")
        if path.suffix.lower() == ".npz":
            return _of_npz(path)
        return _of_picture(path.read_bytes())
    except OSError as error:
        raise BadMask(f"it cannot be read: {error.strerror or error}") from error


def _of_npz(path: Path) -> list[Mask]:
    with open_arrays(path, BadMask, 4 * 8 * MOST_PIXELS) as stored:
        names = stored.names
        name = "masks" if "masks" in names else names[0] if len(names) == 1 else None
        if name is None:
            raise BadMask(f"an archive without an array masks; it has {', '.join(sorted(names)[:20])}")
        shape = stored.header(name).shape
        if len(shape) in (2, 3):
            check_size(*shape[-2:], count=max(shape[0], 1) if len(shape) == 3 else 1)
        return masks_of_array(stored.read(name))


def _of_picture(content: bytes) -> list[Mask]:
    try:
        with open_image(content, MOST_PIXELS, BadMask) as image:
            check_size(image.height, image.width)
            return _of_image(image)
    except ImportError as error:
        raise ValueError(
            "masks in pictures need Pillow: pip install 'samebody[report]'; masks in .npz and in COCO's JSON do not"
        ) from error


def _of_image(image: Any) -> list[Mask]:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        if (alpha < 255).any():
            return [alpha]
        image = image.convert("RGB")
    if image.mode in ("1", "L", "P", "I", "F") or image.mode.startswith("I;16"):
        return masks_of_array(np.asarray(image))
    return _of_colours(np.asarray(image.convert("RGB")))


def _of_colours(pixels: np.ndarray) -> list[Mask]:
    red, green, blue = (pixels[..., channel] for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return masks_of_array(np.ascontiguousarray(red))
    codes = (red.astype(np.uint32) << 16) | (green.astype(np.uint32) << 8) | blue
    # A photograph is recognised by a few of its pixels.
    if len(np.unique(codes[:: max(len(codes) // 64, 1)])) > 4 * MOST_MASKS:
        raise BadMask("a picture with many colours, expected one for each person on black")
    colours, labels = np.unique(codes, return_inverse=True)
    if colours[0] != 0:
        raise BadMask("a picture in colours without black, expected one colour for each person on black")
    return masks_of_array(labels.reshape(codes.shape))
