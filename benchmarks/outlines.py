"""What outlines add: ``python -m benchmarks.outlines [--poses FILE] [--network FILE] [--body FILE]``.

One probe and four probes against four references of a person, with and without outlines, in several kinds of clothes
(``benchmarks.outline_pictures``); calibration error; errors of girths of the estimated shape; scoring speed. Shapes are
estimated in the embedded body; ``--body`` gives the pictured people another one.
"""

import json
import time
from pathlib import Path
from typing import NamedTuple

import click
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from scipy.spatial import ConvexHull

from adapters.bodies.makers.pose_prior_export import read_poses
from adapters.bodies.networks import amortised_model
from benchmarks.identity_methods import REFERENCES, fused, log_bayes_factors, pairs_of
from benchmarks.identity_metrics import separation
from benchmarks.outline_bound import BoundRow, bound_rows
from benchmarks.outline_pictures import (
    DRESSES,
    NOISE,
    PICTURES,
    SIMULATED,
    Dressed,
    drawn_pictures,
    dressed_people,
    simulated_people,
)
from benchmarks.synthetic import PoseSet, SyntheticSettings, held_out_poses, make_pictures, sampled_poses
from engine.body.body_file import load_body
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.model import BodyModel, shape_vertices
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17
from engine.evidence.amortised.evidence import AmortisedModel, amortised_evidence, make_amortised
from engine.evidence.amortised.network_file import load_network
from engine.evidence.amortised.stage import joint_evidence, picture_evidence
from engine.evidence.calibration import calibrated_pictures
from engine.evidence.calibration_file import default_calibration
from engine.evidence.reliability import expected_calibration_error, reliability
from engine.evidence.shape_evidence import Evidence, posterior, same_body_probability
from engine.picture.noise import NoiseModel
from engine.posed.fit import make_context
from engine.posed.outline_fit import Outlines, with_outlines
from engine.posed.outline_problem import make_outline_body
from engine.posed.scoring import fit_own
from engine.simulation.surface import make_surface

_UNIT_SEED = 1005
COMPONENTS = 16
"""Of the embedded body; the network knows ten."""
GIRTHS = ("waist", "hip", "thigh")


class Row(NamedTuple):
    """Figures of one kind of clothes with one kind of input."""

    dress: str
    given: str
    one: float
    """AUC of one probe against four references."""
    four: float
    """Of four probes."""
    calibration_error: float
    """Of one probe, with the shipped calibration."""
    girths_one: tuple[float, ...]
    """Mean error of ``GIRTHS`` over the stature, % of the true one, from one picture."""
    girths_four: tuple[float, ...]


def figures(model: AmortisedModel, people: Dressed, level: float) -> list[Row]:
    """All rows of the table."""
    noise = NoiseModel(level)
    bare = amortised_evidence(model, COCO_17, noise, people.keypoints_px, people.confidence)
    rows = [_row("any", "keypoints", bare, people)]
    for dress in DRESSES:
        outline = people.outlines_px[dress.name]
        for given, clothes in (("outlines", None), ("outlines, clothes known", dress.thickness_m)):
            if clothes is not None and dress.tube:
                continue
            evidence = amortised_evidence(
                model, COCO_17, noise, people.keypoints_px, people.confidence, outline, clothes
            )
            rows.append(_row(dress.name, given, evidence, people))
    return rows


def joint_figures(model: AmortisedModel, people: Dressed, level: float) -> list[Row]:
    """Rows of fits with outlines, alone and together with the network.

    ``--solver joint`` computes the latter where clothes are known.
    """
    body, noise = load_embedded_body(), NoiseModel(level)
    context = make_context(reduce_body(body, COCO_17), noise=noise)
    mesh = make_outline_body(make_surface(body))
    seen = (people.keypoints_px.astype(np.float32), people.confidence.astype(np.float32))
    fits = fit_own(context, *seen)
    bare = picture_evidence(model, COCO_17, noise, *seen)
    rows = [_row("any", "keypoints, fits and network", joint_evidence(fits, bare).evidence, people)]
    for dress in DRESSES:
        outline = people.outlines_px[dress.name]
        known = () if dress.tube else ((", clothes known", dress.thickness_m),)
        for given, clothes in (("", np.nan), *known):
            thickness = np.full(len(outline), clothes)
            fitted = with_outlines(context, mesh, fits, Outlines(outline, thickness))
            network = picture_evidence(model, COCO_17, noise, *seen, outline, thickness)
            rows.append(_row(dress.name, f"outlines, fits{given}", fitted.evidence, people))
            joint = joint_evidence(fitted, network).evidence
            rows.append(_row(dress.name, f"outlines, fits and network{given}", joint, people))
    return rows


def simulated_figures(model: AmortisedModel, poses: PoseSet, people: int, body: BodyModel, level: float) -> list[Row]:
    """Rows of dresses as the training knows them."""
    rows, noise = [], NoiseModel(level)
    for name, clothes in SIMULATED.items():
        drawn = simulated_people(poses, people, body, level, clothes)
        seen = (model, COCO_17, noise, drawn.keypoints_px, drawn.confidence)
        rows.append(_row(name, "keypoints", amortised_evidence(*seen), drawn))
        rows.append(_row(name, "outlines", amortised_evidence(*seen, drawn.outlines_px[""]), drawn))
    return rows


def _row(dress: str, given: str, evidence: Evidence, people: Dressed) -> Row:
    count = len(people.betas)
    evidence = calibrated_pictures(jax.tree.map(np.asarray, evidence), default_calibration())
    pairs = pairs_of(count, PICTURES)
    references = fused(evidence, count, PICTURES, 0, REFERENCES)
    several = fused(evidence, count, PICTURES, REFERENCES, PICTURES)
    one = log_bayes_factors(references, evidence, pairs.person, pairs.probe)
    everyone = np.indices((count, count)).reshape(2, -1)
    four = log_bayes_factors(references, several, *everyone)
    error = expected_calibration_error(reliability(np.asarray(same_body_probability(one)), pairs.same))
    first = fused(evidence, count, PICTURES, 0, 1)
    return Row(
        dress, given, separation(one, pairs.same).auc, separation(four, everyone[0] == everyone[1]).auc, error,
        *(_girth_errors(shown, people) for shown in (first, references)),
    )  # fmt: skip


def _girth_errors(evidence: Evidence, people: Dressed) -> tuple[float, ...]:
    means = np.asarray(jax.jit(jax.vmap(posterior))(evidence).mean)
    true = np.stack([girths(people.body, row) for row in people.betas])
    found = np.stack([girths(load_embedded_body(), row) for row in means])
    return tuple(100 * np.mean(np.abs(found / true - 1), axis=0))


def girths(body: BodyModel, betas: Float[np.ndarray, " betas"]) -> Float[np.ndarray, " girths"]:
    """``GIRTHS`` over the stature: perimeters of the convex hull of horizontal sections in rest pose.

    The waist lies half-way between the first and the second joint of the spine, the hip at the hip joints, the thigh at
    a third of the way to the knee.
    """
    vertices = np.asarray(shape_vertices(body, jnp.asarray(betas, jnp.float32)))
    joints = np.asarray(body.J_regressor) @ vertices
    heaviest = np.argmax(np.asarray(body.weights), axis=1)
    trunk, thigh = np.isin(heaviest, (0, 1, 2, 3, 6)), heaviest == 1
    hip, knee = joints[1, 1], joints[4, 1]
    sections = ((trunk, joints[[3, 6], 1].mean()), (trunk, hip), (thigh, hip + (knee - hip) / 3))
    faces = np.asarray(body.faces)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    found = []
    for members, height in sections:
        start, end = (vertices[edges[members[edges].all(axis=1)][:, side]] for side in (0, 1))
        crosses = (start[:, 1] > height) != (end[:, 1] > height)
        start, end = start[crosses], end[crosses]
        share = (height - start[:, 1]) / (end[:, 1] - start[:, 1])
        section = (start + share[:, None] * (end - start))[:, [0, 2]]
        found.append(ConvexHull(section).area)  # the perimeter, in the plane
    return np.array(found) / np.ptp(vertices[:, 1])


def speeds(model: AmortisedModel, people: Dressed, pictures: int = 20_480) -> dict[str, float]:
    """Pictures per second with and without outlines, medians of three, side by side."""
    rows = np.resize(np.arange(len(people.confidence)), pictures)
    keypoints, confidence = people.keypoints_px[rows], people.confidence[rows]
    outlines = {"keypoints": None, "outlines": people.outlines_px[DRESSES[2].name][rows]}
    times: dict[str, list[float]] = {name: [] for name in outlines}
    for attempt in range(4):
        for name, outline in outlines.items():
            start = time.perf_counter()
            amortised_evidence(model, COCO_17, NoiseModel(NOISE), keypoints, confidence, outline)
            if attempt:
                times[name].append(time.perf_counter() - start)
    return {name: pictures / float(np.median(values)) for name, values in times.items()}


def _level(poses: PoseSet) -> float:
    """The noise of ``NOISE`` heights of boxes in statures, the engine's unit (``identity_methods``)."""
    body = reduce_body(load_embedded_body(), COCO_17)
    drawn = make_pictures(body, poses, SyntheticSettings(people=100, pictures=PICTURES, seed=_UNIT_SEED))
    return NOISE * float(np.median(np.ptp(drawn.true_keypoints_px[..., 1], axis=2) / drawn.person_height_px))


def print_rows(console: Console, rows: list[Row]) -> None:
    table = Table(header_style="bold")
    shown = ("clothes", "given", "one probe", "four probes", "calibration error")
    for column in (*shown, *(f"{girth}, 1 / 4 pictures, %" for girth in GIRTHS)):
        table.add_column(column)
    for row in rows:
        errors = (f"{one:.1f} / {four:.1f}" for one, four in zip(row.girths_one, row.girths_four, strict=True))
        table.add_row(
            row.dress, row.given, f"{row.one:.3f}", f"{row.four:.3f}", f"{row.calibration_error:.3f}", *errors
        )
    console.print(table)


def print_bound(console: Console, rows: list[BoundRow]) -> None:
    table = Table("given", "known", "one probe", "four probes", header_style="bold")
    for row in rows:
        table.add_row(row.given, row.known, f"{row.one:.3f}", f"{row.four:.3f}")
    console.print(table)


@click.command()
@click.option("--poses", "poses_path", type=click.Path(exists=True, path_type=Path), help="Captured poses (.npz).")
@click.option("--network", type=click.Path(exists=True, path_type=Path), help="Another network of the embedded body.")
@click.option("--body", "body_path", type=click.Path(exists=True, path_type=Path), help="Body of the people (.npz).")
@click.option("--people", default=100, show_default=True, type=click.IntRange(min=4))
@click.option("--bound", is_flag=True, help="Only what any method could reach, linearly (no network).")
@click.option("--joint", is_flag=True, help="Rows of fits with outlines, too (20 more minutes).")
@click.option("--cache", type=click.Path(path_type=Path), help="File (.npz) that keeps the measured outlines.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the figures (JSON).")
def main(  # noqa: PLR0913 (click passes one argument per option)
    poses_path: Path | None,
    network: Path | None,
    body_path: Path | None,
    people: int,
    bound: bool,
    joint: bool,
    cache: Path | None,
    out: Path | None,
) -> None:
    """Compare people by keypoints alone and with outlines. Without --poses they come from the shipped prior, without
    --body the people have all components of the embedded body."""
    poses = sampled_poses(load_pose_prior()) if poses_path is None else held_out_poses(read_poses(poses_path))
    pictured = load_embedded_body(COMPONENTS) if body_path is None else load_body(body_path)
    console = Console(width=160)
    if bound:
        print_bound(console, bound_rows(pictured, drawn_pictures(poses, people, pictured)))
        return
    body = load_embedded_body()
    model = amortised_model(body) if network is None else make_amortised(body, load_network(network, body))
    if model is None or not model.network.sees_outlines:
        raise click.ClickException("this network knows no outlines: samebody train-evidence --out FILE, then --network")
    dressed = dressed_people(poses, people, pictured, cache)
    level = _level(poses)
    rows = figures(model, dressed, level) + simulated_figures(model, poses, people, pictured, level)
    if joint:
        rows += joint_figures(model, dressed, level)
    print_rows(console, rows)
    rates = speeds(model, dressed)
    console.print(*(f"{name}: {rate:,.0f} pictures/s" for name, rate in rates.items()), sep="; ")
    if out is not None:
        out.write_text(json.dumps({"rows": [row._asdict() for row in rows], "pictures_per_s": rates}, indent=1) + "\n")


if __name__ == "__main__":
    main()
