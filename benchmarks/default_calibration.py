"""Makes the calibration that is shipped: ``python -m benchmarks.default_calibration``.

Synthetic pictures, since labelled real ones of many people are not to be had: people drawn from the shape prior, poses
from the shipped pose prior, any view, COCO-17, independent Gaussian noise of 1 % of a person's height on a typical
joint. That is the size that real detections of one person showed against four-view triangulation (0.9 to 1.1 %; see
``engine.posed.fit.POSED_NOISE``). Real errors mostly repeat within a camera, 0.27 % change from frame to frame: for
pictures of different shots they are independent, for frames of one clip the group correlation stands for it,
1 − (0.27/1)² = 0.93, rounded down. Clothes are in no data that was used: the within-person covariance is what is left
to explain, and that is next to nothing.
"""

from pathlib import Path

import click
import numpy as np

from benchmarks.synthetic import SyntheticSettings, make_pictures, sampled_poses
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17
from engine.evidence.calibration import Calibration
from engine.evidence.calibration_estimate import calibrate
from engine.evidence.calibration_file import save_calibration
from engine.posed.fit import POSED_NOISE, fit_shapes, make_context, observe_pictures
from engine.posed.results import shape_evidence

PEOPLE, PICTURES, SEED = 100, 8, 3005
_NEGLIGIBLE = 0.02
"""Variances of a component below this are set to zero: they shrink no evidence, and without them any body will do."""
_PROVENANCE = (
    f"synthetic: {PEOPLE} people x {PICTURES} pictures, embedded body, poses from the shipped prior, any view, coco17, "
    "independent noise of 1 % of a person's height; no clothes. Group correlation from real four-camera OpenPose "
    "keypoints of one man (Pose2Sim's balancing trial): errors of 1 %, of which 0.27 % change from frame to frame"
)


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path(__file__).parents[1] / "engine/evidence/data/default.json"
)
def main(out: Path) -> None:
    """Draw, fit, calibrate, and write the file."""
    body = load_embedded_body()
    context = make_context(reduce_body(body, COCO_17))
    settings = SyntheticSettings(people=PEOPLE, pictures=PICTURES, seed=SEED, noise_level=POSED_NOISE.level)
    drawn = make_pictures(context.model.body, sampled_poses(load_pose_prior()), settings)
    keypoints, confidence = (
        values.reshape(PEOPLE * PICTURES, *values.shape[2:]).astype(np.float32)
        for values in (drawn.keypoints_px, drawn.confidence)
    )
    evidence = shape_evidence(context, fit_shapes(context, observe_pictures(context, keypoints, confidence)))
    report = calibrate(evidence, np.repeat(np.arange(PEOPLE), PICTURES), _PROVENANCE)
    found = np.diag(report.calibration.within_person)
    variances = np.round(np.where(found < _NEGLIGIBLE, 0.0, found), 3)
    calibration = Calibration(
        noise_scale=round(report.calibration.noise_scale, 3),
        within_person=np.diag(variances),
        provenance=_PROVENANCE,
        body_fingerprint=body.fingerprint if variances.any() else "",
    )
    save_calibration(out, calibration)
    click.echo(
        f"noise scale {report.calibration.noise_scale:.3f}, within-person variances "
        f"{' '.join(f'{value:.4f}' for value in found)}; log likelihood {report.log_likelihood_before:.3f} -> "
        f"{report.log_likelihood_after:.3f} nats per picture, calibration error "
        f"{report.calibration_error_before:.3f} -> {report.calibration_error_after:.3f}\n{out}"
    )


if __name__ == "__main__":
    main()
