"""Tiles: every sample once, in order, whatever the count."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batching import map_samples, map_tiles, tile_rows
from tests.places import ROOT


def _double(context, sample):
    return {"sum": sample["a"].sum() * context, "same": sample["b"]}


@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 50))
def test_every_sample_is_mapped_in_order(count: int) -> None:
    samples = {"a": np.arange(3 * count, dtype=np.float32).reshape(count, 3), "b": np.arange(count, dtype=np.int32)}
    result = map_samples(_double, np.float32(2), samples, 8)
    np.testing.assert_array_equal(result["sum"], 2 * samples["a"].sum(axis=1))
    np.testing.assert_array_equal(result["same"], samples["b"])


def test_functions_only_ever_see_whole_tiles() -> None:
    sizes = []

    def record(tile):
        sizes.append(len(tile))
        return tile

    map_tiles(record, np.arange(21.0), 8)
    assert sizes == [8, 8, 8]


def test_different_counts_are_an_error() -> None:
    with pytest.raises(ValueError, match="different counts"):
        map_samples(_double, np.float32(1), {"a": np.zeros((3, 2)), "b": np.zeros(4)}, 8)


def test_an_error_in_one_tile_reaches_the_caller() -> None:
    def fail_late(tile):
        if tile[0] > 10:
            raise RuntimeError("broken tile")
        return tile

    with pytest.raises(RuntimeError, match="broken tile"):
        map_tiles(fail_late, np.arange(40.0), 8)


def test_tiles_grow_with_an_accelerators_memory_and_fit_into_it() -> None:
    sizes = [tile_rows(128, 700, gigabytes << 30) for gigabytes in (1, 4, 80)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] == 64 * 128
    assert all(size % 128 == 0 for size in sizes)
    assert tile_rows(128, 700, 1 << 20) == tile_rows(128, 700, None) == 128


_ON_DEVICES = """
import hashlib, sys
import jax, numpy as np
from benchmarks.rest_pose import random_pictures
from engine.batching import map_samples, used_devices
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.schemas import COCO_17
from engine.picture.observation import observe
from engine.rest.scoring import score_rest_pictures

assert len(used_devices()) == int(sys.argv[1]) and len(used_devices(concurrent=False)) == 1
body = reduce_body(load_embedded_body(), COCO_17)
pictures = random_pictures(body, 40_000)
digest = hashlib.sha256()
def uneven(body, picture):
    # Lanes end after different numbers of steps, as those of a solver do.
    seen = observe(body, *picture)
    return jax.lax.while_loop(lambda c: c[1] > 0.01, lambda c: (c[0] + 1, c[1] * seen.confidence[0]), (0, 1.0)), seen
for result in (
    score_rest_pictures(body, np.linspace(-1, 1, 10, dtype=np.float32), *pictures),
    map_samples(uneven, body, tuple(part[:1000] for part in pictures), 128),
):
    for leaf in jax.tree.leaves(result):
        digest.update(np.asarray(leaf).tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_the_number_of_devices_changes_no_bit() -> None:
    digests = set()
    for devices in (1, 3):
        environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        command = [sys.executable, "-c", _ON_DEVICES, str(devices)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT)
        digests.add(done.stdout)
    assert len(digests) == 1


def _third(_: None, value: jax.Array) -> jax.Array:
    return value / 3


def test_every_tile_has_the_precision_that_the_caller_chose() -> None:
    values = np.arange(1.0, 8.0)
    with jax.enable_x64(True):
        np.testing.assert_allclose(map_samples(_third, None, values, tile_size=2), values / 3, rtol=1e-14)
