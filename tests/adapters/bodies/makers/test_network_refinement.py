"""Refining a network: it learns from the pool, and starts from the network it is given."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from click.testing import CliRunner

from adapters.bodies.makers import network_refinement
from engine.body.embedded import load_embedded_body
from engine.evidence.amortised.features import (
    EVEN_COUNT,
    ODD_COUNT,
    OUTLINE_EVEN_COUNT,
    OUTLINE_ODD_COUNT,
)
from engine.evidence.amortised.losses import SET_SIZE
from engine.evidence.amortised.network import init_network
from engine.evidence.amortised.network_file import load_network, save_network

SIZES = (1, 16, SET_SIZE)
PARTS = 7


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures whose first features are the shape of the person."""
    monkeypatch.setattr(network_refinement, "_SIZES", SIZES)
    monkeypatch.setattr(network_refinement, "_BATCHES", 4)
    monkeypatch.setattr(network_refinement, "pose_pool", lambda *_: None)
    monkeypatch.setattr(network_refinement, "simulator_of", lambda *_: None)
    generator = np.random.default_rng(0)
    folder = tmp_path / "pool"
    folder.mkdir()
    count = int(np.prod(SIZES))
    for part in range(PARTS):
        betas = generator.normal(size=(4, *SIZES[:2], 10)).astype(np.float32)
        even = 0.1 * generator.normal(size=(4, count, EVEN_COUNT + OUTLINE_EVEN_COUNT)).astype(np.float32)
        even[..., :10] = np.repeat(betas.reshape(4, -1, 10), SET_SIZE, axis=1)
        odd = 0.1 * generator.normal(size=(4, count, ODD_COUNT + OUTLINE_ODD_COUNT)).astype(np.float32)
        np.savez(folder / f"{part:05d}.npz", even=even, odd=odd, betas=betas)
    return folder


def refine(pool: Path, network: Path, out: Path, *more: str) -> str:
    call = ["--poses", str(network), "--pool", str(pool), "--parts", str(PARTS), "--network", str(network)]
    result = CliRunner().invoke(network_refinement.main, [*call, "--out", str(out), *more], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


@pytest.mark.slow
def test_a_network_learns_from_the_pool(pool: Path, tmp_path: Path) -> None:
    body = load_embedded_body()
    start, out = tmp_path / "start.npz", tmp_path / "refined.npz"
    network, _ = init_network(jax.random.key(0), 16, 1, body.beta_count, outlines=True)
    save_network(start, jax.tree.map(np.asarray, network), body, {"steps": 7})
    assert "80 steps" in refine(pool, start, out, "--epochs", "4", "--rate", "0.01")
    with np.load(out, allow_pickle=False) as stored:
        provenance = json.loads(str(stored["header"]))["provenance"]
    assert provenance["steps"] == 7
    assert provenance["loss"] < provenance["loss before"] - 1
    # No step leaves the network as it is, to the grid of its file.
    still = tmp_path / "still.npz"
    refine(pool, start, still, "--rate", "0")
    before, after = load_network(start, body), load_network(still, body)
    assert all(np.array_equal(value, getattr(after, name)) for name, value in vars(before).items())
