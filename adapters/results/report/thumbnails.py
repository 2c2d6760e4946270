"""Small pictures of the people in a data set: found by name, cut to the person, turned upright, without metadata.

A picture is found in a folder by its name in the result file: its path below the folder, with or without suffix, or its
bare file name if that is unique. Only formats that cameras and browsers make are opened. The resulting JPEG holds only
pixels: no EXIF, no place, no colour profile.
"""

import io
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageOps

from adapters.results.near_duplicates import picture_hash
from engine.batching import worker_count

SIZE_PX = 400
"""Longer side: sharp on a card, fair in the detail view, 15 to 25 kB as JPEG."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
_TOO_LARGE = (Image.DecompressionBombWarning, Image.DecompressionBombError)
_QUALITY = 82
_MARGIN = 0.22
"""Margin around the box of the keypoints, as a share of its longer side: heads and feet extend beyond keypoints."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the upright picture."""


class Frame(NamedTuple):
    """The part of a picture that a thumbnail shows: x_thumbnail = (x_picture − left) · scale."""

    left_px: float
    top_px: float
    scale: float
    width: int
    height: int


@dataclass(frozen=True)
class Thumbnail:
    jpeg: bytes
    frame: Frame
    hash: int
    """``near_duplicates.picture_hash``."""


def person_box(keypoints_px: Float[np.ndarray, "keypoints 2"], seen: Bool[np.ndarray, " keypoints"]) -> Box | None:
    """The person with a margin; None if no keypoint is seen."""
    if not seen.any():
        return None
    low, high = keypoints_px[seen].min(axis=0), keypoints_px[seen].max(axis=0)
    margin = _MARGIN * max(float((high - low).max()), 8.0)
    return (*(low - margin).tolist(), *(high + margin).tolist())  # pyright: ignore[reportReturnType]


def empty_frame(box: Box | None, size_px: int = SIZE_PX) -> Frame:
    """The frame of a person without a picture."""
    left, top, right, bottom = box or (0.0, 0.0, 1.0, 1.0)
    scale = size_px / max(right - left, bottom - top)
    return Frame(left, top, scale, max(round((right - left) * scale), 1), max(round((bottom - top) * scale), 1))


def make_thumbnails(
    paths: Sequence[Path | None],
    boxes: Sequence[Box | None],
    size_px: int = SIZE_PX,
    on_progress: Callable[[int, int | None], None] = lambda done, expected: None,
) -> list[Thumbnail | None]:
    """A thumbnail of each person; None if there is no picture or it cannot be read.

    Raises:
        ValueError: the number of boxes is not that of the pictures.
    """
    Image.init()
    formats = tuple(name for name in FORMATS if name in Image.OPEN)  # AVIF is not in every build of Pillow
    if len(paths) != len(boxes):
        raise ValueError(f"{len(paths)} pictures need a box or None each, not {len(boxes)}")
    with warnings.catch_warnings(), ThreadPoolExecutor(worker_count()) as pool:
        # Damaged metadata are tolerated; absurd sizes are not, because they fill the memory.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        thumbnails = []
        for made in pool.map(lambda path, box: _make(path, box, size_px, formats), paths, boxes):
            thumbnails.append(made)
            on_progress(len(thumbnails), len(paths))
    return thumbnails


def _make(path: Path | None, box: Box | None, size_px: int, formats: tuple[str, ...]) -> Thumbnail | None:
    if path is None:
        return None
    try:
        with Image.open(path, formats=formats) as image:
            return _thumbnail(image, box, size_px)
    except (
        OSError,
        ValueError,
        SyntaxError,
        MemoryError,
        Image.DecompressionBombWarning,
        Image.DecompressionBombError,
    ):
        return None


def _thumbnail(image: Image.Image, box: Box | None, size_px: int) -> Thumbnail:
    turned = image.getexif().get(0x0112, 1) >= 5
    width, height = image.size[::-1] if turned else image.size
    left, top, right, bottom = box or (0.0, 0.0, float(width), float(height))
    cut = (max(round(left), 0), max(round(top), 0), min(round(right), width), min(round(bottom), height))
    if cut[2] - cut[0] < 2 or cut[3] - cut[1] < 2:
        cut = (0, 0, width, height)
    scale = min(size_px / max(cut[2] - cut[0], cut[3] - cut[1]), 1.0)
    # A JPEG decodes to a half, a quarter or an eighth at a fraction of the cost.
    image.draft("RGB", (max(int(image.width * scale), 1), max(int(image.height * scale), 1)))
    ImageOps.exif_transpose(image, in_place=True)
    reduced = image.width / width
    inside = (round(cut[0] * reduced), round(cut[1] * reduced), round(cut[2] * reduced), round(cut[3] * reduced))
    plain = _eight_bit(image).crop(inside)
    target = (max(round((cut[2] - cut[0]) * scale), 1), max(round((cut[3] - cut[1]) * scale), 1))
    # A new picture holds no metadata of the old one.
    clean = Image.new("RGB", target, (127, 127, 127))
    small = plain.resize(target, Image.Resampling.LANCZOS)
    clean.paste(small, mask=small.getchannel("A") if small.mode == "RGBA" else None)
    stream = io.BytesIO()
    clean.save(stream, "JPEG", quality=_QUALITY)
    return Thumbnail(stream.getvalue(), Frame(float(cut[0]), float(cut[1]), scale, *target), picture_hash(clean))


def _eight_bit(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where something is transparent."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, float)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        return Image.fromarray(np.clip(values * (255 / top), 0, 255).astype(np.uint8)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")
