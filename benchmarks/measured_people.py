"""Is the body's population like measured people? ``python -m benchmarks.measured_people FOLDER``.

FOLDER holds ``ansur2.npz``: ANSUR II, 6,068 measured people of the US Army (US Government work, public release). Seven
segments that keypoints show are compared with bodies drawn from β ~ N(0, I): standard deviations of their logarithms,
the mean of all seven taken off, and how far the two covariances are apart. Landmarks on skin are not joints, so means
are not compared.

``expressed`` gives the covariance B of β with which the body's segments vary as measured ones do; --out writes it where
calibrations start from (``engine.evidence.population.body_population``).

Girths of waist and chest by stature are regressed on the seven segments: how much of a girth do proportions determine,
in life, in bodies from N(0, I), and in bodies from N(0, B)?
"""

import json
from pathlib import Path

import click
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.spatial import ConvexHull

from adapters.commands.display import print_table
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody, reduce_body, rest_keypoints
from engine.body.model import BodyModel
from engine.body.schemas import COCO_17

_PROVENANCE = (
    "covariance of beta with which seven segments of the embedded body vary as those of 6,068 people of ANSUR II (2012 "
    "Anthropometric Survey of US Army Personnel, US Government work, public release)"
)
SEGMENTS = {
    "upper arm": ("left_shoulder", "left_elbow"),
    "forearm": ("left_elbow", "left_wrist"),
    "thigh": ("left_hip", "left_knee"),
    "shin": ("left_knee", "left_ankle"),
    "trunk": ("left_shoulder", "left_hip"),
    "shoulders": ("left_shoulder", "right_shoulder"),
    "hips": ("left_hip", "right_hip"),
}
_MEASURES = {
    "upper arm": ("acromionradialelength", None),
    "forearm": ("radialestylionlength", None),
    "thigh": ("trochanterionheight", "lateralfemoralepicondyleheight"),
    "shin": ("lateralfemoralepicondyleheight", "lateralmalleolusheight"),
    "trunk": ("acromialheight", "trochanterionheight"),
    "shoulders": ("biacromialbreadth", None),
    "hips": ("bicristalbreadth", None),
}


GIRTHS = {"waist": ("waistcircumference", 0.35), "chest": ("chestcircumference", 0.72)}
"""Names of measures, and heights between hips and shoulders."""
_SLAB_M = 0.02
_GIRTH_BODIES = 1500


def _measures(folder: Path) -> dict[str, Float[np.ndarray, " people"]]:
    with np.load(folder / "ansur2.npz", allow_pickle=False) as stored:
        return dict(zip(stored["names"].tolist(), stored["values"].astype(float).T, strict=True))


def measured_girths(folder: Path) -> Float[np.ndarray, "people girths"]:
    """Logarithms of ANSUR's girths by stature."""
    values = _measures(folder)
    return np.log(np.stack([values[name] / values["stature"] for name, _ in GIRTHS.values()], axis=1))


def body_girths(model: BodyModel, betas: Float[np.ndarray, "people betas"]) -> Float[np.ndarray, "people girths"]:
    """Logarithms of girths by stature: convex hulls of slices of the trunk in T-pose."""
    body = reduce_body(model, COCO_17)
    places = {name: body.schema.keypoint_names.index(name) for name in ("left_hip", "left_shoulder")}
    girths = []
    for own in betas:
        keypoints = np.asarray(rest_keypoints(body, jnp.asarray(own, jnp.float32)), float)
        hip, shoulder = (keypoints[place] for place in places.values())
        vertices = np.asarray(model.v_template) + np.asarray(model.shapedirs)[..., : len(own)] @ own
        slices = []
        for _, share in GIRTHS.values():
            near = np.abs(vertices[:, 1] - hip[1] - share * (shoulder[1] - hip[1])) < _SLAB_M
            near &= np.abs(vertices[:, 0]) < abs(shoulder[0])
            # The area of a hull in the plane is its perimeter.
            slices.append(ConvexHull(vertices[near][:, [0, 2]]).area)
        girths.append(np.log(np.array(slices) / np.ptp(vertices[:, 1])))
    return np.array(girths)


def explained(
    segments: Float[np.ndarray, "people segments"], girths: Float[np.ndarray, "people girths"]
) -> Float[np.ndarray, " girths"]:
    """The share of each girth's variance that segments determine linearly."""
    known, found = segments - segments.mean(axis=0), girths - girths.mean(axis=0)
    rest = found - known @ np.linalg.lstsq(known, found, rcond=1e-6)[0]
    return 1 - (rest**2).sum(axis=0) / (found**2).sum(axis=0)


def measured(folder: Path) -> Float[np.ndarray, "people segments"]:
    """Logarithms of ANSUR's segments, the mean taken off."""
    values = _measures(folder)
    lengths = [values[first] - (0 if less is None else values[less]) for first, less in _MEASURES.values()]
    return _without_size(np.stack(lengths, axis=1))


def drawn(body: KeypointBody, people: int = 6000, seed: int = 5) -> Float[np.ndarray, "people segments"]:
    """The same of bodies drawn from β ~ N(0, I)."""
    betas = np.random.default_rng(seed).normal(size=(people, body.beta_count))
    return body_segments(body, betas)


def body_segments(body: KeypointBody, betas: Float[np.ndarray, "people betas"]) -> Float[np.ndarray, "people segments"]:
    keypoints = np.asarray(jax.vmap(rest_keypoints, (None, 0))(body, jnp.asarray(betas, jnp.float32)), float)
    ends = np.array([[body.schema.keypoint_names.index(end) for end in pair] for pair in SEGMENTS.values()])
    return _without_size(np.linalg.norm(keypoints[:, ends[:, 0]] - keypoints[:, ends[:, 1]], axis=2))


def expressed(
    body: KeypointBody, covariance: Float[np.ndarray, "segments segments"]
) -> Float[np.ndarray, "betas betas"]:
    """B with which the body's segments have this covariance, to first order; other directions of β keep theirs."""
    step = 0.1 * np.eye(body.beta_count)
    by_betas = ((body_segments(body, step) - body_segments(body, -step)) / 0.2).T
    back = np.linalg.pinv(by_betas, rcond=1e-3)
    reached = by_betas @ back
    return np.eye(body.beta_count) + back @ (reached @ covariance @ reached.T - by_betas @ by_betas.T) @ back.T


def _without_size(lengths: Float[np.ndarray, "people segments"]) -> Float[np.ndarray, "people segments"]:
    logs = np.log(lengths)
    return logs - logs.mean(axis=1, keepdims=True)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where B goes (.json).")
def main(folder: Path, out: Path | None) -> None:
    """Compare spreads of segments."""
    model = load_embedded_body()
    body = reduce_body(model, COCO_17)
    ours, theirs = drawn(body), measured(folder)
    rows = [
        (name, f"{one.std():.3f}", f"{other.std():.3f}", f"{one.std() / other.std():.2f}")
        for name, one, other in zip(SEGMENTS, ours.T, theirs.T, strict=True)
    ]
    print_table("standard deviation of log ratios", ("segment", "body", "measured", "body / measured"), rows)
    correlations = [np.corrcoef(one.T)[np.triu_indices(len(SEGMENTS), 1)] for one in (ours, theirs)]
    click.echo(f"correlation of the {len(correlations[0])} correlations {np.corrcoef(correlations)[0, 1]:.2f}")
    between = expressed(body, np.cov(theirs.T))
    betas = np.random.default_rng(6).normal(size=(_GIRTH_BODIES, body.beta_count))
    known = [explained(theirs, measured_girths(folder))]
    for own in (betas, betas @ np.linalg.cholesky(between).T):
        known.append(explained(body_segments(body, own), body_girths(model, own)))
    shares = [(name, *(f"{share[i]:.2f}" for share in known)) for i, name in enumerate(GIRTHS)]
    print_table("girth that proportions determine", ("girth", "measured", "body, N(0, I)", "body, N(0, B)"), shares)
    if out is not None:
        record = {
            "provenance": _PROVENANCE,
            "body_fingerprint": model.fingerprint,
            "between_people": np.round(between, 4).tolist(),
        }
        out.write_text(json.dumps(record, indent=1) + "\n")
    spread = np.linalg.eigvalsh(between)
    deviations = " ".join(f"{value:.2f}" for value in np.sqrt(np.maximum(spread, 0)))
    click.echo(f"standard deviations along the axes of the covariance of β with measured segments: {deviations}")


if __name__ == "__main__":
    main()
