"""The data for drawing the rows of a result file: its inputs, and the rows fitted again.

The page (``build``) and figures (``adapters.results.plots``) use it. Every input but the scores may be missing; a note
then names the parts that cannot be drawn and the option that adds them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from adapters.bodies.find import find_body
from adapters.jobs.prepared import prepare
from adapters.jobs.scorer import calibration_of
from adapters.keypoints.readers import ReadingOptions, open_keypoints
from adapters.keypoints.readers.file_rules import FILE_RULES
from adapters.results.recorded_sources import is_below, recorded_sources
from adapters.results.report.fits import Fits, Fitter, find_keypoints, fit_rows, nobody, seen_only
from adapters.results.report.outlines import OutlineDrawings, draw_outlines
from adapters.results.report.scores import Scores
from engine.body.embedded import EMBEDDED_BODY
from engine.body.model import BodyModel
from engine.body.schemas import KeypointSchema, find_schema
from engine.evidence.calibration import Calibration
from engine.evidence.calibration_file import load_calibration
from engine.shape import Shape

Progress = Callable[[str, int, int | None], None]
People = Sequence[tuple[str, Shape]]
"""Shapes by name, in the order of the command line."""


@dataclass(frozen=True)
class FitSources:
    """Paths of the inputs; for an empty path or None, the path that the result file recorded is used."""

    scores: Path
    keypoints: tuple[Path, ...] = ()
    shapes: tuple[Path, ...] = ()
    body: str | None = None
    calibration: Path | None = None
    schema: str | None = None
    reading: ReadingOptions | None = None
    """The rules for reading keypoints; None takes the recorded ones."""


@dataclass(frozen=True)
class Drawings:
    """Fits, with the data for drawing them."""

    fits: Fits
    schema: KeypointSchema | None
    """Schema of the keypoints; None if there are none."""
    parents: tuple[int, ...]
    body: BodyModel | None
    """None if no row could be fitted."""
    notes: tuple[str, ...]
    """Missing parts, and the options that add them."""
    outlines: OutlineDrawings | None = None
    """None if there are no masks."""


def complete(sources: FitSources, scores: Scores) -> FitSources:
    """The sources completed with the paths that the result file recorded, if these still exist."""
    recorded = recorded_sources(scores.metadata)
    folder = sources.scores.parent

    def still_there(paths: Sequence[str]) -> tuple[Path, ...]:
        found = tuple(folder / path for path in paths)
        return found if all(is_below(path, folder) and path.exists() for path in found) else ()

    body = sources.body or recorded.body or EMBEDDED_BODY
    if sources.body is None and body != EMBEDDED_BODY:
        if not is_below(folder / body, folder):
            raise ValueError(f"{sources.scores}: its body lies elsewhere; name it with --body")
        body = str(folder / body)
    calibration = still_there([recorded.calibration] if recorded.calibration else [])
    return replace(
        sources,
        keypoints=sources.keypoints or still_there(recorded.keypoints),
        shapes=sources.shapes or still_there(recorded.shapes),
        body=body,
        calibration=sources.calibration or (calibration[0] if calibration else None),
        schema=sources.schema or recorded.schema,
        reading=sources.reading or recorded.reading or FILE_RULES,
    )


def load_people(sources: FitSources) -> People:
    """The shapes, by the names of their files.

    Raises:
        ValueError: a file is missing or damaged.
    """
    return [(path.stem, Shape.load(path)) for path in sources.shapes]


def whose(scores: Scores, people: People) -> Int[np.ndarray, " rows"]:
    """The shape that each row is about.

    Raises:
        ValueError: the shape of a row's person was not given.
    """
    if scores.best_match is None or len(people) < 2:
        return np.zeros(len(scores), int)
    number = {name: i for i, (name, _) in enumerate(people)}
    unknown = sorted({name for name in scores.best_match if name} - set(number))
    if unknown:
        raise ValueError(f"the scores are about {', '.join(unknown)} as well; give that shape too: --shape")
    return np.array([number.get(name, 0) for name in scores.best_match], int)


def draw_rows(
    given: FitSources,
    scores: Scores,
    people: People,
    person: Int[np.ndarray, " rows"],
    on_progress: Progress = lambda what, done, expected: None,
    chosen: Bool[np.ndarray, " rows"] | None = None,
) -> Drawings:
    """Fit the rows again.

    Args:
        given: the complete sources.
        person: the index in ``people`` of each row's person.
        chosen: the rows to fit; all by default. The others are drawn as keypoints only.

    Raises:
        ValueError: a file is missing or damaged, or they do not belong together.
    """
    if not given.keypoints:
        note = "No bodies are drawn: the keypoints were not found; give them with --keypoints."
        return Drawings(seen_only(nobody(len(scores))), None, (), None, (note,))
    body = find_body(given.body or EMBEDDED_BODY)
    schema = find_schema(given.schema) if given.schema else None
    source = open_keypoints(given.keypoints, schema, options=given.reading or FILE_RULES)
    prepared = prepare(body, source.schema)
    reduced = prepared.reduced
    seen = find_keypoints(scores, source, reduced)
    if scores.mode == "rest" or not people:
        note = (
            "No bodies are drawn: these are scores of --pose rest, which fits no poses."
            if scores.mode == "rest"
            else "No bodies are drawn: the shape file was not found; give it with --shape."
        )
        fits = seen_only(seen)
        outlines = draw_outlines(seen, reduced.schema, fits, None, ())
        return Drawings(fits, reduced.schema, body.parents, None, (note,), outlines)
    for _, shape in people:
        shape.check_body(reduced, body.fingerprint)
    shapes = [shape for _, shape in people]
    fits = fit_rows(
        Fitter.of(prepared, shapes, calibration_in_use(given, people)),
        seen,
        shapes,
        person,
        lambda done, expected: on_progress("fitting", done, expected),
        chosen,
    )
    outlines = draw_outlines(seen, reduced.schema, fits, body, [shape.betas for shape in shapes])
    return Drawings(fits, reduced.schema, body.parents, body if fits.drawn.any() else None, (), outlines)


def calibration_in_use(given: FitSources, people: People) -> Calibration:
    """The calibration of the scores: the given one, or that of the shapes."""
    own = None if given.calibration is None else load_calibration(given.calibration)
    return calibration_of(tuple(shape for _, shape in people), own)
