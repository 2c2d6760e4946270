"""Tiles: every sample once, in order, whatever the count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batching import map_samples, map_tiles


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
