"""Consistency with and without outlines: ``python -m benchmarks.outline_consistency [--poses FILE]``.

Single pictures against four references of the same person and of others (``benchmarks.outline_pictures``): what the
excess is, over which figure of the picture's information it is the same in every dress, and consistency with a constant
threshold and with the one that grows (``engine.evidence.amortised.stage``).
"""

from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from adapters.bodies.makers.pose_prior_export import read_poses
from adapters.bodies.networks import amortised_model
from benchmarks.identity_methods import REFERENCES, fused, pairs_of
from benchmarks.identity_metrics import separation
from benchmarks.outline_pictures import PICTURES, dressed_people
from benchmarks.outlines import COMPONENTS, _level
from benchmarks.synthetic import held_out_poses, sampled_poses
from engine.body.embedded import load_embedded_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17
from engine.evidence.amortised.stage import consistency, picture_evidence, quadratic_excess
from engine.evidence.comparison import marginals
from engine.evidence.shape_evidence import Evidence
from engine.evidence.stages import PictureEvidence
from engine.picture.noise import NoiseModel
from engine.posed.scoring import EXCESS_THRESHOLD


def figures(pictures: PictureEvidence, people: int) -> tuple[float, ...]:
    """Of pictures against references of their own person: medians of the excess in nats, and of excess over tr Λ, over
    the number of components that the picture determines, tr Λ (I + Λ)⁻¹, and over bits. Then consistency with a
    constant threshold and with the product's: medians of the same person and of others, area under the ROC curve."""
    pairs = pairs_of(people, PICTURES)
    betas = np.asarray(marginals(fused(pictures.evidence, people, PICTURES, 0, REFERENCES)).mean)[pairs.person]
    seen = Evidence(*(np.asarray(part)[pairs.probe] for part in pictures.evidence))
    outlined = None if pictures.outlined is None else np.asarray(pictures.outlined)[pairs.probe]
    asked = PictureEvidence(
        seen,
        pictures.status[pairs.probe],
        pictures.swapped_labels[pairs.probe],
        np.asarray(pictures.known)[pairs.probe],
    )
    excess = np.asarray(quadratic_excess(seen, betas), float)
    precision = np.asarray(seen.precision, float)
    trace = np.trace(precision, axis1=1, axis2=2)
    determined = np.trace(np.linalg.solve(precision + np.eye(precision.shape[-1]), precision), axis1=1, axis2=2)
    bits = 0.5 * np.linalg.slogdet(precision + np.eye(precision.shape[-1]))[1] / np.log(2)
    own = pairs.same
    shares = (float(np.median(excess[own] / scale[own])) for scale in (trace, determined, bits))
    found = [np.median(excess[own]), *shares]
    for given in (asked, asked._replace(outlined=outlined)):
        values = consistency(given, betas, EXCESS_THRESHOLD)
        found += [np.median(values[own]), np.median(values[~own]), separation(values, own).auc]
    return tuple(float(value) for value in found)


@click.command()
@click.option("--poses", "poses_path", type=click.Path(exists=True, path_type=Path), help="Captured poses (.npz).")
@click.option("--people", default=60, show_default=True, type=click.IntRange(min=4))
@click.option("--cache", type=click.Path(path_type=Path), help="File (.npz) that keeps the measured outlines.")
def main(poses_path: Path | None, people: int, cache: Path | None) -> None:
    """Measure the law of the excess. Without --poses the poses come from the shipped prior."""
    poses = sampled_poses(load_pose_prior()) if poses_path is None else held_out_poses(read_poses(poses_path))
    model = amortised_model(load_embedded_body())
    assert model is not None
    drawn = dressed_people(poses, people, load_embedded_body(COMPONENTS), cache)
    seen = (model, COCO_17, NoiseModel(_level(poses)), drawn.keypoints_px, drawn.confidence)
    table = Table(header_style="bold")
    for column in ("clothes", "excess", "/ tr", "/ components", "/ bits", "constant: same, others, area", "grown"):
        table.add_column(column)
    for name, widths in (("keypoints alone", None), *drawn.outlines_px.items()):
        found = figures(picture_evidence(*seen, widths), people)
        threes = (" ".join(f"{value:.3f}" for value in part) for part in (found[4:7], found[7:]))
        table.add_row(name, f"{found[0]:.2f}", *(f"{share:.3f}" for share in found[1:4]), *threes)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
