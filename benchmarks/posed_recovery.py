"""``python -m benchmarks.posed_recovery [recovery shared] [--poses FILE]``: how well posed fits find pose and shape.

*Recovery*: pictures of people in held-out poses, any view, by keypoint schema and noise; every picture's own shape is
free. *Shared*: the mean squared error of one β from K references beside two predictions. The posterior's own is the
mean of diag((Λ + I)⁻¹) at the fit; the bound is the same at the true pose, shape and camera, the Bayesian Cramér-Rao
bound (van Trees) where the problem is Gaussian: no estimator that knows no more than the priors can have less error.
Noise is in person heights and assumed as it is, but never below 0.1 %.
"""

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.posed_trials import (
    Part,
    Trial,
    make_trial,
    parts_command,
    pose_error_mm,
    reprojection_error,
    true_unknowns,
)
from benchmarks.synthetic import PoseSet, SyntheticSettings
from engine.batching import AnyArray, map_samples
from engine.body.schemas import BODY_25, COCO_17, HALPE_26, WHOLEBODY_133
from engine.posed.fit import fit_shapes
from engine.posed.fit import make_pictures as lay_out
from engine.posed.results import picture_evidence
from engine.posed.search import TILE_SIZE
from engine.posed.shared_shape import fit_shared_shapes
from engine.scores import Status

LEVELS = (0.0, 0.003, 0.01, 0.03)
SCHEMAS = (COCO_17, HALPE_26, BODY_25, WHOLEBODY_133)
REFERENCE_COUNTS = (1, 4, 16, 64)
_SHARED_LEVEL = 0.01
_SMALLEST_ASSUMED = 0.001


def recovery(poses: PoseSet, count: int, console: Console) -> None:
    """Error by schema and noise."""
    table = Table(
        "schema", "noise", "reprojection, % (median, 99th)", "PA-MPJPE, mm", "converged", title=f"{count} pictures each"
    )
    for schema in SCHEMAS:
        for level in LEVELS:
            settings = SyntheticSettings(people=count, pictures=1, noise_level=level, seed=1)
            trial = make_trial(schema, poses, settings, max(level, _SMALLEST_ASSUMED))
            fit = fit_shapes(trial.context, trial.observations)
            error = 100 * reprojection_error(fit)
            table.add_row(
                schema.name,
                f"{100 * level:g} %",
                f"{np.median(error):.3f}, {np.quantile(error, 0.99):.3f}",
                f"{np.median(pose_error_mm(trial, fit)):.0f}",
                f"{100 * np.mean(fit.status == Status.OK):.1f} %",
            )
    console.print(table)


def _evidence_at(problem, fitted):
    return picture_evidence(problem, *fitted)


def bound(trial: Trial, person: np.ndarray) -> np.ndarray:
    """diag((Λ + I)⁻¹) of every person, Λ taken at the truth."""
    pictures = lay_out(trial.context, trial.observations, trial.betas)
    evidence = map_samples(_evidence_at, trial.context.problem, (pictures, true_unknowns(trial)), TILE_SIZE)
    return _variances(evidence.precision, person)


def _variances(precision: AnyArray, person: np.ndarray) -> np.ndarray:
    total = np.zeros((person.max() + 1, *precision.shape[1:]))
    np.add.at(total, person, np.asarray(precision, np.float64))
    return np.diagonal(np.linalg.inv(total + np.eye(total.shape[-1])), axis1=1, axis2=2)


def shared(poses: PoseSet, pictures: int, console: Console) -> None:
    """β from K references; about as many pictures for every K, but at least 16 people."""
    table = Table("references", "people", "MSE of β", "bound", "posterior's own", title="1 % noise, COCO-17, prior 1")
    for references in REFERENCE_COUNTS:
        people = max(16, pictures // references)
        settings = SyntheticSettings(people=people, pictures=references, noise_level=_SHARED_LEVEL, seed=2)
        trial = make_trial(COCO_17, poses, settings, _SHARED_LEVEL)
        person = np.repeat(np.arange(people), references)
        fit = fit_shared_shapes(trial.context, trial.observations, person)
        error = np.mean((fit.betas - trial.pictures.betas) ** 2)
        own = map_samples(
            _evidence_at, trial.context.problem, (fit.references.pictures, fit.references.unknowns), TILE_SIZE
        )
        limit, predicted = bound(trial, person).mean(), _variances(own.precision, person).mean()
        table.add_row(
            str(references),
            str(people),
            f"{error:.3f}",
            f"{limit:.3f} (× {error / limit:.2f})",
            f"{predicted:.3f} (× {error / predicted:.2f})",
        )
    console.print(table)


PARTS: dict[str, Part] = {"recovery": recovery, "shared": shared}

main = parts_command(PARTS, "Fit synthetic pictures and compare with the truth.", pictures=512)


if __name__ == "__main__":
    main()
