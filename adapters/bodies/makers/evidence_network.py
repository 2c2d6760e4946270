"""Make the shipped evidence network: ``python -m adapters.bodies.makers.evidence_network --poses poses.npz``.

The poses are 14,532 of 46 subjects of the CMU Graphics Lab Motion Capture Database, Meta's Animated Drawings and
MakeHuman (``pose_pool`` defines the format). Subjects 01 and 02 are left out, because benchmarks test with their clips.
Only trained weights are written, never poses.

The shipped network was trained on a GPU that was available for minutes: ``--minutes`` measures the steps per second of
both stages and chooses the numbers of steps. They are written into the network's provenance.
"""

import time
from dataclasses import replace
from pathlib import Path

import click
import jax
import jax.numpy as jnp

from adapters.jobs.train_evidence import TrainingProgress, pose_pool, simulator_of, train_network
from engine.body.embedded import load_embedded_body
from engine.body.model import BodyModel
from engine.evidence.amortised.losses import SET_SIZE
from engine.evidence.amortised.network_file import SHIPPED
from engine.evidence.amortised.training import TrainingSettings, make_training, start_training, train
from engine.simulation.poses import PosePool
from engine.simulation.settings import SimulationSettings

LEFT_OUT = ("01", "02")
_SHARES = (0.65, 0.35)
"""Shares of the time for single pictures and for sets."""
_PROBE_STEPS = 30


@click.command()
@click.option("--poses", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("engine/evidence/data") / SHIPPED)
@click.option("--batch", default=1024, show_default=True, help="Simulated pictures in a step, a multiple of 256.")
@click.option("--pairs", default=TrainingSettings().pairs, show_default=True, help="Size of the network's layers.")
@click.option(
    "--minutes", type=float, help="Train for this long, compilation included.  [default: a fixed number of steps]"
)
def main(poses: Path, out: Path, batch: int, pairs: int, minutes: float | None) -> None:
    """Train the network; this takes hours on two cores."""
    began = time.monotonic()
    settings = settings_for(batch, pairs)
    body, pool = load_embedded_body(), pose_pool(poses, LEFT_OUT)
    if minutes is not None:
        settings = fill_time(body, pool, settings, began + 60 * minutes)
    click.echo(f"{settings}, {time.monotonic() - began:.0f} s for compilation")
    shown = began

    def show(now: TrainingProgress) -> None:
        nonlocal shown
        if time.monotonic() > shown + 10 or now.step == now.steps:
            shown = time.monotonic()
            click.echo(f"{now.step} of {now.steps}, loss {now.loss:.4f}, {now.remaining_s / 60:.1f} min to go")

    train_network(body, pool, settings, out, show)


def settings_for(batch: int, pairs: int) -> TrainingSettings:
    """The default settings with so many pictures in a step: more detectors, each with as many people."""
    settings = TrainingSettings(pairs=pairs)
    single, sets = settings.stages
    people = sets.sizes[1]
    sizes = (max(batch // (people * SET_SIZE), 1), people, SET_SIZE)
    return replace(settings, stages=(replace(single, sizes=(batch, 1, 1)), replace(sets, sizes=sizes)))


def fill_time(body: BodyModel, pool: PosePool, settings: TrainingSettings, end: float) -> TrainingSettings:
    """The settings with as many steps as end at a time of the monotonic clock, in seconds."""
    simulator = simulator_of(body, pool)
    rates = []
    for number in range(len(settings.stages)):
        training = make_training(simulator, SimulationSettings(), settings, number)
        state = train(training, start_training(settings, body.beta_count, outlines=True), jnp.asarray(3, jnp.int32))
        jax.block_until_ready(state)
        began = time.monotonic()
        jax.block_until_ready(train(training, state, jnp.asarray(_PROBE_STEPS, jnp.int32)))
        rates.append(_PROBE_STEPS / (time.monotonic() - began))
        click.echo(f"stage {number}: {rates[-1]:.1f} steps/s of {settings.stages[number].sizes}")
    left = end - time.monotonic()
    steps = [max(int(share * left * rate), 1) for share, rate in zip(_SHARES, rates, strict=True)]
    stages = [replace(stage, steps=count) for stage, count in zip(settings.stages, steps, strict=True)]
    return replace(settings, stages=tuple(stages))


if __name__ == "__main__":
    main()
