"""How far a person's fitted shape is from the truth, by the number of references: ``python -m benchmarks.shape_error``.

The posterior mean of the network's evidence (``--solver auto``) beside the shared fit of all pictures (``lm``) and the
posterior mean of both evidences together (``joint``), on the same simulated people in poses that none has seen, 1 %
noise, COCO-17. The error is the root mean square over the ten components, in standard
deviations of the population: 1 is what knowing nothing gives.
"""

import time
from pathlib import Path

import click
import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.table import Table

from adapters.bodies.makers.pose_prior_export import read_poses
from benchmarks.identity_methods import amortised_of
from benchmarks.synthetic import SyntheticSettings, held_out_poses, make_pictures, sampled_poses
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17
from engine.evidence.amortised.stage import join_evidence
from engine.evidence.comparison import marginals
from engine.evidence.shape_evidence import Evidence
from engine.posed.fit import make_context, observe_pictures
from engine.posed.shared_shape import fit_shared_shapes

_REFERENCES = (1, 4, 16, 64)
_LEVEL = 0.01


@click.command()
@click.option("--poses", "poses_path", type=click.Path(exists=True, path_type=Path), help="Captured poses (.npz).")
@click.option("--people", default=20, show_default=True, type=click.IntRange(min=2))
@click.option("--most", default=64, show_default=True, help="Largest number of references.")
def main(poses_path: Path | None, people: int, most: int) -> None:
    """Compare both kinds of shapes."""
    poses = sampled_poses(load_pose_prior()) if poses_path is None else held_out_poses(read_poses(poses_path))
    context = make_context(reduce_body(load_embedded_body(), COCO_17))
    settings = SyntheticSettings(people=people, pictures=most, noise_level=_LEVEL, seed=17)
    drawn = make_pictures(context.model.body, poses, settings)
    table = Table("references", "network: error", "seconds", "shared fit: error", "seconds", "both: error")
    for count in (n for n in _REFERENCES if n <= most):
        keypoints = drawn.keypoints_px[:, :count].reshape(people * count, -1, 2).astype(np.float32)
        confidence = drawn.confidence[:, :count].reshape(people * count, -1).astype(np.float32)
        start = time.perf_counter()
        evidence = amortised_of(context, keypoints, confidence)
        means = _means(evidence, people)
        middle = time.perf_counter()
        pictures = observe_pictures(context, keypoints, confidence)
        fit = fit_shared_shapes(context, pictures, np.repeat(np.arange(people), count))
        end = time.perf_counter()
        both = np.any(evidence.precision, axis=(1, 2)) & np.any(fit.own_evidence.precision, axis=(1, 2))
        joint = _means(join_evidence(fit.own_evidence, evidence, both), people)
        errors = (np.sqrt(np.mean((betas - drawn.betas) ** 2)) for betas in (means, fit.betas, joint))
        network, fitted, together = (f"{error:.3f}" for error in errors)
        seconds = (f"{middle - start:.1f}", f"{end - middle:.1f}")
        table.add_row(str(count), network, seconds[0], fitted, seconds[1], together)
    Console().print(table)


def _means(evidence: Evidence, people: int) -> Float[np.ndarray, "people betas"]:
    """Posterior means of people; the pictures of each are adjacent."""
    parts = (np.asarray(part, np.float64) for part in evidence)
    return marginals(Evidence(*(part.reshape(people, -1, *part.shape[1:]).sum(axis=1) for part in parts))).mean


if __name__ == "__main__":
    main()
