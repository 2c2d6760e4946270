"""``python -m benchmarks.posed_speed [throughput memory smplify] [--poses FILE]``: posed fits a second, and peers.

*Throughput*: pictures a second by batch, compilation not counted, for a given shape, a free shape, and the whole of
scoring (own shape, evidence, refit at the reference); the median of three rounds, with the error of the fit beside it.
*Memory*: what the compiled step of one tile needs, as the compiler reports it, and the growth of the process.
*SMPLify*: the scheme of SMPLify in PyTorch through smplx and the full mesh (``benchmarks.torch_smplify``), with Adam on
all pictures at once and with L-BFGS picture by picture, on the same pictures, energy and shape. 1 % noise, COCO-17.
"""

import resource
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.posed_trials import Part, Trial, make_trial, parts_command, reprojection_error, true_unknowns
from benchmarks.synthetic import PoseSet, SyntheticSettings
from benchmarks.torch_smplify import Optimiser, TorchProblem, smplify
from engine.body.embedded import load_embedded_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17
from engine.evidence.shape_evidence import Evidence
from engine.posed.fit import fit_poses, fit_shapes
from engine.posed.fit import make_pictures as lay_out
from engine.posed.problem import Picture, PictureUnknowns
from engine.posed.results import PosedFit
from engine.posed.scoring import score_posed_pictures
from engine.posed.search import TILE_SIZE, Free, picture_problem
from engine.scores import Status
from engine.shape import Shape
from engine.solvers.levenberg_marquardt import Lane, LMSettings, open_lane, take_step

_LEVEL = 0.01
_BATCHES = (1, 16, 128, 1024, 4096)
_ROUNDS = 3
_SMPLIFY_PICTURES: dict[Optimiser, int] = {"adam": 32, "lbfgs": 4}
_SMPLIFY_SEED = 7


def _trial(poses: PoseSet, count: int, people: int | None = None, seed: int = 4) -> Trial:
    settings = SyntheticSettings(
        people=people or count, pictures=count // (people or count), noise_level=_LEVEL, seed=seed
    )
    return make_trial(COCO_17, poses, settings, _LEVEL)


def _seconds(run: Callable[[], Any], rounds: int = _ROUNDS) -> float:
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _quality(fit: PosedFit) -> str:
    return f"{100 * np.median(reprojection_error(fit)):.2f} %, {100 * np.mean(fit.status == Status.OK):.1f} %"


def throughput(poses: PoseSet, largest: int, console: Console) -> None:
    """Pictures a second."""
    table = Table(
        "pictures", "given shape", "free shape", "scoring", "error, converged (free)", title="pictures a second"
    )
    for count in (batch for batch in _BATCHES if batch <= largest):
        trial = _trial(poses, count)
        rows = jax.tree.map(lambda leaf: np.asarray(leaf), trial.observations)
        given = _seconds(lambda trial=trial, rows=rows: fit_poses(trial.context, rows, trial.betas))
        free = _seconds(lambda trial=trial, rows=rows: fit_shapes(trial.context, rows))
        nothing = Evidence(np.zeros((10, 10), np.float32), np.zeros(10, np.float32))
        person = Shape(trial.betas[0], "", "", "", "free", evidence=nothing)
        keypoints = trial.pictures.keypoints_px.reshape(count, -1, 2).astype(np.float32)
        seen = trial.pictures.confidence.reshape(count, -1).astype(np.float32)
        scoring = _seconds(
            lambda trial=trial, k=keypoints, c=seen, p=person: score_posed_pictures(trial.context, p, k, c), rounds=1
        )
        quality = _quality(fit_shapes(trial.context, rows))
        table.add_row(str(count), *(f"{count / t:.0f}" for t in (given, free, scoring)), quality)
    console.print(table)


def memory(poses: PoseSet, largest: int, console: Console) -> None:
    """Bytes of one tile, and of a process that fits many pictures."""
    trial = _trial(poses, TILE_SIZE)
    context = trial.context
    pictures = lay_out(context, trial.observations, trial.betas)

    def step(picture: Picture, unknowns: PictureUnknowns) -> Lane:
        problem = picture_problem(context.problem, picture, free_betas=True)
        return take_step(problem, open_lane(problem, Free(unknowns, picture.betas)), LMSettings())

    compiled = jax.jit(jax.vmap(step)).lower(pictures, true_unknowns(trial)).compile()
    usage = compiled.memory_analysis()
    if usage is not None:
        size = usage.temp_size_in_bytes / 1e6
        console.print(f"one step of a tile of {TILE_SIZE} lanes: {size:.1f} MB while it runs")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for count in (1024, largest):
        many = _trial(poses, count)
        fit_shapes(many.context, many.observations)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
        console.print(f"{count} pictures: the process has grown by {grown:.0f} MB")


def smplify_side_by_side(poses: PoseSet, largest: int, console: Console) -> None:
    """Energy and time of the PyTorch fit and of ours, on the same pictures; one person, whose shape is given."""
    table = Table(
        "fit", "pictures", "pictures a second", "energy, nats (median)", "not above ours by more than 1 %",
        title="SMPLify's scheme in PyTorch",
    )  # fmt: skip
    most = max(_SMPLIFY_PICTURES.values())
    trial = _trial(poses, most, people=1, seed=_SMPLIFY_SEED)
    many = _trial(poses, largest)
    rate = largest / _seconds(lambda: fit_poses(many.context, many.observations, many.betas))
    ours = fit_poses(trial.context, trial.observations, trial.betas).energy
    table.add_row("samebody", str(most), f"{rate:.0f} (of {largest})", f"{np.median(ours):.2f}", "")
    for optimiser, count in _SMPLIFY_PICTURES.items():
        problem = TorchProblem(
            body=load_embedded_body(),
            prior=load_pose_prior(),
            keypoint_names=COCO_17.keypoint_names,
            points=np.asarray(trial.observations.points)[:count],
            confidence=np.asarray(trial.observations.confidence)[:count],
            sigmas=np.asarray(trial.context.problem.noise.sigmas),
            width=float(trial.context.problem.noise.width),
            betas=trial.betas[0],
        )
        start = time.perf_counter()
        energy = smplify(problem, optimiser)
        seconds = time.perf_counter() - start
        table.add_row(
            f"PyTorch, {optimiser}", str(count), f"{count / seconds:.2f} (ours: × {rate * seconds / count:,.0f})",
            f"{np.median(energy):.2f}", f"{100 * np.mean(energy <= 1.01 * ours[:count]):.0f} %",
        )  # fmt: skip
    console.print(table)


PARTS: dict[str, Part] = {
    "throughput": throughput,
    "memory": memory,
    "smplify": smplify_side_by_side,
}

main = parts_command(PARTS, "Time posed fits.", pictures=4096)


if __name__ == "__main__":
    main()
