"""Volume: pictures a second from file to file, memory, and where the time goes.

Every figure of a run is taken in a process of its own, as a user starts it; ``wall`` counts its start. "Warm" means
that compiled code is on disk already, as in every run but the first.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from adapters.jobs.fit import FitSettings, fit_references
from adapters.jobs.score import score_to_file
from adapters.jobs.scorer import Scorer
from adapters.keypoints.readers import open_keypoints, read_keypoints
from adapters.results.evidence_table import evidence_columns, evidence_fields, open_evidence_writer, read_evidence
from benchmarks.metrics import Metric, median_ratio, timed
from benchmarks.volume_data import FIVE_PEOPLE, ROWS_PER_GROUP, tables, write_data
from engine.batching import worker_count
from engine.body.embedded import load_embedded_body
from engine.evidence.comparison import match_people
from engine.evidence.shape_evidence import Evidence
from engine.shape import Shape

_PEOPLE_PER_PICTURE = 100
_BETAS = 10


@dataclass(frozen=True)
class RunFigures:
    """What one process that scored a file measured."""

    wall_s: float
    """Start of the process to its end."""
    reading_s: float
    computing_s: float
    writing_s: float
    streaming_s: float
    """The three together, overlapping: start-up, loading and compiling are before it, or within computing if cold."""
    peak_mb: float


def run(data: Path, shape: Path, out: Path, cache: Path, environment: dict[str, str] | None = None) -> RunFigures:
    """Score a file in a process of its own."""
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.volume", "score", str(data), str(shape), str(out)]
    own = os.environ | {"SAMEBODY_CACHE": str(cache)} | (environment or {})
    start = time.perf_counter()
    process = subprocess.run(command, env=own, check=True, capture_output=True, text=True)
    wall = time.perf_counter() - start
    return RunFigures(wall_s=wall, **json.loads(process.stdout))


def _score(data: str, shape: str, out: str) -> None:
    from adapters.jobs.compile_cache import enable_compile_cache

    enable_compile_cache()
    source = open_keypoints([data], processes=worker_count())
    summary = score_to_file(source, load_embedded_body(), Shape.load(shape), out)
    seconds = asdict(summary.seconds)
    figures = {f"{name}_s": value for name, value in seconds.items() if name != "wall"}
    print(json.dumps({**figures, "streaming_s": seconds["wall"], "peak_mb": _peak_mb()}))


def _peak_mb() -> float:
    """Of this process since it started its program; what Linux counts as ``ru_maxrss`` holds its parent's peak too."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _rest_shape(folder: Path) -> Path:
    path = folder / "rest.npz"
    fit_references(
        read_keypoints([FIVE_PEOPLE / "references.parquet"]), load_embedded_body(), FitSettings(mode="rest")
    ).save(path)
    return path


def _json_folder(folder: Path, count: int) -> Path:
    """As MMPose's inferencer writes it: a hundred people in each picture."""
    folder.mkdir()
    (table,) = tables(count, real=False)
    for start in range(0, count, _PEOPLE_PER_PICTURE):
        people = [
            {"keypoints": points.tolist(), "keypoint_scores": scores.tolist()}
            for points, scores in zip(
                table.keypoints[start : start + _PEOPLE_PER_PICTURE],
                table.confidence[start : start + _PEOPLE_PER_PICTURE],
                strict=True,
            )
        ]
        (folder / f"{start:08d}.json").write_text(json.dumps(people))
    return folder


def by_format(quick: bool) -> list[Metric]:
    """Rest pose, file to Parquet, start of the process included, by format and size."""
    small, large = (1_000, 5_000) if quick else (10_000, 65_536)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shape, cache = _rest_shape(folder), folder / "cache"
        data = {
            f"{suffix}/{count}": write_data(folder / f"{count}.{suffix}", count)
            for suffix in ("parquet", "npz", "json")
            for count in (small, large)
        }
        data[f"json_folder/{large}"] = _json_folder(folder / "json", large)
        if not quick:
            data["parquet/1000000"] = write_data(folder / "1000000.parquet", 1_000_000)
        cold = run(data[f"parquet/{small}"], shape, folder / "s.parquet", cache)
        metrics = [Metric(f"volume/parquet/{small}/cold_s", cold.wall_s, "s", "lower", note="compiles")]
        for key, path in data.items():
            count = int(key.split("/")[1])
            runs = [run(path, shape, folder / "s.parquet", cache) for _ in range(1 if quick else 3)]
            metrics += _figures(f"volume/{key}", count, runs)
        return metrics


def memory(quick: bool) -> list[Metric]:
    """Rest pose, Parquet to Parquet: the peak of memory by size."""
    sizes = (10_000, 20_000) if quick else (100_000, 1_000_000, 10_000_000)
    metrics = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shape, cache = _rest_shape(folder), folder / "cache"
        run(write_data(folder / "first.parquet", 1000), shape, folder / "s.parquet", cache)
        for count in sizes:
            data = write_data(folder / f"{count}.parquet", count)
            metrics += _figures(f"volume_memory/{count}", count, [run(data, shape, folder / "s.parquet", cache)])
            data.unlink()
    return metrics


def _figures(key: str, count: int, runs: list[RunFigures]) -> list[Metric]:
    def median(name: str) -> float:
        return statistics.median(getattr(figures, name) for figures in runs)

    shares = [
        Metric(f"{key}/{stage}_share", median(f"{stage}_s") / median("streaming_s"), "of streaming time")
        for stage in ("reading", "computing", "writing")
    ]
    return [
        Metric(f"{key}/wall_s", median("wall_s"), "s", "lower", note="warm, start of the process included"),
        Metric(f"{key}/pictures_per_s", count / median("streaming_s"), "1/s", "higher", note="warm, without the start"),
        Metric(f"{key}/peak_mb", median("peak_mb"), "MB", "lower", 0.1),
        *shares,
    ]


def free_pose(quick: bool) -> list[Metric]:
    """Free pose: the whole job beside the computing alone, in one process, in turn."""
    return measure_free_pose(128, 1) if quick else measure_free_pose(2048, 3)


def measure_free_pose(count: int, rounds: int) -> list[Metric]:
    """``free_pose`` of any size: 100,000 pictures take a quarter of an hour a round."""
    body = load_embedded_body()
    shape = fit_references(read_keypoints([FIVE_PEOPLE / "references.parquet"]), body)
    with tempfile.TemporaryDirectory() as name:
        data, out = write_data(Path(name) / "data.parquet", count, real=True), Path(name) / "scores.parquet"
        source = open_keypoints([data], chunk_size=min(count, 1024))
        scorer = Scorer(body, source.schema, shape)
        prepared = list(source)
        scorer(prepared[0])
        compute, streaming, wall = [], [], []
        for _ in range(rounds):
            compute.append(timed(lambda: [scorer(table) for table in prepared])[0])
            seconds, summary = timed(lambda: score_to_file(source, body, shape, out))
            streaming.append(summary.seconds.wall)
            wall.append(seconds)
    start = statistics.median(a - b for a, b in zip(wall, streaming, strict=True))
    note = f"{count} pictures, without the {start:.1f} s in which a job makes its context"
    return [
        Metric("volume_free/pictures_per_s", count / statistics.median(compute), "1/s", "higher"),
        Metric("volume_free/share_of_compute_rate", median_ratio(compute, streaming), "", "higher", 0.1, note=note),
    ]


def devices(quick: bool) -> list[Metric]:
    """Rest pose on devices that XLA makes of the same cores: what sharding costs, not what devices gain."""
    count = 20_000 if quick else 1_000_000
    metrics = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shape, cache = _rest_shape(folder), folder / "cache"
        data = write_data(folder / "data.parquet", count)
        for number in (1, 2, 4):
            flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={number}"}
            run(data, shape, folder / "s.parquet", cache, flags)
            figures = run(data, shape, folder / "s.parquet", cache, flags)
            metrics.append(
                Metric(f"volume_devices/{number}/computing_s", figures.computing_s, "s", note=f"{count} pictures")
            )
    return metrics


def stored_evidence(quick: bool) -> list[Metric]:
    """Reading stored evidence and comparing every picture with every person."""
    count, people = (2_000, 10) if quick else (1_000_000, 1_000)
    generator = np.random.default_rng(3)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "evidence.parquet"
        with open_evidence_writer(path, _BETAS, "a body", {}) as writer:
            for start in range(0, count, ROWS_PER_GROUP):
                rows = min(ROWS_PER_GROUP, count - start)
                names = pa.array([f"picture_{row:08d}" for row in range(start, start + rows)])
                writer.write(
                    pa.RecordBatch.from_arrays(
                        [names, pa.array(np.zeros(rows, np.int32)), *evidence_columns(_evidence(generator, rows))],
                        schema=pa.schema([("image", pa.string()), ("instance", pa.int32()), *evidence_fields(_BETAS)]),
                    )
                )
        persons = _evidence(generator, people)
        match_people(_evidence(generator, 10), persons)
        read_s, stored = timed(lambda: read_evidence(path))

        def match() -> int:
            found = 0
            for start in range(0, count, ROWS_PER_GROUP):
                found += len(match_people(stored.evidence(slice(start, start + ROWS_PER_GROUP)), persons).best)
            return found

        match_s, _ = timed(match)
    pairs = f"{count:,} pictures, {people:,} people"
    return [
        Metric("volume_evidence/read_s", read_s, "s", "lower", note=f"{count:,} pictures from Parquet"),
        Metric("volume_evidence/match_s", match_s, "s", "lower", note=pairs),
        Metric("volume_evidence/pairs_per_s", count * people / match_s, "1/s", "higher"),
    ]


def _evidence(generator: np.random.Generator, count: int) -> Evidence:
    factor = generator.normal(0, 0.3, (count, _BETAS, _BETAS)).astype(np.float32)
    precision = factor @ factor.transpose(0, 2, 1)
    return Evidence(precision, generator.normal(size=(count, _BETAS)).astype(np.float32))


WORKLOADS = {
    "volume_formats": by_format,
    "volume_memory": memory,
    "volume_free": free_pose,
    "volume_devices": devices,
    "volume_evidence": stored_evidence,
}


if __name__ == "__main__":
    _score(*sys.argv[2:])
