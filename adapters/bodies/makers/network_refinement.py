"""Go on training the shipped evidence network on processors: ``python -m adapters.bodies.makers.network_refinement
--poses poses.npz --pool DIR``.

Outlines take most of the time of a training without an accelerator. So the simulated pictures are drawn once, kept in
a folder, and used in several epochs, each in another order. A drawing or a training that was interrupted goes on where
files are missing: parts that are in the folder are not drawn again. The poses are those of
``adapters.bodies.makers.evidence_network``.
"""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import click
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from adapters.bodies.makers.evidence_network import LEFT_OUT
from adapters.jobs.train_evidence import pose_pool, simulator_of
from engine.batching import AnyArray
from engine.body.embedded import load_embedded_body
from engine.body.files import replace_file
from engine.evidence.amortised.features import Features
from engine.evidence.amortised.losses import SET_SIZE
from engine.evidence.amortised.network_file import SHIPPED, load_network, save_network
from engine.evidence.amortised.training import (
    Batch,
    Stage,
    TrainingSettings,
    TrainingState,
    batch_loss,
    features_of,
    schedule_of,
    start_training,
    take_step,
)
from engine.simulation.pictures import Simulator, simulate_sets
from engine.simulation.settings import OutlineSettings, SimulationSettings

_NETWORK = Path("engine/evidence/data") / SHIPPED
_SIZES = (4, 16, SET_SIZE)
_BATCHES = 16
"""Batches in a part of the pool."""
_SETTINGS = SimulationSettings(outline=OutlineSettings(share=0.75))
_loss = eqx.filter_jit(batch_loss)
_FIRST_KEY = 1_000_003
_JUDGED = 2
"""The first parts of the pool are never trained on."""


@click.command()
@click.option("--poses", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--pool", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the pictures.")
@click.option("--parts", default=85, show_default=True, help="Parts of the pool, 8,192 pictures each.")
@click.option("--epochs", default=1, show_default=True)
@click.option("--rate", default=4e-4, show_default=True, help="Greatest learning rate.")
@click.option("--network", type=click.Path(exists=True, path_type=Path), default=_NETWORK, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=_NETWORK, show_default=True)
def main(poses: Path, pool: Path, parts: int, epochs: int, rate: float, network: Path, out: Path) -> None:
    """Refine the network; drawing takes 25 s a part on two cores."""
    body = load_embedded_body()
    draw_pool(simulator_of(body, pose_pool(poses, LEFT_OUT)), pool, parts)
    start = load_network(network, body)
    used = np.arange(_JUDGED, parts)
    stage = Stage(epochs * len(used) * _BATCHES, _SIZES, learning_rate=rate, averaging=0.997, warm_up=100)
    settings = TrainingSettings((stage,), start.first_even.shape[1], start.even.shape[0])
    state = start_training(settings, body.beta_count, outlines=True, network=start)
    before = judged_loss(pool, state)
    click.echo(f"{stage.steps} steps; loss {before:.4f} before")
    generator, began = np.random.default_rng(settings.seed), time.monotonic()
    schedule = schedule_of(settings, 0)
    step = jax.jit(partial(take_step, schedule, _SIZES))
    for epoch in range(epochs):
        for place, part in enumerate(generator.permutation(used)):
            for batch in batches(pool, part):
                state = step(state, batch)
            if place % 20 == 0:
                minutes = (time.monotonic() - began) / 60
                click.echo(f"epoch {epoch}, {place} of {len(used)} parts, loss {state.loss:.4f}, {minutes:.0f} min")
    after = judged_loss(pool, state)
    click.echo(f"loss {after:.4f} after")
    provenance = {"refined": str(stage), "epochs": epochs, "parts": parts, "loss before": before, "loss": after}
    with np.load(network, allow_pickle=False) as stored:
        provenance = {**json.loads(str(stored["header"]))["provenance"], **provenance}
    save_network(out, jax.tree.map(np.asarray, state.mean.network), body, provenance)


def draw_pool(simulator: Simulator, pool: Path, parts: int) -> None:
    """Draw the parts that are not in the folder."""
    pool.mkdir(parents=True, exist_ok=True)

    @jax.jit
    def draw(key: Array) -> dict[str, AnyArray]:
        sets = simulate_sets(simulator, _SETTINGS, key, _SIZES)
        pictures = jax.tree.map(lambda array: array.reshape(-1, *array.shape[3:]), sets)
        features, _ = jax.vmap(partial(features_of, simulator))(pictures)
        return {"even": features.even, "odd": features.odd, "betas": sets.betas[:, :, 0]}

    for part in range(parts):
        if _file(pool, part).exists():
            continue
        drawn = [draw(jax.random.key(_FIRST_KEY + part * _BATCHES + batch)) for batch in range(_BATCHES)]
        arrays = {name: np.stack([np.asarray(one[name]) for one in drawn]) for name in drawn[0]}

        def write(stream: IO[bytes], arrays: dict[str, Any] = arrays) -> None:
            np.savez(stream, **arrays)

        replace_file(_file(pool, part), write)
        click.echo(f"{part + 1} of {parts} parts drawn")


def _file(pool: Path, part: int) -> Path:
    return pool / f"{part:05d}.npz"


def batches(pool: Path, part: int) -> Iterator[Batch]:
    """The batches of one part."""
    with np.load(_file(pool, part), allow_pickle=False) as stored:
        even, odd, betas = stored["even"], stored["odd"], stored["betas"]
    for one in zip(even, odd, betas, strict=True):
        yield Batch(Features(jnp.asarray(one[0]), jnp.asarray(one[1])), None, jnp.asarray(one[2]))


def judged_loss(pool: Path, state: TrainingState) -> float:
    """Mean loss of the running mean on the parts that are never trained on, nats."""
    losses = [float(_loss(state.mean, _SIZES, batch)) for part in range(_JUDGED) for batch in batches(pool, part)]
    return float(np.mean(losses))


if __name__ == "__main__":
    main()
