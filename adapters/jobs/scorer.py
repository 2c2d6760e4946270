"""The one pipeline from keypoints to scores: command line, Ray, host, HTTP, report and Python use this class.

    keypoints -> evidence of each picture -> comparison with the shapes -> fit at the best shape -> columns

Mode, body and calibration come from the shapes. ``engine.evidence.stages`` defines the stages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from adapters.jobs.prepared import COMPUTING, NETWORK_SOLVERS, PreparedBody, Seen, prepare
from adapters.keypoints.table import KeypointTable
from adapters.results.scores import Scores, arrow_columns
from engine.body.model import BodyModel
from engine.body.schemas import KeypointSchema
from engine.evidence.amortised.stage import consistency
from engine.evidence.calibration import Calibration
from engine.evidence.calibration_file import calibration_id, default_calibration
from engine.evidence.shape_evidence import Evidence
from engine.evidence.stages import PictureEvidence, compare_evidence
from engine.picture.swapped_labels import ARMS, LEGS
from engine.posed.first_order import SOLVERS as POSED_SOLVERS
from engine.posed.scoring import EXCESS_THRESHOLD, fit_at_shapes, fit_to_shapes
from engine.posed.search import PosedContext
from engine.rest.fit import SOLVERS as REST_SOLVERS
from engine.rest.scores import REST_THRESHOLD
from engine.rest.scoring import score_rest_pictures
from engine.scores import Mode, Status, score_names
from engine.shape import Shape, ShapeFileError

FREE_SOLVERS = (*POSED_SOLVERS, *NETWORK_SOLVERS)
"""Sources of the evidence of free poses: fits, or the network."""

CHUNK_SIZE: dict[Mode, int] = {"rest": 65536, "free": 4096}
"""Pictures that are computed together: full tiles, a few seconds to a minute of work."""

SWAPPED_LABELS = {
    LEGS: "left and right legs are swapped in the keypoints; scored the other way round",
    ARMS: "left and right arms are swapped in the keypoints; scored the other way round",
    LEGS + ARMS: "left and right arms and legs are swapped in the keypoints; scored the other way round",
}


@dataclass(frozen=True)
class ScoreSettings:
    """Everything besides keypoints, shapes and body that may change a number in a row."""

    mode: Mode | None = None
    """Pose mode; by default that of the shapes."""
    solver: str = "auto"
    """By default the shapes' own source of evidence (``PreparedBody.free_solver``)."""
    threshold: float | None = None
    """Value at which consistency is 1/e; by default the mode's constant."""
    calibration: Calibration | None = None
    """Calibration; by default that of the shapes, or else the shipped one."""
    focal_length_px: float | None = None
    """Focal length of the camera, in pixels of these pictures; by default perspective is neglected. Free pose only."""
    fit: bool = False
    """If the evidence comes from the network, fit every picture at the shape too, for the columns of a fit."""

    def facts(self) -> list[str]:
        """All settings as text, for comparing runs."""
        calibration = "" if self.calibration is None else calibration_id(self.calibration)
        return [
            str(self.mode),
            self.solver,
            repr(self.threshold),
            calibration,
            repr(self.focal_length_px),
            str(self.fit),
        ]


class Scorer:
    """Scores tables of one schema against one shape or several. Making it may take seconds; make it once."""

    def __init__(
        self,
        body: BodyModel,
        schema: KeypointSchema,
        people: Shape | Mapping[str, Shape],
        settings: ScoreSettings | None = None,
    ) -> None:
        """
        Args:
            body: body of the shapes.
            schema: schema of the keypoints.
            people: one shape, or several by name; each row then describes the best match.

        Raises:
            ValueError: a shape belongs to another body or has no evidence to compare with, shapes disagree about mode
                or calibration, or the solver does not go with the mode.
        """
        settings = settings or ScoreSettings()
        self.names: tuple[str, ...] = () if isinstance(people, Shape) or len(people) < 2 else tuple(people)
        self.shapes: tuple[Shape, ...] = (people,) if isinstance(people, Shape) else tuple(people.values())
        if not self.shapes:
            raise ValueError("there is nobody to compare with; give at least one shape")
        self.prepared = prepare(body, schema)
        for shape in self.shapes:
            shape.check_body(self.prepared.reduced, body.fingerprint)
        self.mode: Mode = scoring_mode(self.shapes, settings)
        check_solver(settings.solver, self.mode)
        check_focal_length(settings.focal_length_px, self.mode)
        if self.mode == "free":
            solvers = [shape.solver for shape in self.shapes]
            solver = self.prepared.free_solver(settings.solver, settings.focal_length_px, solvers)
            settings = replace(settings, solver=solver)
        self.solver = settings.solver
        self.fits = settings.fit or settings.solver != "amortised"
        """True if rows have the columns of a fit: always, if the evidence comes from fits."""
        self.calibration = calibration_of(self.shapes, settings.calibration)
        self._score: Callable[[Seen], ScoredColumns] = (
            _rest_scorer(self.prepared, self.shapes, settings)
            if self.mode == "rest"
            else _free_scorer(self.prepared, self.shapes, settings, self.calibration)
        )

    @property
    def columns(self) -> pa.Schema:
        """Columns of the result files."""
        return arrow_columns(self.mode, several=bool(self.names), fits=self.fits)

    def __call__(self, table: KeypointTable) -> Scores:
        """One row per row of keypoints, in the same order.

        Raises:
            ValueError: the table lacks keypoints of the scorer's schema.
        """
        seen = self.prepared.seen(table)
        with COMPUTING:
            found = self._score(seen)
        return scores_of(self.mode, table, found, self.names)


@dataclass(frozen=True)
class ScoredColumns:
    """Scores in either mode."""

    status: np.ndarray
    numbers: Mapping[str, Any]
    best: np.ndarray | None = None
    swapped_labels: np.ndarray | None = None
    evidence: Evidence | None = None

    def rows(self, chosen: slice) -> "ScoredColumns":
        """Some of the rows."""

        def part(values: Any) -> Any:
            return None if values is None else np.asarray(values)[chosen]

        numbers = {name: part(values) for name, values in self.numbers.items()}
        evidence = None if self.evidence is None else Evidence(*(part(values) for values in self.evidence))
        return ScoredColumns(part(self.status), numbers, part(self.best), part(self.swapped_labels), evidence)


def scores_of(mode: Mode, table: KeypointTable, found: ScoredColumns, people: tuple[str, ...] = ()) -> Scores:
    """Scores of a table's rows.

    Args:
        people: names of the shapes, if there are several.
    """
    best = None
    if people and found.best is not None:
        best = np.where(np.isnan(found.numbers["consistency"]), -1, found.best).astype(np.int32)
    names = (*score_names(mode, fits="reprojection_error" in found.numbers), *(("margin",) if people else ()))
    return Scores(
        mode=mode,
        image=table.image,
        instance=table.instance,
        # A row that could not be read keeps its own status; the engine got a picture without keypoints.
        status=np.where(table.status == Status.OK, found.status, table.status).astype(np.int8),
        numbers={name: np.asarray(found.numbers[name], np.float32) for name in names},
        detail=_details(table, found.swapped_labels),
        people=people,
        best=best,
        evidence=found.evidence,
    )


def _rest_scorer(
    prepared: PreparedBody, shapes: tuple[Shape, ...], settings: ScoreSettings
) -> Callable[[Seen], ScoredColumns]:
    shape, *others = shapes
    if others:
        raise ValueError("several shapes go with --pose free; the rest pose cannot tell bodies apart")
    level = REST_THRESHOLD if settings.threshold is None else settings.threshold

    def score(seen: Seen) -> ScoredColumns:
        found = score_rest_pictures(
            prepared.reduced, shape.betas, seen.keypoints, seen.confidence, settings.solver, threshold=level
        )
        return ScoredColumns(np.asarray(found.status), vars(found))

    return score


def _free_scorer(
    prepared: PreparedBody, shapes: tuple[Shape, ...], settings: ScoreSettings, calibration: Calibration
) -> Callable[[Seen], ScoredColumns]:
    if settings.threshold is not None and not settings.threshold > 0:
        raise ValueError(f"the threshold must be positive, not {settings.threshold}")
    evidence_stage = prepared.evidence_stage(calibration, settings.solver, settings.focal_length_px)
    betas = np.stack([shape.betas for shape in shapes])

    def score(seen: Seen) -> ScoredColumns:
        pictures = evidence_stage(*seen)
        compared = compare_evidence(pictures, shapes, calibration)
        best = betas[compared.best]
        fits = fit_columns(prepared.context, pictures, (seen.keypoints, seen.confidence), best, settings, calibration)
        return ScoredColumns(
            compared.status,
            {**compared._asdict(), **fits},
            compared.best,
            np.asarray(pictures.swapped_labels),
            pictures.evidence,
        )

    return score


def fit_columns(
    context: Callable[[Calibration], PosedContext],
    pictures: PictureEvidence,
    seen: tuple[np.ndarray, np.ndarray],
    betas: Float32[np.ndarray, "images betas"],
    settings: ScoreSettings,
    calibration: Calibration,
) -> dict[str, np.ndarray]:
    """Consistency with the shape that matches each picture best, and the columns of fits, if there are any.

    Args:
        context: makes the context of fits if they are needed, which takes seconds.
        seen: keypoints and confidence, in the body's columns.
        betas: best shape of each picture.
    """
    level = EXCESS_THRESHOLD if settings.threshold is None else settings.threshold
    if pictures.fit is not None:
        return fit_at_shapes(
            context(calibration), pictures.fit, betas.astype(pictures.fit.betas.dtype), level
        )._asdict()
    columns = fit_to_shapes(context(calibration), *seen, betas)._asdict() if settings.fit else {}
    return columns | {"consistency": consistency(pictures, betas, level)}


def scoring_mode(shapes: tuple[Shape, ...], settings: ScoreSettings) -> Mode:
    """The mode of the settings, or else that of the shapes.

    Raises:
        ValueError: the shapes were fitted in different modes, or in rest pose and the free pose is requested.
    """
    modes = {shape.mode for shape in shapes}
    if settings.mode is None and len(modes) > 1:
        raise ShapeFileError("the shapes were fitted in different modes; fit all of them with the same --pose")
    mode = settings.mode or shapes[0].mode
    if mode == "free" and "rest" in modes:
        raise ShapeFileError("the shape was fitted with --pose rest; fit again without it, or score with --pose rest")
    return mode


def calibration_of(shapes: tuple[Shape, ...], given: Calibration | None = None) -> Calibration:
    """The given calibration, that of the shapes, or the shipped one.

    Raises:
        ValueError: it belongs to another body, or the shapes have different calibrations.
    """
    if given is None:
        own = {calibration_id(c) if (c := shape.calibration) else "": c for shape in shapes}
        if len(own) > 1:
            raise ShapeFileError("the shapes were fitted with different calibrations; choose one: --calibration")
        (given,) = own.values()
    calibration = default_calibration() if given is None else given
    calibration.check_body(shapes[0].body_fingerprint)
    calibration.check_size(len(shapes[0].betas))
    return calibration


def check_solver(solver: str, mode: Mode) -> None:
    """Check that a mode has a solver of that name.

    Raises:
        ValueError: the mode has no such solver; the message lists its solvers.
    """
    known = REST_SOLVERS if mode == "rest" else FREE_SOLVERS
    if solver not in known:
        raise ValueError(f"--solver {solver} does not go with --pose {mode}, which has: {', '.join(known)}")


def check_focal_length(focal_length_px: float | None, mode: Mode) -> None:
    """Check that a focal length is positive and that this mode uses it.

    Raises:
        ValueError: it is not positive, or the mode is rest pose.
    """
    if focal_length_px is None:
        return
    if mode == "rest":
        raise ValueError("--focal-length goes with --pose free; the rest pose is fitted without perspective")
    if not 0 < focal_length_px < np.inf:
        raise ValueError(f"a focal length must be positive, in pixels, not {focal_length_px}")


def _details(table: KeypointTable, swapped: np.ndarray | None) -> pa.StringArray:
    if swapped is None or not swapped.any():
        return table.detail
    notes = [SWAPPED_LABELS.get(int(code)) for code in swapped]
    return pa.array([own or note for own, note in zip(table.detail.to_pylist(), notes, strict=True)], pa.string())
