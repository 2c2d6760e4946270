"""From keypoint files to a shape: choose whose keypoints are meant, fit one β, keep the history."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from adapters.keypoints.people import box_areas
from adapters.keypoints.table import KeypointTable
from engine import VERSION
from engine.body.keypoint_body import KeypointBody, reduce_body
from engine.body.model import BodyModel
from engine.evidence.calibration import Calibration, calibrated_noise
from engine.evidence.shape_evidence import Evidence
from engine.posed.first_order import SOLVERS as POSED_SOLVERS
from engine.posed.fit import POSED_NOISE, make_context, observe_pictures
from engine.posed.search import PosedContext
from engine.posed.shared_shape import fit_shared_shapes
from engine.rest.fit import SOLVERS as REST_SOLVERS
from engine.rest.fit import fit_rest_shape, score_rest_pictures
from engine.rest.problem import REST_NOISE
from engine.scores import LABELS, Mode, Status
from engine.shape import Reference, Shape

Person = Literal["largest", "all"]
PERSONS: Sequence[Person] = get_args(Person)


def check_solver(solver: str, mode: Mode) -> None:
    """Whether a mode has a solver of that name.

    Raises:
        ValueError: it does not; the message lists those that it has.
    """
    known = REST_SOLVERS if mode == "rest" else POSED_SOLVERS
    if solver not in known:
        raise ValueError(f"--solver {solver} does not go with --pose {mode}, which has: {', '.join(known)}")


def body_columns(table: KeypointTable, body: KeypointBody) -> tuple[np.ndarray, np.ndarray]:
    """The table's keypoints and confidences in the order of the body's own keypoints."""
    columns = table.schema.columns_of(body.schema.keypoint_names)
    if columns == tuple(range(len(table.schema))):
        return table.keypoints, table.confidence
    return np.ascontiguousarray(table.keypoints[:, columns]), np.ascontiguousarray(table.confidence[:, columns])


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


def fit_references(
    table: KeypointTable,
    body: BodyModel,
    person: Person = "largest",
    solver: str = "auto",
    mode: Mode = "free",
    calibration: Calibration | None = None,
) -> Shape:
    """Fit one shape to the people of a table.

    Args:
        mode: ``free``: every reference has its own pose; ``rest``: all stand in a T-pose (the original recipe).
        calibration: of the detector, kept with the shape; by default the shipped one is meant and nothing is kept.

    Raises:
        ValueError: nobody in the table can be used, or the solver does not go with the mode.
    """
    check_solver(solver, mode)
    if calibration is not None:
        calibration.check_body(body.fingerprint)
    rows = choose_people(table, person)
    if not len(rows):
        raise ValueError("nobody was found in the reference pictures; there is nothing to fit")
    reduced = reduce_body(body, table.schema)
    noise = POSED_NOISE if calibration is None else calibrated_noise(POSED_NOISE, calibration)
    context = None if mode == "rest" else make_context(reduced, noise=noise)
    return fit_rows(table, rows, body, reduced, context, solver, calibration)


def fit_rows(
    table: KeypointTable,
    rows: np.ndarray,
    body: BodyModel,
    reduced: KeypointBody,
    context: PosedContext | None,
    solver: str = "auto",
    calibration: Calibration | None = None,
) -> Shape:
    """Fit one shape to some rows of a table, and keep the history.

    Args:
        reduced: the body, as the table's detector sees it.
        context: of posed fits with it; None for people in rest pose.

    Raises:
        ValueError: nobody has enough keypoints.
    """
    keypoints, confidence = (values[rows] for values in body_columns(table, reduced))
    if context is None:
        fit = fit_rest_shape(reduced, keypoints, confidence, solver)
        scores = score_rest_pictures(reduced, fit.betas, keypoints, confidence)
        betas, converged, evidence = fit.betas, fit.converged, None
        status, error, noise = scores.status, np.asarray(scores.reprojection_error), REST_NOISE
    else:
        pictures = observe_pictures(context, keypoints, confidence)
        shared = fit_shared_shapes(context, pictures, np.zeros(len(rows), int), solver=solver)
        betas, converged = shared.betas[0], shared.converged[0]
        precision = np.asarray(shared.evidence.precision[0], np.float32)
        # Symmetric to the last bit, so that half of it is all of it when it is stored.
        evidence = Evidence(
            (precision + precision.T) * np.float32(0.5), np.asarray(shared.evidence.information[0], np.float32)
        )
        weights = np.asarray(pictures.confidence)
        squared = np.sum(np.square(shared.references.residuals), axis=-1)
        error = np.sqrt(np.sum(weights * squared, axis=1) / np.maximum(weights.sum(axis=1), 1e-9))
        status, noise = shared.references.status, POSED_NOISE
    references = tuple(
        Reference(
            image=table.image[int(row)].as_py(),
            instance=int(table.instance[row]),
            status=LABELS[status[i]],
            reprojection_error=float(error[i]) if np.isfinite(error[i]) else None,
        )
        for i, row in enumerate(rows)
    )
    return Shape(
        betas=np.asarray(betas, np.float32),
        body_name=body.name,
        body_fingerprint=body.fingerprint,
        schema=table.schema.name,
        mode="rest" if context is None else "free",
        solver=solver,
        noise_level=noise.level,
        converged=bool(converged),
        samebody_version=VERSION,
        references=references,
        evidence=evidence,
        calibration=calibration,
    )
