"""The files of a check: shape, calibration, scores, page, and the pictures that look alike.

shape.npz           the person of the references
calibration.json    the calibration of the detector, if it was estimated from the pictures
keypoints.parquet   the keypoints that were compared
scores.parquet      a row for each person in each picture; ``detail`` names the twin of a picture that has one
report.html         the page, with bodies drawn on the pictures to look at first
"""

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from adapters.jobs.check import Check, Progress
from adapters.keypoints.readers.file_rules import FILE_RULES
from adapters.keypoints.table import KeypointTable
from adapters.keypoints.writers import write_keypoints
from adapters.results.own_folder import own_files
from adapters.results.picture_files import find_pictures
from adapters.results.recorded_sources import record_sources
from adapters.results.scores import Scores, arrow_columns
from adapters.results.writers import open_result_writer
from engine import VERSION
from engine.body.embedded import EMBEDDED_BODY
from engine.evidence.calibration_file import save_calibration
from engine.picture.clothes import CLOTHES, THICKNESS_M, Clothes

PAGE = "report.html"
FILES = ("shape.npz", "calibration.json", "keypoints.parquet", "scores.parquet", PAGE)
"""Files that ``write_check`` writes, beside the folder of the page's pictures."""


@dataclass(frozen=True)
class FolderSettings:
    """Settings for writing the folder."""

    body: str = EMBEDDED_BODY
    """Its name on the command line."""
    title: str = "Which pictures show somebody else?"
    """Title of the page."""
    fitted: int = 60
    """Rows with a body drawn on the page: three times the queue of the terminal."""


@dataclass(frozen=True)
class Looks:
    """Small copies of the pictures, and the pictures that look alike."""

    thumbnails: list[Any] | None
    """Results of ``report.thumbnails``; None without pictures, or without the packages of the extra ``report``."""
    alike: Int[np.ndarray, " rows"]
    """``near_duplicates.first_alike``; without pictures, each row is its own first."""


@dataclass(frozen=True)
class CheckFolder:
    """The files of a check that were written."""

    scores_file: Path
    page: Path | None
    """None without the packages of the extra ``report``."""
    scores: Scores
    """Scores with twins named in ``detail``."""


def can_make_pages() -> bool:
    """True if the packages of the extra ``report`` are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("jinja2", "PIL", "imagehash"))


def look_at(
    pictures: KeypointTable, images: Path | None, on_progress: Progress = lambda what, done, expected: None
) -> Looks:
    """Cut the people out of their pictures, and find those that look alike.

    Args:
        images: the folder that holds the pictures; None if there are none.

    Raises:
        ValueError: there is no such folder.
    """
    if images is None or not can_make_pages():
        return Looks(None, np.arange(len(pictures)))
    from adapters.results.near_duplicates import first_alike
    from adapters.results.report.thumbnails import make_thumbnails, person_box

    names = pictures.image.to_pylist()
    boxes = [person_box(*row) for row in zip(pictures.keypoints, pictures.confidence > 0, strict=True)]
    made = make_thumbnails(
        find_pictures(images, names),
        boxes,
        on_progress=lambda done, expected: on_progress("cutting out people", done, expected),
    )
    return Looks(made, first_alike([one and one.hash for one in made], names))


def write_check(
    found: Check,
    pictures: KeypointTable,
    looks: Looks,
    folder: Path,
    settings: FolderSettings | None = None,
    on_progress: Progress = lambda what, done, expected: None,
) -> CheckFolder:
    """Write everything into a folder; files of an earlier check there are replaced, others stay.

    Raises:
        ValueError: a file that samebody did not write would be overwritten.
        OSError: the folder cannot be written.
    """
    with own_files(folder, FILES):
        return _write_check(found, pictures, looks, folder, settings or FolderSettings(), on_progress)


def _write_check(
    found: Check,
    pictures: KeypointTable,
    looks: Looks,
    folder: Path,
    settings: FolderSettings,
    on_progress: Progress,
) -> CheckFolder:
    shape, scores, keypoints = folder / "shape.npz", folder / "scores.parquet", folder / "keypoints.parquet"
    calibration = folder / "calibration.json" if found.calibrated_by == "pictures" else None
    found.shape.save(shape)
    if calibration is not None:
        save_calibration(calibration, found.calibration)
    write_keypoints(keypoints, pictures)
    with_twins = _with_twins(found.scores, looks.alike)
    reading = replace(FILE_RULES, clothes=_worn(pictures))
    metadata = record_sources(scores, [keypoints], [shape], settings.body, calibration, reading=reading).as_metadata()
    columns = arrow_columns(with_twins.mode, fits=with_twins.fits, whole_set=True)
    facts = {"samebody.version": VERSION, "samebody.mode": with_twins.mode, **metadata}
    with open_result_writer(scores, columns, facts) as writer:
        for batch in with_twins.to_arrow().to_batches():
            writer.write(batch)
    page = folder / PAGE if can_make_pages() else None
    if page is not None:
        _page(scores, page, looks, found.reasons, settings, on_progress)
    return CheckFolder(scores, page, with_twins)


def _worn(pictures: KeypointTable) -> Clothes:
    """What everybody wears; unknown if that is not known of everybody, or differs."""
    worn = pictures.clothes_m
    if worn is None or not len(worn):
        return "unknown"
    for kind in CLOTHES:
        if np.all(worn == np.float32(THICKNESS_M[kind])):
            return kind
    return "unknown"


def _page(
    scores: Path, page: Path, looks: Looks, reasons: list[str], settings: FolderSettings, on_progress: Progress
) -> None:
    from adapters.results.report.build import ReportInputs, make_report
    from adapters.results.report.drawings import FitSources

    inputs = ReportInputs(
        FitSources(scores),
        title=settings.title,
        most_bodies=settings.fitted,
        thumbnails=looks.thumbnails,
        reasons=reasons,
        without_pictures=True,
    )
    make_report(inputs, page, lambda what, done, expected: on_progress("drawing bodies", done, expected))


def _with_twins(scores: Scores, alike: Int[np.ndarray, " rows"]) -> Scores:
    names, details = scores.image.to_pylist(), scores.detail.to_pylist()
    twins = alike != np.arange(len(alike))
    noted = [
        "; ".join([*([detail] if detail else []), f"looks like {names[first]}"]) if twin else detail
        for detail, first, twin in zip(details, alike.tolist(), twins.tolist(), strict=True)
    ]
    return replace(scores, detail=pa.array(noted, pa.string()))
