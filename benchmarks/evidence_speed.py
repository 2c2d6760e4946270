"""``python -m benchmarks.evidence_speed [--digest]``: the evidence network's speed by batch size, and its bits.

*Speed*: pictures a second from keypoints to evidence, compilation not counted, median of three rounds; the first call
apart; the same for the evidence of posed fits where ``--fits`` asks for it. *Training*: steps a second. *Digest*: one
hexadecimal number of the evidence of 10,000 pictures, to be compared between machines and devices. *Commands*: wall
and processor time of ``samebody fit``, ``score`` and ``demo`` with an empty and with a full cache of compiled code,
each in a process of its own. *Rows*: the same and the peak memory of scoring a Parquet file of so many rows, with a
full cache, without and with outlines.
"""

import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np

from adapters.jobs.fit import fit_references
from adapters.jobs.train_evidence import simulator_of
from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import slice_table
from adapters.keypoints.writers import write_keypoints
from benchmarks.metrics import hardware
from benchmarks.volume import run as score_in_a_process
from benchmarks.volume_data import write_data
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17
from engine.evidence.amortised.evidence import amortised_evidence, make_amortised
from engine.evidence.amortised.network_file import find_network
from engine.evidence.amortised.training import TrainingSettings, make_training, start_training, train
from engine.posed.fit import POSED_NOISE, make_context
from engine.posed.scoring import fit_own
from engine.simulation.poses import pool_from_prior
from engine.simulation.settings import SimulationSettings

_BATCHES = (1, 32, 1024, 32_768, 1_000_000)
_ROUNDS = 3
_DEMO = Path(__file__).parents[1] / "adapters" / "jobs" / "demo_data"
_FEW = 32


def random_pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints that look like nobody's; the network takes the same time for all."""
    generator = np.random.default_rng(0)
    keypoints = generator.uniform(0, 1000, (count, 17, 2)).astype(np.float32)
    return keypoints, (generator.random((count, 17)) < 0.9).astype(np.float32)


def _seconds(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@click.command()
@click.option("--most", default=1_000_000, show_default=True, help="Largest batch.")
@click.option("--fits", is_flag=True, help="Evidence of posed fits as well (compiles for a minute).")
@click.option("--training", is_flag=True, help="Training steps a second as well.")
@click.option("--digest", is_flag=True, help="Only the digest of the evidence of 10,000 pictures.")
@click.option("--commands", is_flag=True, help="Only the starts of the command line.")
@click.option("--rows", type=click.IntRange(min=1), help="Only scores of Parquet files of so many rows.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the figures as JSON.")
def main(
    most: int, fits: bool, training: bool, digest: bool, commands: bool, rows: int | None, out: Path | None
) -> None:
    """Measure the evidence network on whatever JAX computes on."""
    if commands or rows is not None:
        with tempfile.TemporaryDirectory() as folder:
            figures = hardware() | (command_figures(Path(folder)) if commands else {})
            figures |= {} if rows is None else row_figures(Path(folder), rows)
    else:
        figures = network_figures(most, fits, training, digest)
    for name, value in figures.items():
        click.echo(f"{name}: {value:,.4g}" if isinstance(value, float) else f"{name}: {value}")
    if out is not None:
        out.write_text(json.dumps(figures, indent=1) + "\n")


def command_figures(folder: Path) -> dict[str, Any]:
    """Starts of the command line: every command with a cache of its own, which is empty at first."""
    references, shape, pictures = _DEMO / "references.parquet", folder / "shape.npz", folder / "pictures.parquet"
    write_keypoints(pictures, slice_table(read_keypoints([_DEMO / "dataset.parquet"]), 0, _FEW))
    calls = {
        "fit, 16 references": ["fit", references, "--out", shape],
        f"score, {_FEW} pictures": ["score", pictures, "--shape", shape, "--out", folder / "scores.parquet"],
        "demo": ["demo", "--out", folder / "demo"],
    }
    figures = {}
    for name, call in calls.items():
        cache = folder / f"cache of {call[0]}"
        for state in ("empty", "full"):
            before, start = _children_s(), time.perf_counter()
            command = [sys.executable, "-m", "adapters.commands.cli", *map(str, call)]
            subprocess.run(command, env=_with_cache(cache), check=True, capture_output=True)
            figures[f"{name}, {state} cache, wall s"] = time.perf_counter() - start
            figures[f"{name}, {state} cache, processor s"] = _children_s() - before
    return figures


def row_figures(folder: Path, rows: int) -> dict[str, Any]:
    """Scores of Parquet files by the network, from file to file, without and with outlines."""
    shape, scores = folder / "shape.npz", folder / "scores.parquet"
    table = read_keypoints([_DEMO / "references.parquet"])
    fit_references(table, load_embedded_body()).save(shape)
    figures: dict[str, Any] = {}
    for name, outlined in {"rows": False, "rows with outlines": True}.items():
        data, cache = folder / f"{name}.parquet", folder / f"cache of {name}"
        score_in_a_process(write_data(data, _FEW, real=True, outlines=outlined), shape, scores, cache)
        write_data(data, rows, real=True, outlines=outlined)
        load, before = os.getloadavg()[0], _children_s()
        found = score_in_a_process(data, shape, scores, cache)
        figures |= {
            f"{rows:,} {name}, wall s": found.wall_s,
            f"{rows:,} {name}, processor s": _children_s() - before,
            f"{rows:,} {name}, 1/s": rows / found.wall_s,
            f"{rows:,} {name}, peak memory MB": found.peak_mb,
            f"{rows:,} {name}, file MB": data.stat().st_size / 1e6,
            f"{rows:,} {name}, load average at the start": load,
        }
        data.unlink()
    return figures


def _with_cache(cache: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    return {**own, "SAMEBODY_CACHE": str(cache)}


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def network_figures(most: int, fits: bool, training: bool, digest: bool) -> dict[str, Any]:
    """Evidence, fits and training in this process."""
    body = load_embedded_body()
    network = find_network(body)
    if network is None:
        raise click.ClickException("the embedded body has no evidence network")
    model = make_amortised(body, network)
    figures: dict[str, Any] = {**hardware(), "device": str(jax.devices()[0])}
    keypoints, confidence = random_pictures(10_000)
    start = time.perf_counter()
    found = amortised_evidence(model, COCO_17, POSED_NOISE, keypoints, confidence)
    figures["first call, s"] = time.perf_counter() - start
    figures["digest of 10,000"] = hashlib.sha256(b"".join(part.tobytes() for part in found)).hexdigest()[:16]
    for count in () if digest else [batch for batch in _BATCHES if batch <= most]:
        keypoints, confidence = random_pictures(count)
        seconds = _seconds(lambda k=keypoints, c=confidence: amortised_evidence(model, COCO_17, POSED_NOISE, k, c))
        figures[f"network, {count:,} pictures, 1/s"] = count / seconds
    if fits:
        keypoints, confidence = random_pictures(1024)
        context = make_context(reduce_body(body, COCO_17))
        fit_own(context, keypoints, confidence)
        figures["posed fits, 1,024 pictures, 1/s"] = 1024 / _seconds(lambda: fit_own(context, keypoints, confidence))
    if training:
        figures["training, steps of 1,024 pictures, 1/s"] = _training_rate()
    figures["largest memory of the process, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return figures


def _training_rate() -> float:
    settings, simulation = TrainingSettings(), SimulationSettings()
    simulator = simulator_of(load_embedded_body(), pool_from_prior(load_pose_prior(), 1024))
    training = make_training(simulator, simulation, settings, 0)
    state = jax.block_until_ready(
        train(training, start_training(settings, 10, outlines=True), jnp.asarray(2, jnp.int32))
    )
    start = time.perf_counter()
    jax.block_until_ready(train(training, state, jnp.asarray(20, jnp.int32)))
    return 20 / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
