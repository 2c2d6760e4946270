"""Sources of scores, recorded in the metadata of a result file so that a report finds them again.

Paths are relative to the folder of the result file, written with ``/``. So a folder that is moved as a whole stays
readable, and a shared file does not show the layout of its maker's disk. A path is not recorded if it shares only the
root of the disk with that folder, or lies on another disk. Only files below the folder of the result are opened without
being named again (``is_below``).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from adapters.keypoints.readers.file_rules import ReadingOptions
from engine.body.embedded import EMBEDDED_BODY
from engine.picture.clothes import Clothes

SOURCES_KEY = "samebody.sources"


@dataclass(frozen=True)
class RecordedSources:
    """Paths relative to the folder of the result file; None or empty if unknown."""

    keypoints: tuple[str, ...] = ()
    """Keypoint files of the complete data set, or empty."""
    shapes: tuple[str, ...] = ()
    """Shape files in the order of the command line."""
    body: str | None = None
    """``anny24``, or the path of a body file."""
    calibration: str | None = None
    schema: str | None = None
    """Schema, if the command line named one."""
    min_score: float | None = None
    image_size: tuple[float, float] | None = None
    forced: bool = False
    """Implausible keypoints were taken as they are."""
    outlines: bool = True
    """Outlines in the keypoint files were read."""
    clothes: Clothes = "unknown"
    """What everybody was known to wear."""

    @property
    def reading(self) -> ReadingOptions | None:
        """How the keypoints were read; None where a result does not tell, or tells the impossible."""
        if self.min_score is None:
            return None
        try:
            return ReadingOptions(
                self.min_score, self.image_size, judge=not self.forced, outlines=self.outlines, clothes=self.clothes
            )
        except ValueError:
            return None

    def as_metadata(self) -> dict[str, str]:
        """Key and value for ``score_to_file``."""
        return {SOURCES_KEY: msgspec.json.encode(self, order="sorted").decode()}


def record_sources(
    out: str | os.PathLike[str],
    keypoints: Sequence[Path],
    shapes: Sequence[Path],
    body: str = EMBEDDED_BODY,
    calibration: Path | None = None,
    schema: str | None = None,
    reading: ReadingOptions | None = None,
) -> RecordedSources:
    """Paths relative to the folder of ``out``."""
    folder = os.path.realpath(Path(out).parent)

    def all_of(paths: Sequence[Path]) -> tuple[str, ...]:
        found = [_relative(path, folder) for path in paths]
        return tuple(path for path in found if path is not None) if None not in found else ()

    return RecordedSources(
        keypoints=all_of(keypoints),
        shapes=all_of(shapes),
        body=body if body == EMBEDDED_BODY else _relative(Path(body), folder),
        calibration=None if calibration is None else _relative(calibration, folder),
        schema=schema,
        min_score=None if reading is None else reading.min_score,
        image_size=None if reading is None else reading.image_size,
        forced=reading is not None and not reading.judge,
        outlines=reading is None or reading.outlines,
        clothes="unknown" if reading is None else reading.clothes,
    )


def recorded_sources(metadata: Mapping[str, str]) -> RecordedSources:
    """Sources in the metadata of a result file; empty if they are damaged, absolute or missing."""
    try:
        found = msgspec.json.decode(metadata.get(SOURCES_KEY, "{}"), type=RecordedSources)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return RecordedSources()
    paths = [*found.keypoints, *found.shapes, found.body or "", found.calibration or ""]
    return RecordedSources() if any(Path(path).is_absolute() for path in paths) else found


def is_below(path: Path, folder: Path) -> bool:
    """True if a recorded path stays in the folder of the result after resolving links.

    A result file may come from anybody, so other recorded paths are not opened. The user may name them.
    """
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    except ValueError:  # a character that is not allowed in a path
        return False


def _relative(path: Path, folder: str) -> str | None:
    real = os.path.realpath(path)
    try:
        shared = os.path.commonpath([real, folder])
    except ValueError:
        return None
    if os.path.dirname(shared) == shared:
        return None
    return os.path.relpath(real, folder).replace(os.sep, "/")
