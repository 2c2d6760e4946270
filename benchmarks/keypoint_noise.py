"""Is noise that differs by keypoint found from fits alone, and is it worth it? ``python -m benchmarks.keypoint_noise``.

Pictures are drawn with known factors on the noise of some keypoints and fitted with what has been found so far, round
by round; ``samebody calibrate`` does one. The last row is told the truth. The pictures that separate people are not
those from which the factors come.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from adapters.bodies.makers.pose_prior_export import read_poses
from adapters.commands.display import print_table
from benchmarks.identity import single_probe
from benchmarks.identity_methods import LAPLACE, PICTURES, pairs_of
from benchmarks.synthetic import PoseSet, SyntheticSettings, held_out_poses, make_pictures, sampled_poses
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody, reduce_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17
from engine.evidence.calibration import calibrated_pictures
from engine.evidence.calibration_file import default_calibration
from engine.evidence.keypoint_noise import keypoint_noise
from engine.evidence.stages import PictureEvidence
from engine.posed.fit import POSED_NOISE, make_context
from engine.posed.scoring import fit_own
from engine.posed.search import PosedContext

DETECTORS = {
    "as assumed": {},
    "sure of hips and shoulders": {"hip": 0.5, "shoulder": 0.5},
    "poor at ankles and wrists": {"ankle": 2.5, "wrist": 2.0},
}
_ROUNDS = 4
_SEED = 17


def _named(body: KeypointBody, factors: dict[str, float]) -> dict[str, float]:
    return {name: factors.get(name.split("_")[-1], 1.0) for name in body.schema.keypoint_names}


def draw(
    body: KeypointBody, poses: PoseSet, factors: dict[str, float], people: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints and confidence of pictures whose noise at each keypoint is so many times what the engine assumes."""
    drawn = make_pictures(body, poses, SyntheticSettings(people=people, pictures=PICTURES, seed=seed))
    sigmas = np.asarray(POSED_NOISE.with_factors(factors).sigmas(body.schema))
    noise = np.random.default_rng(seed).normal(size=drawn.true_keypoints_px.shape) * sigmas[:, None]
    keypoints = drawn.true_keypoints_px + noise * drawn.person_height_px[..., None, None]
    count = people * PICTURES
    return keypoints.reshape(count, -1, 2).astype(np.float32), drawn.confidence.reshape(count, -1).astype(np.float32)


def _fitted(
    body: KeypointBody, factors: dict[str, float], pictures: tuple[np.ndarray, np.ndarray]
) -> tuple[PosedContext, PictureEvidence]:
    context = make_context(body, noise=POSED_NOISE.with_factors(factors))
    return context, fit_own(context, *pictures)


def rounds(body: KeypointBody, labelled: tuple[np.ndarray, np.ndarray]) -> Iterator[dict[str, float]]:
    """What is known of the noise of each keypoint after none, one, two ... rounds of fitting and estimating."""
    found = dict.fromkeys(body.schema.keypoint_names, 1.0)
    yield found
    for _ in range(_ROUNDS):
        context, fits = _fitted(body, found, labelled)
        more = keypoint_noise(context, fits.fit)
        found = {name: factor * more[name] for name, factor in found.items()}
        yield found


def _separation(fits: PictureEvidence, people: int) -> tuple[str, str]:
    evidence = calibrated_pictures(fits.evidence, default_calibration())
    (result,) = single_probe({LAPLACE: evidence}, people, pairs_of(people, PICTURES), "")
    return f"{result.separation.auc:.3f}", f"{result.calibration_error:.3f}"


@click.command()
@click.option("--poses", "poses_path", type=click.Path(exists=True, path_type=Path), help="Captured poses (.npz).")
@click.option("--identities", default=100, show_default=True, type=click.IntRange(min=2))
def main(poses_path: Path | None, identities: int) -> None:
    """Find the noise of each keypoint in rounds; without --poses the poses come from the shipped prior."""
    poses = sampled_poses(load_pose_prior()) if poses_path is None else held_out_poses(read_poses(poses_path))
    body = reduce_body(load_embedded_body(), COCO_17)
    for name, parts in DETECTORS.items():
        truth = _named(body, parts)
        labelled = draw(body, poses, truth, identities, _SEED)
        unknown = draw(body, poses, truth, identities, _SEED + 1)
        shown = parts or {"hip": 1.0, "ankle": 1.0}
        rows = []
        told = [*((f"{number} rounds", found) for number, found in enumerate(rounds(body, labelled))), ("truth", truth)]
        for row, factors in told:
            off = np.array([factors[keypoint] / truth[keypoint] for keypoint in truth])
            some = ", ".join(f"{part} {factors[f'left_{part}']:.2f}" for part in shown)
            _, fits = _fitted(body, factors, unknown)
            rows.append((row, some, f"{off.min():.2f} to {off.max():.2f}", *_separation(fits, identities)))
        print_table(name, ("noise by keypoint", "found", "found / true", "AUC", "calibration error"), rows)


if __name__ == "__main__":
    main()
