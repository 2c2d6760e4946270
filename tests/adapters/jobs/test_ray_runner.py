"""Scoring on a cluster writes the file of a local run, byte for byte, also when a machine dies."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from adapters.jobs.fit import FitSettings, fit_references
from adapters.jobs.ray_runner import RayCluster, Workers, _fitting_workers
from adapters.jobs.score import score_to_file
from adapters.keypoints.readers import open_keypoints, read_keypoints
from adapters.keypoints.table import KeypointTable, concat_tables
from adapters.keypoints.writers import write_keypoints
from engine.body.model import BodyModel
from engine.scores import Status
from tests.adapters.sample_keypoints import assert_tables_equal, instance, write_json
from tests.places import DEMO, ROOT


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two Parquet files with rows of every kind; their sizes go with no size of a piece."""
    folder = tmp_path_factory.mktemp("ray")
    demo = read_keypoints([DEMO / "dataset.parquet"])
    many = concat_tables(demo.schema, [demo] * 450)
    status = np.full(len(many), Status.OK, np.int8)
    status[::1000] = Status.NO_DETECTION
    image = pa.array([f"{k}.jpg" for k in range(len(many))])
    many = KeypointTable(**{**vars(many), "image": image, "status": status})
    write_keypoints(folder / "a.parquet", many)
    write_keypoints(folder / "b.parquet", demo)
    return [folder / "a.parquet", folder / "b.parquet"]


@pytest.mark.parametrize(
    ("rows", "skip"), [(7000, 0), (7000, 14000), (40_545, 0), (100_000, 3), (30, 40_520), (5, 40_590)]
)
def test_pieces_hold_the_rows_that_reading_everything_gives(files: list[Path], rows: int, skip: int) -> None:
    source = open_keypoints(files)
    whole = read_keypoints(files)
    tables = [source.read_piece(piece) for piece in source.pieces(rows, skip)]
    assert all(len(table) == rows for table in tables[:-1])
    pieces = concat_tables(source.schema, tables)
    assert len(pieces) == max(len(whole) - skip, 0)
    assert pieces.image.to_pylist() == whole.image.to_pylist()[skip:]
    np.testing.assert_array_equal(pieces.keypoints, whole.keypoints[skip:])
    np.testing.assert_array_equal(pieces.status, whole.status[skip:])
    if not skip:
        assert_tables_equal(pieces, whole)


def test_only_parquet_comes_in_pieces(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", [instance(1)])
    with pytest.raises(ValueError, match=r"a\.json: only Parquet"):
        open_keypoints([path]).pieces(10)


def test_workers_follow_from_what_the_cluster_has() -> None:
    head = {"Alive": True, "Resources": {"CPU": 0.0}}
    small, large = ({"Alive": True, "Resources": {"CPU": float(cpus)}} for cpus in (8, 32))
    gpus = {"Alive": True, "Resources": {"CPU": 64.0, "GPU": 4.0}}
    dead = {"Alive": False, "Resources": {"CPU": 8.0, "GPU": 8.0}}
    assert _fitting_workers([head, small, large, dead]) == Workers(2, 7.0, 0)
    assert _fitting_workers([head, gpus, gpus, dead]) == Workers(8, 1, 1)
    with pytest.raises(ValueError, match="no machine"):
        _fitting_workers([head, dead])


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"samebody\[ray\]"):
        RayCluster("local")


_SCRIPT = """
import os
import sys

from ray.cluster_utils import Cluster

from adapters.jobs.ray_runner import RayCluster
from adapters.keypoints.readers import open_keypoints
from adapters.jobs.score import RunSettings, score_to_file
from engine.body.embedded import load_embedded_body
from engine.shape import Shape

*data, shape, out = sys.argv[1:]
# By default Ray takes half a minute to find a machine dead.
checks = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_failure_threshold": 6}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": checks})
workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
ray_cluster = RayCluster(cluster.address)
assert ray_cluster.workers.count == 2
killed = []


def kill_one(done, expected):
    if done and not killed:
        killed.append(done)
        cluster.remove_node(workers[0], allow_graceful=False)


source = open_keypoints(data, chunk_size=1000)
score_to_file(
    source, load_embedded_body(), Shape.load(shape), out,
    run=RunSettings(compute=ray_cluster.batches, on_progress=kill_one, pictures_per_part=4000),
)
print("killed after", killed[0], flush=True)
# Ray's own end complains about the machine that is missing.
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'samebody[ray]'")
def test_a_cluster_that_loses_a_worker_writes_the_same_bytes(
    anny: BodyModel, files: list[Path], tmp_path: Path
) -> None:
    shape = fit_references(read_keypoints([DEMO / "references.parquet"]), anny, FitSettings(mode="rest"))
    shape.save(tmp_path / "shape.npz")
    local, cluster = tmp_path / "local.parquet", tmp_path / "cluster.parquet"
    score_to_file(open_keypoints(files), anny, shape, local)
    arguments = [*map(str, files), str(tmp_path / "shape.npz"), str(cluster)]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = int(done.stdout.split("killed after ")[1])
    assert 0 < rows < 40_590 / 2
    assert cluster.read_bytes() == local.read_bytes()
