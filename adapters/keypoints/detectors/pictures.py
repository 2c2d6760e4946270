"""Finds photographs and videos on disk, names their pictures, and decodes them.

A folder stands for every file in it and below it that has the suffix of a picture or a video, sorted by path; hidden
ones are left out. Files that are named one by one are tried whatever their suffix. A picture's name is its path below
the given folder, suffix included (``day2/anna.jpg``); a frame of a video is called ``walk.mp4#000120``, counted from 0.
Names that would clash get as many parent folders as needed.

Decoded pictures are upright (EXIF orientation applied), 8 bits a channel, blue green red. CMYK and palettes are
converted, transparency is laid on white, 16-bit grey is cut to its upper 8 bits, and animations give their first frame.
Pictures with an edge over ``LARGEST_EDGE`` are shrunk by a whole number while they are read: detectors use a few
hundred pixels of a person, and a batch of hundred-megapixel pictures would not fit into memory. ``Picture.to_original``
maps back to the pixels of the file.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapters.keypoints.containers.folders import files_below
from adapters.keypoints.containers.images import import_pillow, open_image
from adapters.keypoints.detectors.protocol import DetectorError, Pixels

STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm")
LARGEST_EDGE = 4096
MOST_PIXELS = 220_000_000
"""The largest sensors in phones give 200 megapixels; a file that claims more is broken or an attack on memory."""


class BadPicture(ValueError):
    """A file cannot be decoded; the message has the reason."""


@dataclass(frozen=True)
class PictureFile:
    """A file that holds a picture, or the pictures of a video."""

    path: str
    name: str

    @property
    def is_video(self) -> bool:
        return self.path.lower().endswith(VIDEO_SUFFIXES)


@dataclass(frozen=True)
class Picture:
    """A decoded picture."""

    name: str
    pixels: Pixels
    shrunk_by: tuple[float, float] = (1.0, 1.0)
    """Pixels of the file for one of ``pixels``, in x and y."""

    def to_original(self, points: np.ndarray) -> np.ndarray:
        """Points in ``pixels`` as points in the file's pixels; the centre of the first pixel is (0, 0) in both."""
        return (points + 0.5) * np.asarray(self.shrunk_by, points.dtype) - points.dtype.type(0.5)

    def from_original(self, points: np.ndarray) -> np.ndarray:
        """The other way."""
        return (points + 0.5) / np.asarray(self.shrunk_by, points.dtype) - points.dtype.type(0.5)


def find_pictures(paths: Sequence[str | os.PathLike[str]]) -> tuple[PictureFile, ...]:
    """The files that ``paths`` stand for.

    Raises:
        ValueError: nothing given, no such file, or a folder without pictures.
    """
    found: dict[str, tuple[str, str]] = {}
    for path in paths:
        given = os.fspath(path)
        if os.path.isdir(given):
            names = files_below(given, STILL_SUFFIXES + VIDEO_SUFFIXES)
            if not names:
                raise ValueError(f"{given}: no photograph in or below this folder ({', '.join(STILL_SUFFIXES)})")
        elif not os.path.isfile(given):
            raise ValueError(f"{given}: {'not a regular file' if os.path.exists(given) else 'no such file'}")
        else:
            names = [os.path.basename(given)]
        folder = given if os.path.isdir(given) else os.path.dirname(given)
        for name in names:
            place = os.path.join(folder, name)
            found.setdefault(os.path.join(os.path.realpath(folder), name), (place, name))
    if not found:
        raise ValueError("no photographs given")
    names = [name for _, name in found.values()]
    real = list(found)
    while clashing := {name for name, count in Counter(names).items() if count > 1}:
        names = [
            os.sep.join(whole.split(os.sep)[-name.count(os.sep) - 2 :]) if name in clashing else name
            for name, whole in zip(names, real, strict=True)
        ]
    return tuple(PictureFile(place, _printable(name)) for (place, _), name in zip(found.values(), names, strict=True))


def _printable(name: str) -> str:
    """The path with / between folders on every system. Tables need valid text; file systems allow other names."""
    return os.fsencode(name.replace(os.sep, "/")).decode("utf-8", "backslashreplace")


def decoder_identity() -> str:
    """The decoder's name and version, since decoders may differ in pixels."""
    return f"pillow {_pillow().__version__} edge<={LARGEST_EDGE}"


def decode_still(content: bytes, name: str) -> Picture:
    """Decode a picture.

    Raises:
        BadPicture: the file is empty, broken, too large or not a picture.
    """
    _pillow()
    from PIL import ImageOps

    if not content:
        raise BadPicture("the file is empty")
    if name.lower().endswith((".heic", ".heif")):
        _register_heif()
    with open_image(content, MOST_PIXELS, BadPicture) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise BadPicture(f"{width} × {height} pixels are more than samebody reads ({MOST_PIXELS:,})")
        times = -(-max(width, height) // LARGEST_EDGE)
        if times > 1:
            # JPEG can be read at an eighth, a quarter or half of its size, in a fraction of time and memory.
            image.draft(None, (width // times, height // times))
        if image.mode in ("I", "F"):
            raise BadPicture(f"pixels of 32 bits (mode {image.mode}); save it with 8 or 16 bits")
        upright = ImageOps.exif_transpose(image)
        left = -(-max(upright.size) // LARGEST_EDGE)
        rgb = _as_rgb(upright)
        small = rgb.reduce(left) if left > 1 else rgb
        turned = (upright.size[0] > upright.size[1]) != (image.size[0] > image.size[1])
        full = (height, width) if turned else (width, height)
        # Always 3 channels; the copy makes it contiguous in OpenCV's order.
        pixels = np.ascontiguousarray(np.asarray(small)[..., ::-1])
        return Picture(name, pixels, (full[0] / small.size[0], full[1] / small.size[1]))


def _as_rgb(image):
    image_module = _pillow()
    if image.mode.startswith("I;16"):
        return image_module.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        laid = image_module.new("RGBA", image.size, "white")
        laid.alpha_composite(image.convert("RGBA"))
        return laid.convert("RGB")
    return image.convert("RGB")


def _pillow():
    try:
        return import_pillow(MOST_PIXELS)
    except ImportError as error:
        raise DetectorError(
            "photographs need Pillow; install a detector with it: pip install 'samebody[mediapipe]'"
        ) from error


def _register_heif() -> None:
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise BadPicture("HEIC needs one more package: pip install pillow-heif") from None
    pillow_heif.register_heif_opener()


def decode_frames(file: PictureFile, every: int) -> Iterator[Picture]:
    """Every n-th frame of a video, from the first.

    Raises:
        BadPicture: the video has no readable frame.
    """
    import cv2

    capture = cv2.VideoCapture(os.fspath(Path(file.path)))
    try:
        number = -1
        while capture.grab():
            number += 1
            if number % every:
                continue
            good, pixels = capture.retrieve()
            if good:
                yield Picture(f"{file.name}#{number:06d}", pixels)
        if number < 0:
            raise BadPicture("not a video that can be read")
    finally:
        capture.release()
