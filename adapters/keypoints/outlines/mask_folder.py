"""A folder of masks beside pictures, and the outlines that it gives to a keypoint table.

The masks of ``day2/anna.jpg`` are called ``day2/anna.png``, ``day2/anna.jpg.png`` or, one for each person,
``day2/anna_0.png``, ``day2/anna_1.png`` ...; other suffixes of ``mask_files`` go too. Which of them belongs to which
person follows from the keypoints, not from the numbers. A mask is also found without the picture's folders if only one
file of the folder has its name. The masks of the frame ``walk.mp4#000120`` may be called ``walk_000120.png``.

A picture without a mask has no outline. A mask that cannot be used leaves its reason in ``detail``; the row stays good.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from adapters.keypoints.containers.folders import files_below
from adapters.keypoints.detectors.pictures import STILL_SUFFIXES
from adapters.keypoints.outlines.mask_arrays import BadMask, Mask, check_size
from adapters.keypoints.outlines.mask_files import SUFFIXES, read_masks
from adapters.keypoints.outlines.whose import outlines_of_people
from adapters.keypoints.table import KeypointTable
from engine.batching import worker_count
from engine.picture.outline_places import PLACES, SIDES
from engine.scores import Status

_NUMBERED = re.compile(r"(.+)_(\d{1,2})")
_FRAME = re.compile(r"(.+)\.[^./#]+#(\d+)")


@dataclass(frozen=True)
class MaskFolder:
    """The masks of a folder by the names of their pictures. ``find_masks`` makes it."""

    path: Path
    files: dict[str, list[Path]]
    """Files by their path below the folder without suffix; numbered ones also by the name without the number."""
    unique: dict[str, str]
    """Names without folders that occur once, and the whole name."""

    def of(self, image: str) -> list[Path]:
        """The files of a picture's masks; empty if there are none."""
        for name in _names(image):
            for known in (name, self.unique.get(name.rpartition("/")[2], "")):
                if known in self.files:
                    return self.files[known]
        return []


def find_masks(folder: str | os.PathLike[str]) -> MaskFolder:
    """The masks in a folder and below it.

    Raises:
        ValueError: there is no such folder, or it holds no masks.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ValueError(f"{path}: {'not a folder' if path.exists() else 'no such folder'}; --masks wants one")
    whole: dict[str, list[Path]] = {}
    numbered: dict[str, list[Path]] = {}
    names = [name.replace(os.sep, "/") for name in files_below(path, SUFFIXES)]
    for name in sorted(names, key=lambda name: [_by_number(part) for part in name.split("/")]):
        stem = name.rpartition(".")[0]
        whole.setdefault(stem, []).append(path / name)
        if match := _NUMBERED.fullmatch(stem):
            numbered.setdefault(match[1], []).append(path / name)
    if not whole:
        raise ValueError(f"{path}: no masks in or below this folder ({', '.join(SUFFIXES)})")
    # A picture's own mask comes before masks of its people: anna_1.png may be that of the picture anna_1.
    files = numbered | whole
    last = Counter(name.rpartition("/")[2] for name in files)
    unique = {name.rpartition("/")[2]: name for name in files if last[name.rpartition("/")[2]] == 1}
    return MaskFolder(path, files, unique)


@dataclass
class MaskSummary:
    """Numbers of rows with keypoints, by their outline."""

    people: int = 0
    outlined: int = 0
    without_file: int = 0
    """People in pictures without a mask."""
    refused: int = 0
    first_reason: str = ""
    folder: str = ""
    example: str = field(default="", repr=False)
    """A picture without a mask."""

    def lines(self) -> Iterator[str]:
        """What to tell the user."""
        yield f"outlines of {self.outlined:,} of {self.people:,} people from the masks in {self.folder}"
        yield from (f"warning: {problem}" for problem in self.problems())
        if 0 < self.without_file < self.people:
            yield f"without a mask: {self.without_file:,} of {self.people:,} people, for example in {self.example}"

    def problems(self) -> Iterator[str]:
        """Masks that are not used, and a folder without any mask of these pictures."""
        if self.refused:
            yield f"{self.refused:,} masks are not used; the first: {self.first_reason}"
        if self.people and self.without_file == self.people:
            yield (
                f"no picture has a mask in {self.folder}; that of {self.example} would be called "
                f"{_names(self.example)[-1]}.png (docs/outlines.md)"
            )


def add_outlines(
    table: KeypointTable, masks: MaskFolder, on_progress: Callable[[int, int], None] = lambda done, pictures: None
) -> tuple[KeypointTable, MaskSummary]:
    """The table with the outlines of everybody whose mask is in the folder; other rows keep their outline.

    Args:
        on_progress: called with the number of finished pictures, and of all pictures.
    """
    rows: dict[str, list[int]] = {}
    names = table.image.to_pylist()
    for row in np.flatnonzero(table.status == Status.OK).tolist():
        rows.setdefault(names[row], []).append(row)
    shape = (len(table), len(PLACES), SIDES)
    outline_px = np.full(shape, np.nan, np.float32) if table.outline_px is None else table.outline_px.copy()
    details = table.detail.to_pylist()
    summary = MaskSummary(people=sum(map(len, rows.values())), folder=str(masks.path))

    def measure(image: str) -> tuple[Float32[np.ndarray, "people places 2"], Sequence[str | None]] | None:
        own, files = rows[image], masks.of(image)
        if not files:
            return None
        try:
            found = [mask for file in files for mask in _read(file)]
            check_size(1, 1, count=len(found))
            return outlines_of_people(found, table.keypoints[own], table.confidence[own], table.schema)
        except BadMask as error:
            return np.full((len(own), *shape[1:]), np.nan, np.float32), [str(error)] * len(own)

    with ThreadPoolExecutor(worker_count(), thread_name_prefix="masks") as pool:
        for done, (image, result) in enumerate(zip(rows, pool.map(measure, rows), strict=True), start=1):
            own = rows[image]
            if result is None:
                summary.without_file += len(own)
                summary.example = summary.example or image
            else:
                outline_px[own] = result[0]
                for row, reason in zip(own, result[1], strict=True):
                    if reason is not None:
                        details[row] = f"its mask is not used: {masks.of(image)[0]}: {reason}"
                        summary.refused += 1
                        summary.first_reason = summary.first_reason or f"{image}: {reason}"
                summary.outlined += int(np.isfinite(result[0]).any(axis=(1, 2)).sum())
            on_progress(done, len(rows))
    return replace(table, outline_px=outline_px, detail=pa.array(details, pa.string())), summary


def _read(file: Path) -> list[Mask]:
    try:
        return read_masks(file)
    except BadMask as error:
        raise BadMask(f"{file.name}: {error}") from error


def _names(image: str) -> list[str]:
    """Names of the file that may hold a picture's masks, without suffix, the most exact one first."""
    if frame := _FRAME.fullmatch(image):
        return [image, f"{frame[1]}_{frame[2]}"]
    stem, suffix = os.path.splitext(image)
    return [image, stem] if suffix.lower() in STILL_SUFFIXES else [image]


def _by_number(name: str) -> tuple[tuple[int, int, str], ...]:
    """Names in order, numbers in them by their value."""
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"(\d+)", name))
