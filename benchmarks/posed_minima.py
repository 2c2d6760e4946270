"""``python -m benchmarks.posed_minima [starts precision solvers] [--poses FILE]``: are the minima the right ones?

*Starts*: the fit's energy beside the best of 64 random starts (any orientation, poses from the prior at half its
width), each run to its end by the same solver; a hit is at most 1 % above it. *Precision*: float32 against float64 from
the same keypoints. *Solvers*: Adam and L-BFGS against Levenberg-Marquardt. All with the true shape given, COCO-17.
"""

import time

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.posed_trials import Part, Trial, make_trial, parts_command, reprojection_error
from benchmarks.synthetic import PoseSet, SyntheticSettings
from engine.batching import AnyArray
from engine.body.schemas import COCO_17
from engine.picture.observation import REFERENCE_STATURE_M
from engine.posed.first_order import SOLVERS
from engine.posed.fit import fit_poses
from engine.posed.fit import make_pictures as lay_out
from engine.posed.problem import PictureUnknowns
from engine.posed.search import Search, open_lanes, rows
from engine.scores import Status

RANDOM_STARTS = 64
_RANDOM_STEPS = 60
_CHUNK = 128
CASES = ((0.0, 0.001), (0.003, 0.003), (0.01, 0.01))
"""True and assumed noise, person heights."""
_SAME_MINIMUM = 0.01
"""Relative difference of energies..."""
_SAME_MINIMUM_NATS = 0.01
"""...or absolute, where they are small."""


def _trial(poses: PoseSet, count: int, level: float, assumed: float, dtype: type = np.float32) -> Trial:
    settings = SyntheticSettings(people=count, pictures=1, noise_level=level, seed=3)
    return make_trial(COCO_17, poses, settings, assumed, dtype)


def best_of_random_starts(trial: Trial) -> np.ndarray:
    """Energy of the best of many random starts of each picture, nats."""
    generator = np.random.default_rng(1)
    pictures = lay_out(trial.context, trial.observations, trial.betas)
    count, dtype = len(trial.betas), trial.betas.dtype
    orientation = generator.standard_normal((count, RANDOM_STARTS, 4)).astype(dtype)
    latent = 0.5 * generator.standard_normal((count, RANDOM_STARTS, trial.context.model.latent_count)).astype(dtype)
    best = np.empty(count, dtype)
    for start in range(0, count, _CHUNK):
        at = slice(start, start + _CHUNK)
        part = rows(pictures, at)
        shape = (len(part.betas), RANDOM_STARTS)
        scale = np.full(shape, -np.log(REFERENCE_STATURE_M), dtype)
        unknowns = PictureUnknowns(orientation[at], latent[at], scale, np.zeros((*shape, 2), dtype))
        lanes = Search(trial.context, part).advance(open_lanes(unknowns, part.betas), _RANDOM_STEPS)
        best[at] = lanes.energy.min(axis=1)
    return best


def _hits(energy: AnyArray, best: AnyArray) -> np.ndarray:
    return np.asarray(energy) <= np.asarray(best) * (1 + _SAME_MINIMUM) + _SAME_MINIMUM_NATS


def starts(poses: PoseSet, count: int, console: Console) -> None:
    """How often the best known minimum is found."""
    table = Table(
        "noise", "assumed", "hit", "better than all 64", "converged", "reprojection, % (median, 99th)", "steps",
        title=f"{count} pictures, best of {RANDOM_STARTS} random starts",
    )  # fmt: skip
    for level, assumed in CASES:
        trial = _trial(poses, count, level, assumed)
        fit = fit_poses(trial.context, trial.observations, trial.betas)
        best, error = best_of_random_starts(trial), 100 * reprojection_error(fit)
        table.add_row(
            f"{100 * level:g} %",
            f"{100 * assumed:g} %",
            f"{100 * _hits(fit.energy, best).mean():.1f} %",
            f"{100 * np.mean(~_hits(best, fit.energy)):.1f} %",
            f"{100 * np.mean(fit.status == Status.OK):.1f} %",
            f"{np.median(error):.3f}, {np.quantile(error, 0.99):.3f}",
            f"{np.mean(fit.steps):.0f}",
        )
    console.print(table)


def precision(poses: PoseSet, count: int, console: Console) -> None:
    """float32 against float64."""
    table = Table("noise", "assumed", "same minimum", "median difference, nats", title=f"float32, float64: {count}")
    for level, assumed in CASES:
        single = _trial(poses, count, level, assumed)
        energy = fit_poses(single.context, single.observations, single.betas).energy.astype(np.float64)
        with jax.enable_x64(True):
            double = _trial(poses, count, level, assumed, np.float64)
            exact = fit_poses(double.context, double.observations, double.betas).energy
        same = _hits(energy, exact) & _hits(exact, energy)
        table.add_row(
            f"{100 * level:g} %", f"{100 * assumed:g} %", f"{100 * same.mean():.2f} %",
            f"{np.median(np.abs(energy - exact)):.1e}",
        )  # fmt: skip
    console.print(table)


def solvers(poses: PoseSet, count: int, console: Console) -> None:
    """Levenberg-Marquardt, Adam and L-BFGS from the same starts."""
    count = min(count, 128)
    trial = _trial(poses, count, 0.01, 0.01)
    reference = fit_poses(trial.context, trial.observations, trial.betas).energy
    table = Table(
        "solver", "as good as lm", "better", "median energy", "steps", "seconds", title=f"{count} pictures, 1 %"
    )
    for solver in SOLVERS[1:]:
        fit_poses(trial.context, trial.observations, trial.betas, solver=solver)
        start = time.perf_counter()
        fit = fit_poses(trial.context, trial.observations, trial.betas, solver=solver)
        seconds = time.perf_counter() - start
        table.add_row(
            solver, f"{100 * _hits(fit.energy, reference).mean():.1f} %",
            f"{100 * np.mean(~_hits(reference, fit.energy)):.1f} %", f"{np.median(fit.energy):.3f}",
            f"{np.mean(fit.steps):.0f}", f"{seconds:.2f}",
        )  # fmt: skip
    console.print(table)


PARTS: dict[str, Part] = {
    "starts": starts,
    "precision": precision,
    "solvers": solvers,
}

main = parts_command(PARTS, "Compare minima.", pictures=512)


if __name__ == "__main__":
    main()
