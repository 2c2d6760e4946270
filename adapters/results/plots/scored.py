"""A result file in a notebook: a summary, and figures of its rows.

Result files hold no poses, so drawing a row fits it again; fits are deterministic, and only requested rows are fitted.
The first fit of a process compiles; ``adapters.jobs.compile_cache.enable_compile_cache`` keeps the compiled code.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from adapters.bodies.find import find_body
from adapters.results.picture_files import find_pictures
from adapters.results.plots.bodies import body_views
from adapters.results.plots.histograms import score_histogram
from adapters.results.plots.overlays import PARTS, PROPORTION, Panel, overlay
from adapters.results.plots.people import DrawnPerson, drawn_person
from adapters.results.plots.style import ShownFigure
from adapters.results.plots.summary_html import scores_html
from adapters.results.report.drawings import Drawings, FitSources, People, complete, draw_rows, load_people, whose
from adapters.results.report.scores import SORT_COLUMN, Scores, read_scores
from adapters.results.report.thumbnails import make_thumbnails
from engine.body.embedded import EMBEDDED_BODY

_PICTURE_PX = 900
"""Longer side of a picture in an overlay."""

Row = str | tuple[str, int]
"""A picture's name as in the result, with the number of the person if it shows several."""


@dataclass(frozen=True)
class ScoredPictures:
    """A result file. ``open_scores`` makes it. A notebook shows its counts, its histogram and its extreme rows."""

    scores: Scores
    sources: FitSources
    """Sources of the scores, if they still exist."""
    people: People
    images: Path | None
    _fitted: dict[int, Drawings] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.scores)

    def _repr_html_(self) -> str:
        return scores_html(self.scores, self.sources.scores.name)

    def histogram(self, column: str | None = None, threshold: float | None = None) -> ShownFigure:
        """``histograms.score_histogram`` of the whole result."""
        return score_histogram(self.scores, column, threshold)

    def overlay(self, *rows: Row, parts: Sequence[str] = PARTS) -> ShownFigure:
        """Pictures with their keypoints and the fitted reference body; without ``images`` on an empty background.

        Raises:
            ValueError: no such row, an unknown part, or the keypoints are missing.
        """
        found = [self._row(row) for row in rows]
        drawn = [self._person(row) for row in found]
        paths = [None] * len(found)
        if self.images is not None:
            paths = find_pictures(self.images, [self.scores.image[row] for row in found])
        pictures = make_thumbnails(paths, [person.frame(PROPORTION) for person in drawn], _PICTURE_PX)
        return overlay(
            [
                Panel(person, picture, self.scores.image[row], self._remark(row))
                for row, person, picture in zip(found, drawn, pictures, strict=True)
            ],
            parts,
        )

    def bodies(self, row: Row | None = None, views: Sequence[str] = ("front", "side")) -> ShownFigure:
        """The reference body, and beside it a picture's own most probable body; without a row every reference body.

        Raises:
            ValueError: no such row, it has no fitted body, or the shape file is missing.
        """
        if not self.people:
            raise ValueError("no bodies to show: the shape file was not found; give it with shapes=")
        body = find_body(self.sources.body or EMBEDDED_BODY)
        if row is None:
            return body_views(body, {name: shape.betas for name, shape in self.people}, views)
        at = self._row(row)
        drawings = self._drawings(at)
        if not drawings.fits.drawn[0]:
            why = drawings.notes or (f"its status is {self.scores.status[at]}",)
            raise ValueError(f"{self.scores.image[at]} has no fitted body: {' '.join(why)}")
        name, shape = self.people[int(drawings.fits.person[0])]
        own = f"{self.scores.image[at]}, own body"
        return body_views(body, {name: shape.betas, own: drawings.fits.own_betas[0]}, views)

    def _row(self, row: Row) -> int:
        image, instance = (row, None) if isinstance(row, str) else row
        found = [
            at
            for at, key in enumerate(zip(self.scores.image, self.scores.instance, strict=True))
            if key[0] == image and instance in (None, key[1])
        ]
        if not found:
            first = self.scores.image[0] if self.scores.image else "none"
            raise ValueError(f"no row {image!r} in {self.sources.scores.name}; its first: {first}")
        if len(found) > 1:
            numbers = ", ".join(str(self.scores.instance[at]) for at in found)
            raise ValueError(f"{image} shows several people; say which: (name, instance), instance one of {numbers}")
        return found[0]

    def _drawings(self, row: int) -> Drawings:
        if row not in self._fitted:
            one = self.scores.rows(np.array([row]))
            self._fitted[row] = draw_rows(self.sources, one, self.people, whose(one, self.people))
        return self._fitted[row]

    def _person(self, row: int) -> DrawnPerson:
        drawings = self._drawings(row)
        if drawings.schema is None:
            raise ValueError("nothing to draw: the keypoints were not found; give them with keypoints=")
        betas = self.people[int(drawings.fits.person[0])][1].betas if self.people else None
        return drawn_person(drawings, 0, betas)

    def _remark(self, row: int) -> str:
        column = SORT_COLUMN[self.scores.mode]
        value = self.scores.numbers[column][row]
        if np.isnan(value):
            return self.scores.status[row]
        if column == "consistency":
            return f"consistency {value:.2f}"
        probability = self.scores.numbers["same_body_probability"][row]
        return f"evidence {value:+.1f} nats, probability {probability:.2f}".replace("-", "−")


def open_scores(
    scores: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    keypoints: Sequence[str | os.PathLike[str]] = (),
    shapes: Sequence[str | os.PathLike[str]] = (),
    body: str | None = None,
    calibration: str | os.PathLike[str] | None = None,
    schema: str | None = None,
) -> ScoredPictures:
    """Open a result of ``samebody score`` for figures.

    Args:
        images: the folder that holds the pictures.
        keypoints: files that were scored, or folders of them. This and the next arguments are only needed if the result
            does not record them (.csv, .jsonl), or if files have been moved.
        shapes: shapes of the comparison.
        body: ``anny24`` or a body file.

    Raises:
        ValueError: a named file is missing, damaged or belongs to another run.
    """
    read = read_scores(scores)
    given = FitSources(
        Path(scores),
        tuple(Path(path) for path in keypoints),
        tuple(Path(path) for path in shapes),
        body,
        None if calibration is None else Path(calibration),
        schema,
    )
    sources = complete(given, read)
    return ScoredPictures(read, sources, load_people(sources), None if images is None else Path(images))
