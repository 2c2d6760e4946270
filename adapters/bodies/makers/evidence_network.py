"""Make the shipped evidence network: ``python -m adapters.bodies.makers.evidence_network --poses poses.npz``.

The poses are 14,532 of 46 subjects of the CMU Graphics Lab Motion Capture Database, Meta's Animated Drawings and
MakeHuman (``pose_pool`` defines the format). Subjects 01 and 02 are left out, because benchmarks test with their clips.
Only trained weights are written, never poses.
"""

from pathlib import Path

import click

from adapters.jobs.train_evidence import TrainingProgress, pose_pool, train_network
from engine.body.embedded import load_embedded_body
from engine.evidence.amortised.network_file import SHIPPED
from engine.evidence.amortised.training import TrainingSettings

LEFT_OUT = ("01", "02")


@click.command()
@click.option("--poses", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("engine/evidence/data") / SHIPPED)
def main(poses: Path, out: Path) -> None:
    """Train the network; this takes an hour on two cores."""

    def show(now: TrainingProgress) -> None:
        if now.step % 500 == 0:
            click.echo(f"{now.step} of {now.steps}, loss {now.loss:.4f}, {now.remaining_s / 60:.0f} min to go")

    train_network(load_embedded_body(), pose_pool(poses, LEFT_OUT), TrainingSettings(), out, show)


if __name__ == "__main__":
    main()
