"""Keypoints in, a shape out: choose the references, fit one β, keep the history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np

from adapters.jobs.prepared import COMPUTING, NETWORK_SOLVERS, PreparedBody, Seen, prepare
from adapters.jobs.scorer import check_focal_length, check_solver
from adapters.keypoints.people import box_areas
from adapters.keypoints.table import KeypointTable
from engine import VERSION
from engine.body.model import BodyModel
from engine.evidence.calibration import Calibration, calibrated_pictures
from engine.evidence.calibration_file import default_calibration
from engine.evidence.comparison import marginals
from engine.evidence.limbs import limb_logs, with_limbs
from engine.evidence.one_person import OUTLIER, against_the_others
from engine.evidence.shape_evidence import Evidence
from engine.posed.fit import POSED_NOISE, observe_pictures
from engine.posed.shared_shape import fit_shared_shapes
from engine.rest.fit import fit_rest_shape, fit_rest_shapes
from engine.rest.problem import REST_NOISE
from engine.rest.scoring import score_rest_people, score_rest_pictures
from engine.scores import LABELS, Mode, Status
from engine.shape import Reference, Shape

LEAST_COMPARED = 3
"""Least number of usable references for comparing each with the others."""

Person = Literal["largest", "all"]
PERSONS: Sequence[Person] = get_args(Person)

T = TypeVar("T")


@dataclass(frozen=True)
class FitSettings:
    """Settings of a fit."""

    person: Person = "largest"
    """The references in each picture: the person with the largest box of keypoints, or everybody."""
    mode: Mode = "free"
    solver: str = "auto"
    calibration: Calibration | None = None
    """Calibration of the detector, kept with the shape; by default the shipped one, which is not kept."""
    focal_length_px: float | None = None
    """Focal length of the camera, in pixels of the references; by default perspective is neglected. Free pose only."""
    drop_outliers: bool = False
    """Fit again without references that do not look like the others; the history keeps them."""


def choose_people(table: KeypointTable, person: Person) -> np.ndarray:
    """Row numbers of the references: everybody, or in each picture the person with the largest box."""
    readable = np.flatnonzero(table.status == Status.OK)
    if person == "all":
        return readable
    area = box_areas(table)
    images = table.image.to_numpy(zero_copy_only=False)
    largest: dict[str, int] = {}
    for row in readable:
        best = largest.setdefault(images[row], int(row))
        if area[row] > area[best]:
            largest[images[row]] = int(row)
    return np.array(sorted(largest.values()), int)


def fit_references(table: KeypointTable, body: BodyModel, settings: FitSettings | None = None) -> Shape:
    """Fit one shape to the people of a table, and keep the history.

    Raises:
        ValueError: no row of the table can be used, the table lacks keypoints of the body, the solver does not go
            with the mode, or the calibration belongs to another body.
    """
    settings = settings or FitSettings()
    rows = _usable_rows(table, body, settings)
    prepared = prepare(body, table.schema)
    if settings.mode == "free":
        settings = replace(settings, solver=prepared.free_solver(settings.solver, settings.focal_length_px))
    seen = prepared.seen(table).rows(rows)
    fit = _fit_rest if settings.mode == "rest" else _fit_free
    with COMPUTING:
        found = fit(prepared, seen, settings)
        odd = found.alike < OUTLIER
        if settings.drop_outliers and 0 < np.count_nonzero(odd) <= len(rows) // 2:
            again = fit(prepared, seen.rows(~odd), settings)
            found = _with_dropped(again, odd, found.alike)
    return _shape(table, rows, body, found, settings)


def fit_each(tables: Sequence[KeypointTable], body: BodyModel, settings: FitSettings) -> list[Shape | ValueError]:
    """``fit_references`` of several tables of one schema; each result is a shape or the exception. In rest pose all of
    them are fitted at once; a shape does not depend on the other tables, bit for bit."""
    if settings.mode != "rest" or settings.solver != "auto":
        return [_or_error(partial(fit_references, table, body, settings)) for table in tables]
    results: list[Any] = [_or_error(partial(_usable_rows, table, body, settings)) for table in tables]
    people = [number for number, found in enumerate(results) if not isinstance(found, ValueError)]
    if not people:
        return results
    prepared = prepare(body, tables[0].schema)
    rows = {number: results[number] for number in people}
    columns = [[values[rows[number]] for values in prepared.columns(tables[number])] for number in people]
    try:
        with COMPUTING:
            fitted = _fit_rest_people(prepared, *zip(*columns, strict=True))
    except ValueError:
        # Some person has too few keypoints; fitting one by one finds out who.
        return [_or_error(partial(fit_references, table, body, settings)) for table in tables]
    for number, found in zip(people, fitted, strict=True):
        results[number] = _or_error(partial(_shape, tables[number], rows[number], body, found, settings))
    return results


def _or_error(work: Callable[[], T]) -> T | ValueError:
    try:
        return work()
    except ValueError as error:
        return error


def _usable_rows(table: KeypointTable, body: BodyModel, settings: FitSettings) -> np.ndarray:
    check_solver(settings.solver, settings.mode)
    check_focal_length(settings.focal_length_px, settings.mode)
    if settings.calibration is not None:
        settings.calibration.check_body(body.fingerprint)
        settings.calibration.check_size(body.beta_count)
    rows = choose_people(table, settings.person)
    if not len(rows):
        raise ValueError("nobody was found in the reference pictures; there is nothing to fit")
    return rows


def _shape(table: KeypointTable, rows: np.ndarray, body: BodyModel, found: "_Fitted", settings: FitSettings) -> Shape:
    logs = limb_logs(table.keypoints[rows], table.confidence[rows], table.schema)
    worn = _known_clothes(table, rows, body, settings)
    references = tuple(
        Reference(
            image=table.image[int(row)].as_py(),
            instance=int(table.instance[row]),
            status=LABELS[found.status[i]],
            reprojection_error=_number(found.error[i]),
            log_bayes_factor=_number(found.alike[i]),
            dropped=bool(found.dropped is not None and found.dropped[i]),
            limbs=tuple(map(_number, logs[i])) if settings.mode == "free" else None,
            clothes_m=None if worn is None else _number(worn[i]),
        )
        for i, row in enumerate(rows)
    )
    if not any(reference.used for reference in references):
        reasons = ", ".join(sorted({reference.status for reference in references}))
        raise ValueError(
            f"none of {len(references)} references can be used ({reasons}); give pictures that show more of the person"
        )
    return Shape(
        betas=np.asarray(found.betas, np.float32),
        body_name=body.name,
        body_fingerprint=body.fingerprint,
        schema=table.schema.name,
        mode=settings.mode,
        solver=settings.solver,
        noise_level=(REST_NOISE if settings.mode == "rest" else POSED_NOISE).level,
        converged=bool(found.converged),
        samebody_version=VERSION,
        references=references,
        evidence=found.evidence,
        calibration=settings.calibration,
    )


def _known_clothes(table: KeypointTable, rows: np.ndarray, body: BodyModel, settings: FitSettings) -> np.ndarray | None:
    """Thickness of the references' clothes, NaN where it did not act on the evidence; None if it acted on none."""
    if table.clothes_m is None or table.outline_px is None or settings.mode == "rest":
        return None
    if not prepare(body, table.schema).sees_outlines(settings.solver):
        return None
    seen = np.isfinite(table.outline_px[rows]).any(axis=(1, 2))
    return np.where(seen, table.clothes_m[rows], np.nan)


class _Fitted(NamedTuple):
    """Result of a fit in either mode."""

    betas: np.ndarray
    converged: bool
    evidence: Evidence | None
    status: np.ndarray
    """Status of each reference."""
    error: np.ndarray
    alike: np.ndarray
    """Log Bayes factor of each reference against all others; NaN if there is nothing to compare."""
    dropped: np.ndarray | None = None
    """True for references that were left out; None for no such references."""


def _with_dropped(found: _Fitted, dropped: np.ndarray, alike: np.ndarray) -> _Fitted:
    """Add rows for references that were left out: status ok, and no error at this shape."""
    status, error = np.full(len(dropped), int(Status.OK)), np.full(len(dropped), np.nan)
    status[~dropped], error[~dropped] = found.status, found.error
    return found._replace(status=status, error=error, alike=alike, dropped=dropped)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _fit_rest(prepared: PreparedBody, seen: Seen, settings: FitSettings) -> _Fitted:
    fit = fit_rest_shape(prepared.reduced, seen.keypoints, seen.confidence, settings.solver)
    scores = score_rest_pictures(prepared.reduced, fit.betas, seen.keypoints, seen.confidence)
    error = np.asarray(scores.reprojection_error)
    return _Fitted(np.asarray(fit.betas), bool(fit.converged), None, np.asarray(scores.status), error, _unknown(error))


def _fit_rest_people(
    prepared: PreparedBody, keypoints: Sequence[np.ndarray], confidence: Sequence[np.ndarray]
) -> list[_Fitted]:
    fits = fit_rest_shapes(prepared.reduced, keypoints, confidence)
    counts = [len(own) for own in confidence]
    person = np.repeat(np.arange(len(counts)), counts)
    scores = score_rest_people(
        prepared.reduced, np.asarray(fits.betas), np.concatenate(keypoints), np.concatenate(confidence), person
    )
    ends = np.cumsum(counts)[:-1]
    statuses, errors = (np.split(np.asarray(part), ends) for part in (scores.status, scores.reprojection_error))
    return [
        _Fitted(np.asarray(fits.betas[i]), bool(fits.converged[i]), None, statuses[i], errors[i], _unknown(errors[i]))
        for i in range(len(counts))
    ]


def _fit_free(prepared: PreparedBody, seen: Seen, settings: FitSettings) -> _Fitted:
    if settings.solver in NETWORK_SOLVERS:
        return _of_evidence(prepared, seen, settings)
    keypoints, confidence = seen.keypoints, seen.confidence
    context = prepared.context(settings.calibration)
    focal_px = np.inf if settings.focal_length_px is None else settings.focal_length_px
    pictures = observe_pictures(context, keypoints, confidence, focal_px)
    shared = fit_shared_shapes(context, pictures, np.zeros(len(keypoints), int), solver=settings.solver)
    precision = np.asarray(shared.evidence.precision[0], np.float32)
    # The matrix is made symmetric to the last bit, because only half of it is stored.
    evidence = Evidence(
        (precision + precision.T) * np.float32(0.5), np.asarray(shared.evidence.information[0], np.float32)
    )
    weights = np.asarray(pictures.confidence)
    squared = np.sum(np.square(shared.references.residuals), axis=-1)
    error = np.sqrt(np.sum(weights * squared, axis=1) / np.maximum(weights.sum(axis=1), 1e-9))
    status = np.asarray(shared.references.status)
    logs = limb_logs(keypoints, confidence, prepared.reduced.schema)
    alike = _alike(shared.own_evidence, settings.calibration, logs)
    return _Fitted(shared.betas[0], bool(shared.converged[0]), evidence, status, error, alike)


def _alike(evidence: Evidence, calibration: Calibration | None, logs: np.ndarray) -> np.ndarray:
    """``_Fitted.alike``; NaN for fewer than ``LEAST_COMPARED`` pictures: of two that differ, neither is the odd one."""
    used = default_calibration() if calibration is None else calibration
    usable = np.any(np.asarray(evidence.precision), axis=(1, 2))
    if used.limbs is not None:
        evidence = with_limbs(evidence, used.limbs, logs, usable)
    ready = calibrated_pictures(evidence, used)
    if np.count_nonzero(usable) < LEAST_COMPARED:
        return _unknown(usable)
    return np.where(usable, against_the_others(ready), np.nan)


def _unknown(like: np.ndarray) -> np.ndarray:
    return np.full(len(like), np.nan)


def _of_evidence(prepared: PreparedBody, seen: Seen, settings: FitSettings) -> _Fitted:
    """The joint posterior mean of all references. No shape is fitted to all of them, so there are no errors.

    Raises:
        ValueError: no reference has enough keypoints.
    """
    pictures = prepared.evidence_without_limbs(settings.calibration, settings.solver)(*seen)
    if not pictures.known.any():
        raise ValueError("no reference has enough keypoints to fit a shape")
    evidence = Evidence(*(np.asarray(part, np.float64).sum(axis=0).astype(np.float32) for part in pictures.evidence))
    betas = marginals(Evidence(*(part[None] for part in evidence))).mean[0]
    logs = limb_logs(seen.keypoints, seen.confidence, prepared.reduced.schema)
    alike = _alike(pictures.evidence, settings.calibration, logs)
    return _Fitted(betas, True, evidence, np.asarray(pictures.status), _unknown(alike), alike)
