"""What scores must do whatever the data: ``python -m benchmarks.score_laws [--poses FILE] [--solver amortised]``.

A picture as its only reference, and as one of four; another body in the same pose before the same camera; and pictures
that are resized, shifted, or mirrored with left and right swapped.
"""

from pathlib import Path
from typing import Protocol

import click
import numpy as np

from adapters.bodies.makers.pose_prior_export import read_poses
from benchmarks.identity_methods import amortised_of
from benchmarks.synthetic import PoseSet, SyntheticSettings, held_out_poses, make_pictures, sampled_poses
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17
from engine.evidence.amortised.stage import quadratic_excess
from engine.evidence.comparison import marginals
from engine.evidence.shape_evidence import Evidence
from engine.picture.noise import NoiseModel
from engine.posed.fit import make_context, observe_pictures
from engine.posed.scoring import EXCESS_THRESHOLD, compare, excess_energy, fit_own
from engine.posed.search import PosedContext
from engine.posed.shared_shape import fit_shared_shapes
from engine.shape import Shape

_PEOPLE, _PICTURES, _SEED = 32, 4, 11
# Opposite multiples of one vector of standard normal components, as deviations of the two bodies: root mean square
# difference of a component, and half of it.
_APART = {"2 in the length of beta": 0.316, "2 in every component (root mean square)": 1.0}


def _draw(context: PosedContext, poses: PoseSet, level: float, deviation: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    settings = SyntheticSettings(
        people=_PEOPLE, pictures=_PICTURES, seed=_SEED, noise_level=level, beta_deviation=deviation
    )
    drawn = make_pictures(context.model.body, poses, settings)
    count = _PEOPLE * _PICTURES
    keypoints, confidence = drawn.keypoints_px.reshape(count, -1, 2), drawn.confidence.reshape(count, -1)
    return keypoints.astype(np.float32), confidence.astype(np.float32)


class Source(Protocol):
    """Shapes and consistency by one source of evidence."""

    def shapes(self, context: PosedContext, pictures: tuple[np.ndarray, np.ndarray], person: np.ndarray) -> np.ndarray:
        """One shape per person from all pictures of that person."""
        ...

    def consistency(
        self, context: PosedContext, pictures: tuple[np.ndarray, np.ndarray], betas: np.ndarray
    ) -> np.ndarray:
        """Consistency of each picture with the shape at the same position."""
        ...


class ByFits:
    """Levenberg-Marquardt fits."""

    def shapes(self, context: PosedContext, pictures: tuple[np.ndarray, np.ndarray], person: np.ndarray) -> np.ndarray:
        return fit_shared_shapes(context, observe_pictures(context, *pictures), person).betas

    def consistency(
        self, context: PosedContext, pictures: tuple[np.ndarray, np.ndarray], betas: np.ndarray
    ) -> np.ndarray:
        excess, _ = excess_energy(context, fit_own(context, *pictures).fit, betas)
        return np.exp(-excess / EXCESS_THRESHOLD)


class ByNetwork:
    """The embedded body's evidence network."""

    def shapes(self, context: PosedContext, pictures: tuple[np.ndarray, np.ndarray], person: np.ndarray) -> np.ndarray:
        evidence = amortised_of(context, *pictures)
        people = person.max() + 1
        sums = [np.zeros((people, *part.shape[1:]), np.float32) for part in evidence]
        for part, total in zip(evidence, sums, strict=True):
            np.add.at(total, person, part)
        return marginals(Evidence(*sums)).mean

    def consistency(
        self, context: PosedContext, pictures: tuple[np.ndarray, np.ndarray], betas: np.ndarray
    ) -> np.ndarray:
        return np.exp(-quadratic_excess(amortised_of(context, *pictures), betas) / EXCESS_THRESHOLD)


SOURCES: dict[str, Source] = {"amortised": ByNetwork(), "lm": ByFits()}


def same_picture(
    source: Source, context: PosedContext, pictures: tuple[np.ndarray, np.ndarray], references: int
) -> np.ndarray:
    """Consistency of pictures that are among their own person's references."""
    person = np.arange(len(pictures[0])) // references
    return source.consistency(context, pictures, source.shapes(context, pictures, person)[person])


def other_body(source: Source, context: PosedContext, poses: PoseSet, level: float, deviation: float) -> np.ndarray:
    """Consistency of pictures with the body of others in the same poses before the same cameras."""
    one, other = (_draw(context, poses, level, sign * deviation) for sign in (1.0, -1.0))
    return source.consistency(context, other, source.shapes(context, one, np.arange(len(one[0]))))


def largest_changes(context: PosedContext, keypoints: np.ndarray, confidence: np.ndarray) -> dict[str, float]:
    """Largest change of any score in 0..1, by what was done to the pictures."""
    swap = list(context.model.body.schema.swap)
    person_fit = fit_own(context, keypoints[:1], confidence[:1])
    evidence = Evidence(*(np.asarray(part[0]) for part in person_fit.evidence))
    person = Shape(person_fit.fit.betas[0], "", "", "", "free", evidence=evidence)
    mirrored = (keypoints * np.array([-1, 1], np.float32))[:, swap] + np.array([2000, 0], np.float32)
    variants = {
        "resized": (keypoints * np.float32(1.7), confidence),
        "shifted": (keypoints + np.array([314, -159], np.float32), confidence),
        "mirrored": (mirrored, confidence[:, swap]),
    }
    base = compare(context, person, fit_own(context, keypoints, confidence))
    changes = {}
    for name, pictures in variants.items():
        scores = compare(context, person, fit_own(context, *pictures))
        pairs = [
            (getattr(scores, field), getattr(base, field)) for field in ("consistency", "same_body_probability", "oks")
        ]
        changes[name] = float(max(np.nanmax(np.abs(new - old)) for new, old in pairs))
    return changes


@click.command()
@click.option("--poses", "poses_path", type=click.Path(exists=True, path_type=Path), help="Captured poses (.npz).")
@click.option("--noise", "levels", multiple=True, type=float, default=(0.01, 0.003), show_default=True)
@click.option("--solver", type=click.Choice(list(SOURCES)), default="amortised", show_default=True)
def main(poses_path: Path | None, levels: tuple[float, ...], solver: str) -> None:
    """Measure all of it; without --poses the poses come from the shipped prior."""
    source = SOURCES[solver]
    poses = sampled_poses(load_pose_prior()) if poses_path is None else held_out_poses(read_poses(poses_path))
    body = reduce_body(load_embedded_body(), COCO_17)
    for level in levels:
        context = make_context(body, noise=NoiseModel(level))
        pictures = _draw(context, poses, level)
        for references in (1, _PICTURES):
            values = same_picture(source, context, pictures, references)
            click.echo(
                f"{100 * level:g} % noise, one of {references} references: consistency median {np.median(values):.3f}, "
                f"lowest {values.min():.3f}, share of 0.99 or more {np.mean(values >= 0.99):.3f}"
            )
        for name, deviation in _APART.items():
            values = other_body(source, context, poses, level, deviation)
            click.echo(
                f"{100 * level:g} % noise, same pose and camera, another body, {name}: consistency median "
                f"{np.median(values):.3f}, quartiles {np.quantile(values, 0.25):.3f} {np.quantile(values, 0.75):.3f}"
            )
        for name, change in largest_changes(context, *pictures).items() if solver == "lm" else ():
            click.echo(f"{100 * level:g} % noise, {name}: largest change of a score {change:.1e}")


if __name__ == "__main__":
    main()
