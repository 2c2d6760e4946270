"""From a result file to a page: find what it was made from, fit again what is drawn, cut thumbnails, write.

Every input but the scores may be missing. The page then shows what there is, and a note says which option brings the
rest.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapters.bodies import find_body
from adapters.readers import open_keypoints
from adapters.recorded_sources import recorded_sources
from adapters.report.fits import Fits, find_keypoints, fit_rows, nobody, seen_only
from adapters.report.page import PageParts, write_page
from adapters.report.page_data import ArrayBlock, add_body, add_fits, add_scores, drawing_texts, row_texts
from adapters.report.scores import SORT_COLUMN, Scores, read_scores
from adapters.report.summary import summarise
from adapters.report.thumbnails import (
    SIZE_PX,
    Thumbnail,
    empty_frame,
    find_pictures,
    make_thumbnails,
    person_box,
)
from adapters.table_scoring import ScoringOptions, trusted_calibration
from engine.bodies import EMBEDDED_BODY
from engine.body import BodyModel
from engine.calibration import Calibration, calibrated_noise
from engine.calibration_file import as_record, load_calibration
from engine.keypoint_body import reduce_body
from engine.keypoints import find_schema
from engine.posed_fit import POSED_NOISE, make_context
from engine.shape_file import PersonShape, load_shape
from engine.version import VERSION

MOST_ROWS = 20_000
"""A page of so many rows is about 12 MB without thumbnails."""

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class ReportInputs:
    """Where things are; what is empty or None is looked for where the result file says that it was."""

    scores: Path
    images: Path | None = None
    keypoints: tuple[Path, ...] = ()
    shapes: tuple[Path, ...] = ()
    body: str | None = None
    calibration: Path | None = None
    schema: str | None = None
    title: str | None = None
    most_rows: int = MOST_ROWS
    thumbnail_px: int = SIZE_PX


@dataclass(frozen=True)
class ReportMade:
    """What a page holds."""

    rows: int
    bodies: int
    """Rows with a fitted body."""
    pictures: int
    notes: tuple[str, ...]
    """What is missing and what brings it."""
    folder: Path | None
    """Of the pictures, where they lie beside the page."""


@dataclass(frozen=True)
class _Drawings:
    """Fits and what they are drawn with."""

    fits: Fits
    texts: dict[str, Any]
    body: BodyModel | None
    betas: int


def make_report(
    inputs: ReportInputs, out: str | os.PathLike[str], on_progress: Progress = lambda what, done, expected: None
) -> ReportMade:
    """Write the page of a result file.

    Raises:
        ValueError: a file that was named is missing, damaged or belongs to another run.
    """
    every = read_scores(inputs.scores)
    summary = summarise(every)
    scores = _lowest(every, inputs.most_rows)
    given = _complete(inputs, every)
    people = [(path.stem, load_shape(path)) for path in given.shapes]
    notes: list[str] = []
    if len(scores) < len(every):
        notes.append(f"The page shows the {len(scores):,} rows that score lowest, of {len(every):,}: see --most.")
    person = _whose(scores, people)
    drawings = _draw(given, scores, people, person, notes, on_progress)
    thumbnails = _thumbnails(given, scores, drawings.fits, notes, on_progress)
    fits = drawings.fits
    boxes = [person_box(p, c > 0) for p, c in zip(fits.keypoints_px, fits.confidence, strict=True)]
    frames = [
        empty_frame(box, inputs.thumbnail_px) if made is None else made.frame
        for made, box in zip(thumbnails, boxes, strict=True)
    ]
    block = ArrayBlock()
    add_scores(block, scores, person)
    add_fits(block, fits, frames, np.array([made is not None for made in thumbnails], bool))
    if drawings.body is not None:
        add_body(block, drawings.body, drawings.betas)
    manifest = {
        "title": inputs.title or "Is it the same body?",
        "version": VERSION,
        "mode": scores.mode,
        "source": inputs.scores.name,
        "summary": summary,
        "notes": notes,
        "people": [
            {"name": name, "references": shape.used_references, "betas": [round(float(b), 5) for b in shape.betas]}
            for name, shape in people
        ],
        "several": scores.best_match is not None,
        "sort": SORT_COLUMN[scores.mode],
        "body": people[0][1].body_name if people else None,
        **row_texts(scores),
        **drawings.texts,
        "arrays": block.entries,
    }
    folder = write_page(out, PageParts(manifest, block.text(), thumbnails))
    pictures = sum(made is not None for made in thumbnails)
    return ReportMade(len(scores), int(fits.drawn.sum()), pictures, tuple(notes), folder)


def _lowest(scores: Scores, most: int) -> Scores:
    """The rows that score lowest, in the order of the file; rows without a score last."""
    if len(scores) <= most:
        return scores
    order = np.argsort(scores.numbers[SORT_COLUMN[scores.mode]], kind="stable")
    return scores.rows(np.sort(order[:most]))


def _complete(inputs: ReportInputs, scores: Scores) -> ReportInputs:
    """With what the result file recorded, as far as it is still there."""
    recorded = recorded_sources(scores.metadata)
    folder = inputs.scores.parent

    def still_there(paths: Sequence[str]) -> tuple[Path, ...]:
        found = tuple(folder / path for path in paths)
        return found if all(path.exists() for path in found) else ()

    body = inputs.body or recorded.body or EMBEDDED_BODY
    if inputs.body is None and body != EMBEDDED_BODY:
        body = str(folder / body)
    calibration = still_there([recorded.calibration] if recorded.calibration else [])
    return ReportInputs(
        scores=inputs.scores,
        images=inputs.images,
        keypoints=inputs.keypoints or still_there(recorded.keypoints),
        shapes=inputs.shapes or still_there(recorded.shapes),
        body=body,
        calibration=inputs.calibration or (calibration[0] if calibration else None),
        schema=inputs.schema or recorded.schema,
        title=inputs.title,
        most_rows=inputs.most_rows,
        thumbnail_px=inputs.thumbnail_px,
    )


def _whose(scores: Scores, people: list[tuple[str, PersonShape]]) -> np.ndarray:
    """The shape that each row is about."""
    if scores.best_match is None or len(people) < 2:
        return np.zeros(len(scores), int)
    number = {name: i for i, (name, _) in enumerate(people)}
    unknown = sorted({name for name in scores.best_match if name} - set(number))
    if unknown:
        raise ValueError(f"the scores are about {', '.join(unknown)} as well; give that shape too: --shape")
    return np.array([number.get(name, 0) for name in scores.best_match], int)


def _draw(
    given: ReportInputs,
    scores: Scores,
    people: list[tuple[str, PersonShape]],
    person: np.ndarray,
    notes: list[str],
    on_progress: Progress,
) -> _Drawings:
    if not given.keypoints:
        notes.append("No bodies are drawn: the keypoints were not found; give them with --keypoints.")
        nothing = {"keypoint_names": [], "edges": [], "parents": [], "limbs": []}
        return _Drawings(seen_only(nobody(len(scores))), nothing, None, 0)
    body = find_body(given.body or EMBEDDED_BODY)
    source = open_keypoints(given.keypoints, find_schema(given.schema) if given.schema else None)
    reduced = reduce_body(body, source.schema)
    seen = find_keypoints(scores, source, reduced)
    texts = drawing_texts(reduced.schema, body.parents)
    if scores.mode == "rest" or not people:
        notes.append(
            "No bodies are drawn: these are scores of --pose rest, which fits no poses."
            if scores.mode == "rest"
            else "No bodies are drawn: the shape file was not found; give it with --shape."
        )
        return _Drawings(seen_only(seen), texts, None, 0)
    for _, shape in people:
        shape.check_body(reduced, body.fingerprint)
    calibration = _calibration(given, people)
    fits = fit_rows(
        make_context(reduced, noise=calibrated_noise(POSED_NOISE, calibration)),
        seen,
        [shape for _, shape in people],
        person,
        calibration,
        lambda done, expected: on_progress("fitting", done, expected),
    )
    if given.body != EMBEDDED_BODY:
        notes.append(f"The page holds the mesh of {body.name}: pass it on only if the licence of that body allows it.")
    return _Drawings(fits, texts, body if fits.drawn.any() else None, reduced.beta_count)


def _calibration(given: ReportInputs, people: list[tuple[str, PersonShape]]) -> Calibration:
    own = None if given.calibration is None else as_record(load_calibration(given.calibration))
    several = tuple(people) if len(people) > 1 else ()
    return trusted_calibration(people[0][1], ScoringOptions("free", people=several, calibration=own))


def _thumbnails(
    given: ReportInputs, scores: Scores, fits: Fits, notes: list[str], on_progress: Progress
) -> list[Thumbnail | None]:
    if given.images is None:
        notes.append("No pictures are shown: give the folder that holds them with --images.")
        return [None] * len(scores)
    paths = find_pictures(given.images, scores.image)
    missing = sum(path is None for path in paths)
    boxes = [person_box(p, c > 0) for p, c in zip(fits.keypoints_px, fits.confidence, strict=True)]
    made = make_thumbnails(
        paths, boxes, given.thumbnail_px, lambda done, expected: on_progress("pictures", done, expected)
    )
    unreadable = sum(path is not None and one is None for path, one in zip(paths, made, strict=True))
    if missing:
        notes.append(f"{missing:,} of {len(paths):,} pictures were not found in the folder given with --images.")
    if unreadable:
        notes.append(f"{unreadable:,} pictures could not be read: damaged, too large, or no picture.")
    return made
