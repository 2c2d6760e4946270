"""The two plots of docs/reading-the-scores.md: ``python -m benchmarks.identity_plots [--poses FILE]``.

Whether probabilities keep their word, on synthetic people at three noise levels; and how much one picture says about
the body, by what is seen of it. Needs matplotlib.
"""

from pathlib import Path

import click
import jax
import numpy as np

from adapters.bodies.makers.pose_prior_export import read_poses
from benchmarks.identity import LEVELS, Bench, make_bench, single_probe
from benchmarks.identity_methods import AMORTISED, PICTURES, Faults, honest, pairs_of, photograph
from benchmarks.synthetic import held_out_poses, sampled_poses
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17, HALPE_26
from engine.evidence.shape_evidence import information_bits

_SIZE = (5.0, 3.6)
_SEEN = {
    "17 keypoints, 0.3 % noise": (Faults(0.003), COCO_17),
    "26 keypoints, 1 % noise": (Faults(0.01), HALPE_26),
    "17 keypoints, 1 % noise": (Faults(0.01), COCO_17),
    "17 keypoints, 2 % noise": (Faults(0.02), COCO_17),
    "17 keypoints, 1 % noise, no legs": (Faults(0.01, legs=False), COCO_17),
}


def plot_reliability(bench: Bench, path: Path) -> None:
    """Predicted probability against the actual share, by noise."""
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="a probability that keeps its word")
    for level in LEVELS:
        faults = Faults(level)
        people = photograph(bench.context(faults), bench.poses, faults, bench.identities)
        results = single_probe(honest(people), bench.identities, pairs_of(bench.identities, PICTURES), "")
        bins = next(result.bins for result in results if result.method == AMORTISED) or []
        axes.plot(
            [b.predicted for b in bins], [b.actual for b in bins], marker="o", ms=4, label=f"{100 * level:g} % noise"
        )
    axes.set(xlabel="same_body_probability", ylabel="share of pairs of one body", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def plot_information(bench: Bench, path: Path) -> None:
    """Bits that one picture gives, by what is seen."""
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

    spread = {}
    for name, (faults, schema) in _SEEN.items():
        people = photograph(bench.context(faults, schema), bench.poses, faults, bench.identities)
        spread[name] = np.asarray(jax.vmap(information_bits)(jax.tree.map(np.asarray, honest(people)[AMORTISED])))
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    names = list(reversed(spread))
    axes.boxplot([spread[name] for name in names], vert=False, whis=(5, 95), showfliers=False, widths=0.6)
    axes.set_yticks(range(1, len(names) + 1), names, fontsize=8)
    axes.axvline(1, color="0.7", linewidth=1)
    axes.set(xlabel="information_bits of one picture", xlim=(0, None))
    figure.savefig(path, dpi=110)


@click.command()
@click.option("--poses", "poses_path", type=click.Path(exists=True, path_type=Path), help="Captured poses (.npz).")
@click.option("--identities", default=100, show_default=True, type=click.IntRange(min=2))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path(__file__).parents[1] / "docs/images"
)
def main(poses_path: Path | None, identities: int, out: Path) -> None:
    """Draw both; without --poses the poses come from the shipped prior."""
    poses = sampled_poses(load_pose_prior()) if poses_path is None else held_out_poses(read_poses(poses_path))
    bench = make_bench(poses, identities)
    out.mkdir(parents=True, exist_ok=True)
    plot_reliability(bench, out / "reliability.png")
    plot_information(bench, out / "information.png")


if __name__ == "__main__":
    main()
