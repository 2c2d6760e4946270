"""Are pictures grouped by body without references? ``python -m benchmarks.clusters [--poses FILE]``.

Precision: the share of pairs in one cluster that are one body; recall: the share of pairs of one body that are in one
cluster; both with what chance would give for the same cluster sizes. Sure pictures: those that belong to their cluster
with a probability of 0.9 or more, and how many of them are in a cluster most of which is their own person.
"""

from pathlib import Path

import click
import numpy as np

from adapters.bodies.makers.pose_prior_export import read_poses
from adapters.commands.display import print_table
from adapters.jobs.clustering import cluster_pictures
from benchmarks.identity import make_bench
from benchmarks.identity_methods import AMORTISED, PICTURES, Faults, honest, photograph
from benchmarks.synthetic import held_out_poses, sampled_poses
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17, HALPE_26

_SURE = 0.9


@click.command()
@click.option("--poses", "poses_path", type=click.Path(exists=True, path_type=Path), help="Captured poses (.npz).")
@click.option("--identities", default=20, show_default=True, type=click.IntRange(min=2))
def main(poses_path: Path | None, identities: int) -> None:
    """Cluster people in several qualities; without --poses the poses come from the shipped prior."""
    poses = sampled_poses(load_pose_prior()) if poses_path is None else held_out_poses(read_poses(poses_path))
    bench = make_bench(poses, identities)
    person = np.repeat(np.arange(identities), PICTURES)
    one_body = person[:, None] == person
    pairs = ~np.eye(len(person), dtype=bool)
    rows = []
    for level, schema in ((0.01, COCO_17), (0.003, COCO_17), (0.001, HALPE_26), (0.0003, HALPE_26)):
        faults = Faults(level)
        people = photograph(bench.context(faults, schema), bench.poses, faults, identities)
        found = cluster_pictures(honest(people)[AMORTISED])
        together = (found.group[:, None] == found.group) & pairs
        own = np.array([np.mean(person[found.group == found.group[i]] == person[i]) > 0.5 for i in range(len(person))])
        sure = found.probability >= _SURE
        rows.append(
            (
                f"{schema.name}, {100 * level:g} % noise",
                str(found.group.max() + 1),
                f"{(together & one_body).sum() / max(together.sum(), 1):.2f} (chance {one_body[pairs].mean():.2f})",
                f"{(together & one_body).sum() / (one_body & pairs).sum():.2f} (chance {together[pairs].mean():.2f})",
                f"{sure.mean():.2f}",
                f"{own[sure].mean():.2f}" if sure.any() else "none",
            )
        )
    names = ("pictures", "clusters", "precision", "recall", "sure", "of them right")
    print_table(f"{identities} people with {PICTURES} pictures each", names, rows)


if __name__ == "__main__":
    main()
