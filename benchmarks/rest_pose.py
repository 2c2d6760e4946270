"""Rest-pose workloads: scoring throughput with its error, against a plain copy and against the recipe in PyTorch."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from adapters.jobs.fit import fit_references
from adapters.keypoints.table import KeypointTable
from adapters.keypoints.writers import write_keypoints
from benchmarks.metrics import Metric, median_ratio, side_by_side, timed
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody, reduce_body, rest_keypoints
from engine.body.schemas import COCO_17
from engine.picture.observation import observe
from engine.rest.fit import fit_rest_shape
from engine.rest.scoring import score_rest_pictures
from engine.scores import Status

_SEED = 1


def random_pictures(body: KeypointBody, count: int) -> tuple[np.ndarray, np.ndarray]:
    """People in T-pose with keypoints off by 5 % of their height: the arithmetic does not depend on the content."""
    generator = np.random.default_rng(_SEED)
    mean = np.asarray(rest_keypoints(body, jnp.zeros(body.beta_count)))[:, :2] * [1, -1]
    scale = generator.uniform(100, 400, (count, 1, 1)).astype(np.float32)
    keypoints = mean.astype(np.float32) + generator.normal(0, 0.08, (count, len(mean), 2)).astype(np.float32)
    keypoints *= scale
    keypoints += generator.uniform(300, 2000, (count, 1, 2)).astype(np.float32)
    return keypoints, generator.uniform(0.1, 1, (count, len(mean))).astype(np.float32)


def scoring_throughput(quick: bool) -> list[Metric]:
    """Pictures a second by batch size, beside a plain copy of the same arrays."""
    body = reduce_body(load_embedded_body(), COCO_17)
    betas = np.linspace(-1, 1, body.beta_count, dtype=np.float32)
    metrics = []
    sizes = (1, 1_000, 100_000) if quick else (1, 1_000, 100_000, 1_000_000)
    keypoints, confidence = random_pictures(body, sizes[-1])
    compile_s, _ = timed(lambda: score_rest_pictures(body, betas, keypoints[:1], confidence[:1]))
    metrics.append(Metric("rest_scoring/first_call_s", compile_s, "s", "lower", note="compile and score one picture"))
    for size in sizes:
        points, weights = keypoints[:size], confidence[:size]
        seconds = side_by_side(
            {
                "score": lambda p=points, w=weights: score_rest_pictures(body, betas, p, w),
                "copy": lambda p=points, w=weights: (p.copy(), w.copy()),
            },
            rounds=5 if quick else 9,
        )
        rate = size / statistics.median(seconds["score"])
        metrics.append(Metric(f"rest_scoring/{size}/pictures_per_s", rate, "1/s", "higher"))
        if size >= 100_000:
            ratio = median_ratio(seconds["copy"], seconds["score"])
            metrics.append(Metric(f"rest_scoring/{size}/share_of_copy_rate", ratio, "", "higher"))
    return metrics


def against_torch(quick: bool) -> list[Metric]:
    """The same scores by the original recipe in PyTorch: error and time of each, in one run."""
    from benchmarks import torch_recipe

    full = load_embedded_body()
    body = reduce_body(full, COCO_17)
    betas = np.linspace(-1, 1, body.beta_count, dtype=np.float32)
    few, many = (3, 2_000) if quick else (10, 20_000)
    keypoints, confidence = random_pictures(body, 1_000_000 if not quick else 100_000)
    observations = jax.jit(jax.vmap(observe, in_axes=(None, 0, 0)))(body, keypoints[:many], confidence[:many])
    points, weights = np.asarray(observations.points), np.asarray(observations.confidence)
    sigmas = np.asarray(body.schema.sigmas, np.float32)
    through_mesh = torch_recipe.keypoint_function(full, body.schema.keypoint_names)

    ours = score_rest_pictures(body, betas, keypoints, confidence)
    our_s = statistics.median(
        timed(lambda: score_rest_pictures(body, betas, keypoints, confidence))[0] for _ in range(3)
    ) / len(keypoints)
    torch_recipe.per_picture(through_mesh, betas, points[:1], weights[:1], sigmas)
    single_s, single = timed(lambda: torch_recipe.per_picture(through_mesh, betas, points[:few], weights[:few], sigmas))
    batch_s, batch = timed(lambda: torch_recipe.fit_cameras(through_mesh, betas, points, weights, sigmas))
    best = np.asarray(ours.reprojection_error[:many])

    def excess(errors: np.ndarray) -> float:
        return 100 * float(np.median(errors / best[: len(errors)] - 1))

    extrapolated = f"{few} pictures, extrapolated"
    return [
        Metric("rest_scoring/samebody/error", 100 * float(np.median(best)), "% of height", "lower"),
        Metric("recipe/per_picture/pictures_per_s", few / single_s, "1/s", note=extrapolated),
        Metric("recipe/per_picture/excess_error", excess(single), "%", note="above samebody's, median"),
        Metric("recipe/vectorised/pictures_per_s", many / batch_s, "1/s"),
        Metric("recipe/vectorised/excess_error", excess(batch), "%", note="above samebody's, median"),
        Metric("rest_scoring/times_recipe_per_picture", single_s / few / our_s, "times", "higher", note=extrapolated),
        Metric("rest_scoring/times_recipe_vectorised", batch_s / many / our_s, "times", "higher"),
    ]


def cold_start(quick: bool) -> list[Metric]:
    """A fresh process: import, and the first fit and the first score, compilation included."""
    script = (
        "import time; t0 = time.perf_counter()\n"
        "import engine.rest.fit as r, engine.rest.scoring as s; t1 = time.perf_counter()\n"
        "import numpy as np\n"
        "from engine.body.embedded import load_embedded_body\n"
        "from engine.body.keypoint_body import reduce_body\n"
        "from engine.body.schemas import COCO_17\n"
        "body = reduce_body(load_embedded_body(), COCO_17); t2 = time.perf_counter()\n"
        "g = np.random.default_rng(0); k = g.uniform(0, 900, (4, 17, 2)).astype(np.float32)\n"
        "c = np.ones((4, 17), np.float32)\n"
        "fit = r.fit_rest_shape(body, k, c); t3 = time.perf_counter()\n"
        "s.score_rest_pictures(body, fit.betas, k, c); t4 = time.perf_counter()\n"
        "print(t1 - t0, t2 - t1, t4 - t2)\n"
    )
    runs = []
    for _ in range(3 if quick else 5):
        process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        runs.append([float(seconds) for seconds in process.stdout.split()])
    imports, bodies, compiles = (statistics.median(column) for column in zip(*runs, strict=True))
    return [
        Metric("cold_start/import_engine_s", imports, "s", "lower"),
        Metric("cold_start/load_and_reduce_body_s", bodies, "s", "lower"),
        Metric("cold_start/fit_and_score_first_call_s", compiles, "s", "lower"),
    ]


def from_files(quick: bool) -> list[Metric]:
    """``samebody score`` as a process, start-up included, by file format."""
    count = 10_000 if quick else 100_000
    body = load_embedded_body()
    reduced = reduce_body(body, COCO_17)
    keypoints, confidence = random_pictures(reduced, count)
    table = KeypointTable(
        schema=COCO_17,
        image=pa.array([f"picture_{i:07d}.jpg" for i in range(count)]),
        instance=np.zeros(count, np.int32),
        keypoints=keypoints,
        confidence=confidence,
        status=np.full(count, Status.OK, np.int8),
        detail=pa.nulls(count, pa.string()),
    )
    metrics = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        fit_references(table, body).save(root / "shape.npz")
        for suffix in ("parquet", "npz", "json"):
            write_keypoints(root / f"keypoints.{suffix}", table)
            command = [
                sys.executable, "-m", "adapters.commands.cli", "score", str(root / f"keypoints.{suffix}"),
                "--shape", str(root / "shape.npz"), "--out", str(root / "scores.parquet"),
            ]  # fmt: skip
            seconds = []
            for _ in range(2 if quick else 3):
                start = time.perf_counter()
                subprocess.run(command, check=True)
                seconds.append(time.perf_counter() - start)
            metrics.append(Metric(f"score_command/{suffix}/{count}_s", statistics.median(seconds), "s", "lower"))
    return metrics


def shape_recovery(quick: bool) -> list[Metric]:
    """How far a fitted β is from the truth when people do stand in a T-pose, by number of references."""
    body = reduce_body(load_embedded_body(), COCO_17)
    generator = np.random.default_rng(_SEED)
    metrics = []
    for references in (1, 4, 16):
        errors = []
        for _ in range(10 if quick else 40):
            betas = generator.normal(size=body.beta_count).astype(np.float32)
            plane = np.asarray(rest_keypoints(body, jnp.asarray(betas)))[:, :2] * [1, -1]
            noisy = 200 * (plane + generator.normal(0, 0.005, (references, len(plane), 2))) + 500
            fit = fit_rest_shape(body, noisy.astype(np.float32), np.ones((references, len(plane)), np.float32))
            errors.append(np.sqrt(np.mean((fit.betas - betas) ** 2)))
        metrics.append(
            Metric(f"rest_fit/{references}_references/beta_rms_error", float(np.median(errors)), "sd", "lower")
        )
    return metrics


WORKLOADS = {
    "cold_start": cold_start,
    "rest_scoring": scoring_throughput,
    "recipe": against_torch,
    "shape_recovery": shape_recovery,
    "files": from_files,
}
