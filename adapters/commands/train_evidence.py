"""``samebody train-evidence``: train the network that gives a body's evidence without fits."""

from pathlib import Path

import click

from adapters.commands.display import say
from adapters.commands.help_text import Command
from adapters.commands.options import body as body_option
from adapters.commands.own_inputs import keep_inputs


@click.command(
    "train-evidence",
    cls=Command,
    examples="""
    samebody export-body smplx --model-path models/smpl --gender neutral --out smpl_neutral.npz
    samebody train-evidence --body smpl_neutral.npz
    samebody score dataset/ --body smpl_neutral.npz --shape shape.npz --out scores.parquet
    """,
)
@body_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Network file to write.  [default: in the folder where every command looks for networks]",
)
@click.option(
    "--poses",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Captured poses of simulated people (.npz with body_pose and root_orient, radians).  "
    "[default: drawn from the shipped pose prior, which covers fewer]",
)
@click.option(
    "--steps",
    default=15_000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Steps on single pictures; a fifth as many on sets of pictures follow.  It takes an hour or two on two cores.",
)
@click.option(
    "--batch", default=1024, show_default=True, type=click.IntRange(min=128), help="Simulated pictures in a step."
)
@click.option(
    "--pairs", default=320, show_default=True, type=click.IntRange(4, 512), help="Size of the network's layers."
)
@click.option(
    "--outlines/--no-outlines",
    default=True,
    show_default=True,
    help="Simulate outlines of clothed people as well.  Without a GPU, the steps take several times as long with them.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
def train_evidence(
    body: str, out: Path | None, poses: Path | None, steps: int, batch: int, pairs: int, outlines: bool, seed: int
) -> None:
    """Train a body's evidence network on simulated pictures.

    Every command then uses the network; it is a hundred times as fast as fits. The embedded body has a network. The
    same command continues an interrupted run.
    """
    from adapters.bodies.find import find_body
    from adapters.bodies.networks import network_folder
    from adapters.commands.display import row_progress
    from adapters.jobs.compile_cache import enable_compile_cache
    from adapters.jobs.train_evidence import TrainingProgress, pose_pool, train_network
    from engine.body.embedded import EMBEDDED_BODY
    from engine.evidence.amortised.network_file import network_name
    from engine.evidence.amortised.training import TrainingSettings

    if out is None and body == EMBEDDED_BODY:
        raise click.UsageError("the embedded body has its network; give --body FILE, or --out to train another")
    keep_inputs(out, (body, poses))
    enable_compile_cache()
    found = find_body(body)
    if out is None:
        out = network_folder() / network_name(found)
        out.parent.mkdir(parents=True, exist_ok=True)
    settings = TrainingSettings(pairs=pairs, seed=seed).resized(steps, batch)
    with row_progress("training on simulated pictures:") as advance:

        def show(now: TrainingProgress) -> None:
            advance(now.step * batch, now.steps * batch)

        result = train_network(found, pose_pool(poses), settings, out, show, outlines=outlines)
    say(f"{found.name}: {result.steps:,} steps, mean loss {result.loss:.3f} nats", str(result.path))
