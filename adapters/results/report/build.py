"""From a result file to a page: fit the drawn rows again, cut thumbnails, write.

Every input but the scores may be missing. The page then shows the available parts, and a note names the option that
adds the rest.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from adapters.jobs.calibrate import calibration_advice
from adapters.results.near_duplicates import first_alike
from adapters.results.own_folder import check_own_folder
from adapters.results.picture_files import find_pictures
from adapters.results.reasons import reasons_of
from adapters.results.report.decision import add_decision, decide, result_digest
from adapters.results.report.drawings import (
    FitSources,
    Progress,
    calibration_in_use,
    complete,
    draw_rows,
    load_people,
    whose,
)
from adapters.results.report.fits import Fits
from adapters.results.report.page import PageParts, pictures_folder, write_page
from adapters.results.report.page_data import (
    ArrayBlock,
    add_body,
    add_fits,
    add_outlines,
    add_scores,
    drawing_texts,
    row_texts,
)
from adapters.results.report.scores import Scores, read_scores
from adapters.results.report.summary import summarise
from adapters.results.report.thumbnails import (
    SIZE_PX,
    Thumbnail,
    empty_frame,
    make_thumbnails,
    person_box,
)
from engine import VERSION
from engine.body.embedded import EMBEDDED_BODY

MOST_ROWS = 20_000
"""A page with this number of rows is about 12 MB without thumbnails."""
MOST_BODIES = 500
"""Rows with a body; fits of this number take a few seconds."""


@dataclass(frozen=True)
class ReportInputs:
    """The inputs of a page."""

    sources: FitSources
    images: Path | None = None
    """The folder that holds the pictures."""
    title: str | None = None
    most_rows: int = MOST_ROWS
    most_bodies: int = MOST_BODIES
    """Number of rows with a fitted body, taken by rank."""
    thumbnails: Sequence[Thumbnail | None] | None = None
    """Thumbnails of each row of the result, if they exist; by default they are made."""
    reasons: Sequence[str] | None = None
    """Reasons of each row of the result, in words; by default those of the fitted rows."""
    without_pictures: bool = False
    """True if there are no pictures; then no note asks for them."""


@dataclass(frozen=True)
class ReportMade:
    """The contents of a page."""

    rows: int
    bodies: int
    """Rows with a fitted body."""
    pictures: int
    notes: tuple[str, ...]
    """Missing parts, and the options that add them."""
    folder: Path | None
    """Folder of the pictures, if they are beside the page."""


def make_report(
    inputs: ReportInputs, out: str | os.PathLike[str], on_progress: Progress = lambda what, done, expected: None
) -> ReportMade:
    """Write the page of a result file.

    Raises:
        ValueError: a file that was named is missing, damaged or belongs to another run.
    """
    sources = inputs.sources
    keep = [path for path in (inputs.images, sources.scores, *sources.keypoints, *sources.shapes) if path is not None]
    if inputs.images is not None:  # before anything is computed
        check_own_folder(pictures_folder(out), keep)
    every = read_scores(sources.scores)
    summary = summarise(every)
    decided = decide(every)
    chosen = _first_rows(decided.ranks, inputs.most_rows)
    scores = every.rows(chosen)
    given = complete(inputs.sources, every)
    people = load_people(given)
    notes: list[str] = []
    if len(scores) < len(every):
        notes.append(f"The page shows the {len(scores):,} rows that rank first, of {len(every):,}: see --most.")
    person = whose(scores, people)
    fitted = _ranked_first(decided.ranks[chosen], inputs.most_bodies)
    drawings = draw_rows(given, scores, people, person, on_progress, fitted)
    notes.extend(drawings.notes)
    if drawings.body is not None and given.body != EMBEDDED_BODY:
        name = drawings.body.name
        notes.append(f"The page holds the mesh of {name}: pass it on only if the licence of that body allows it.")
    if inputs.thumbnails is None:
        thumbnails = _thumbnails(inputs, scores, drawings.fits, notes, on_progress)
    else:
        thumbnails = [inputs.thumbnails[row] for row in chosen]
    first = first_alike([made and made.hash for made in thumbnails], scores.image)
    fits = drawings.fits
    boxes = [person_box(p, c > 0) for p, c in zip(fits.keypoints_px, fits.confidence, strict=True)]
    frames = [
        empty_frame(box, SIZE_PX) if made is None else made.frame for made, box in zip(thumbnails, boxes, strict=True)
    ]
    block = ArrayBlock()
    add_scores(block, scores, person)
    several = scores.best_match is not None
    group = person if several else np.zeros(len(scores), int)
    calibration = calibration_in_use(given, people) if scores.mode == "free" and people else None
    advice = None if calibration is None else calibration_advice(calibration)
    if advice is not None:
        notes.append(f"These scores are {advice}.")
    known = calibration is not None and calibration.of_a_detector
    decision = decided.on_page(chosen, decide(scores, first, known))
    if inputs.reasons is None:
        reasons = reasons_of(fits.proportion_deviations, decision.kinds)
    else:
        reasons = [inputs.reasons[int(row)] for row in chosen]
    decided_texts = add_decision(block, decision, reasons, group, first)
    add_fits(block, fits, frames, np.array([made is not None for made in thumbnails], bool))
    outline_words = add_outlines(block, drawings.outlines, frames)
    if drawings.body is not None:
        add_body(block, drawings.body, drawings.fits.own_betas.shape[1])
    manifest = {
        "title": inputs.title or "Is it the same body?",
        "version": VERSION,
        "mode": scores.mode,
        "source": inputs.sources.scores.name,
        "summary": summary,
        "notes": notes,
        "people": [
            {"name": name, "references": shape.used_references, "betas": [round(float(b), 5) for b in shape.betas]}
            for name, shape in people
        ],
        "several": several,
        "groups": [name for name, _ in people] if several else [],
        "grouped_by": "best match",
        "digest": result_digest(scores),
        "body": people[0][1].body_name if people else None,
        "outlines": outline_words,
        **decided_texts,
        **row_texts(scores),
        **drawing_texts(drawings.schema, drawings.parents),
        "arrays": block.entries,
    }
    folder = write_page(out, PageParts(manifest, block.text(), thumbnails), keep)
    pictures = sum(made is not None for made in thumbnails)
    return ReportMade(len(scores), int(fits.drawn.sum()), pictures, tuple(notes), folder)


def _first_rows(ranks: Int[np.ndarray, " rows"], most: int) -> Int[np.ndarray, " some"]:
    """The first rows by rank, in the order of the file; rows without a rank are taken last."""
    if len(ranks) <= most:
        return np.arange(len(ranks))
    order = np.argsort(np.where(ranks == 0, len(ranks) + 1, ranks), kind="stable")
    return np.sort(order[:most])


def _ranked_first(ranks: Int[np.ndarray, " rows"], most: int) -> Bool[np.ndarray, " rows"]:
    """The rows that are fitted."""
    fitted = np.zeros(len(ranks), bool)
    fitted[_first_rows(ranks, most)] = True
    return fitted


def _thumbnails(
    inputs: ReportInputs, scores: Scores, fits: Fits, notes: list[str], on_progress: Progress
) -> list[Thumbnail | None]:
    if inputs.images is None and inputs.without_pictures:
        return [None] * len(scores)
    if inputs.images is None:
        notes.append("No pictures are shown: give the folder that holds them with --images.")
        return [None] * len(scores)
    paths = find_pictures(inputs.images, scores.image)
    missing = sum(path is None for path in paths)
    boxes = [person_box(p, c > 0) for p, c in zip(fits.keypoints_px, fits.confidence, strict=True)]
    made = make_thumbnails(paths, boxes, SIZE_PX, lambda done, expected: on_progress("pictures", done, expected))
    unreadable = sum(path is not None and one is None for path, one in zip(paths, made, strict=True))
    if missing:
        notes.append(f"{missing:,} of {len(paths):,} pictures were not found in the folder given with --images.")
    if unreadable:
        notes.append(f"{unreadable:,} pictures could not be read: damaged, too large, or no picture.")
    return made
