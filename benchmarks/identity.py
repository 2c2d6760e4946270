"""Same body or not? Every method on the same pairs: ``python -m benchmarks.identity [--poses FILE]``.

Each identity has some reference pictures and some probes. A probe is compared with its own person's references and with
those of a few strangers; every method scores exactly these pairs. Noise of n % is a Gaussian with σ_k = n % × height of
the box around the person × OKS sigma_k / 0.08. The engine's unit is the person's stature, so a level is multiplied by
the median ratio of the two before the fit assumes it. Evidence is calibrated with what is shipped, which was made from
other people in other poses (``benchmarks.default_calibration``).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import click
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from rich.console import Console
from rich.table import Table

from adapters.pose_prior_export import read_poses
from benchmarks.identity_metrics import Separation, plot_reliability, separation
from benchmarks.metrics import Metric
from benchmarks.synthetic import LEGS, PoseSet, SyntheticSettings, held_out_poses, make_pictures, sampled_poses
from engine.bodies import load_embedded_body
from engine.calibration import calibrated_pictures
from engine.calibration_file import default_calibration
from engine.comparison import fuse_groups
from engine.evidence import ShapeEvidence, log_bayes_factor, posterior, same_body_probability
from engine.keypoint_body import KeypointBody, reduce_body
from engine.keypoints import COCO_17, HALPE_26, WHOLEBODY_133, KeypointSchema
from engine.observations import Observation, size_edges
from engine.pose_prior import load_pose_prior
from engine.posed_fit import PosedFit, fit_poses, fit_shapes, make_context, observe_pictures
from engine.posed_results import shape_evidence
from engine.posed_rounds import PosedContext
from engine.problem import NoiseModel
from engine.reliability import ReliabilityBin, expected_calibration_error, reliability
from engine.rest_fit import fit_rest_shape, score_rest_pictures

REFERENCES = 4
PICTURES = 8
LEVELS = (0.003, 0.01, 0.02)
_STRANGERS = 5
"""Per probe."""
_SEED = 5
_UNIT_SEED = 1005
_REFERENCE_COUNTS = (1, 2, 4, 8, 16)
_FUSED_PROBES = 8
_CORRELATIONS = (0.0, 0.5, 0.9, 1.0)
# Of a box: what changes from frame to frame in real keypoints, and what repeats within a camera.
_JITTER, _CLIP_BIAS = 0.0027, 0.0096


@dataclass(frozen=True)
class Faults:
    """What is wrong with a set of pictures; levels in heights of the box around the person."""

    noise: float = 0.01
    bias: float = 0.0
    """Of the detector: depends on the side that is seen, the same for all people."""
    assumed: float | None = None
    """Noise that the fit takes for granted; by default the actual one."""
    legs: bool = True
    yaw_range: tuple[float, float] = (-180.0, 180.0)
    """Degrees; 0 faces the camera."""

    @property
    def assumed_level(self) -> float:
        return float(np.hypot(self.noise, self.bias)) if self.assumed is None else self.assumed


class People(NamedTuple):
    """Pictures of known people, fitted with their shapes free; the leading axis counts pictures, person by person."""

    keypoints_px: Float[np.ndarray, "images keypoints 2"]
    confidence: Float[np.ndarray, "images keypoints"]
    observations: Observation
    fit: PosedFit
    evidence: ShapeEvidence
    betas: Float[np.ndarray, "people betas"]


class Pairs(NamedTuple):
    """Which reference person is compared with which probe picture."""

    person: Int[np.ndarray, " pairs"]
    probe: Int[np.ndarray, " pairs"]
    """Row of the picture."""
    same: Bool[np.ndarray, " pairs"]


def context_for(body: KeypointBody, level: float) -> PosedContext:
    return make_context(body, noise=NoiseModel(level))


def photograph(
    context: PosedContext, poses: PoseSet, faults: Faults, people: int, pictures: int = PICTURES, seed: int = _SEED
) -> People:
    """Draw people and fit each of their pictures on its own."""
    drawn = make_pictures(
        context.model.body,
        poses,
        SyntheticSettings(
            people=people,
            pictures=pictures,
            seed=seed,
            noise_level=faults.noise,
            noise_unit="bounding_box",
            detector_bias_level=faults.bias,
            hidden_keypoints=() if faults.legs else LEGS,
            yaw_range=faults.yaw_range,
        ),
    )
    keypoints = drawn.keypoints_px.reshape(people * pictures, -1, 2).astype(np.float32)
    confidence = drawn.confidence.reshape(people * pictures, -1).astype(np.float32)
    observations = observe_pictures(context, keypoints, confidence)
    fit = fit_shapes(context, observations)
    return People(keypoints, confidence, observations, fit, shape_evidence(context, fit), drawn.betas)


def pairs_of(people: int, pictures: int, references: int = REFERENCES) -> Pairs:
    """Each probe with its own person and with a few strangers."""
    draw = np.random.default_rng(_SEED)
    probe = np.concatenate([np.arange(references, pictures) + pictures * person for person in range(people)])
    own = probe // pictures
    strangers = min(_STRANGERS, people - 1)
    steps = np.stack([1 + draw.permutation(people - 1)[:strangers] for _ in probe])
    person = np.concatenate([own[:, None], (own[:, None] + steps) % people], axis=1)
    same = np.zeros(person.shape, bool)
    same[:, 0] = True
    return Pairs(person.reshape(-1), np.repeat(probe, 1 + strangers), same.reshape(-1))


def fused(evidence: ShapeEvidence, people: int, pictures: int, first: int, last: int) -> ShapeEvidence:
    """The evidence of pictures ``first`` to ``last`` of each person, added."""
    grouped = jax.tree.map(lambda part: np.asarray(part).reshape(people, pictures, *part.shape[1:]), evidence)
    return jax.tree.map(lambda part: part[:, first:last].sum(axis=1), grouped)


def log_bayes_factors(
    references: ShapeEvidence,
    probes: ShapeEvidence,
    person: Int[np.ndarray, " pairs"],
    probe: Int[np.ndarray, " pairs"],
) -> Float[np.ndarray, " pairs"]:
    chosen = [jax.tree.map(lambda part, at=at: jnp.asarray(part)[at], parts) for parts, at in
              ((references, person), (probes, probe))]  # fmt: skip
    return np.asarray(jax.jit(jax.vmap(log_bayes_factor))(*chosen))


def score_all(context: PosedContext, people: People, pairs: Pairs) -> dict[str, Float[np.ndarray, " pairs"]]:
    """Every method of the table on the same pairs; higher speaks for one body."""
    count = len(people.betas)
    pictures = len(people.confidence) // count
    evidence = fused(honest(people), count, pictures, 0, REFERENCES)
    means = np.asarray(jax.jit(jax.vmap(posterior))(evidence).mean)
    seen = jax.tree.map(lambda leaf: np.asarray(leaf)[pairs.probe], (people.observations, people.fit.unknowns))
    fixed = fit_poses(context, seen[0], means[pairs.person], initial=seen[1])
    # The free fit's energy has its shape prior in it, which the fixed one's has not.
    free = people.fit.energy - 0.5 * np.sum(people.fit.betas**2, axis=-1)
    return {
        "rest-pose recipe": _rest_scores(context.model.body, people, pairs),
        "2D limb-length ratios": _limb_ratio_scores(context.model.body, people, pairs),
        "reprojection error at fixed betas": -_reprojection_error(people, pairs, fixed),
        "distance between fitted betas": -np.linalg.norm(means[pairs.person] - people.fit.betas[pairs.probe], axis=-1),
        "excess energy over the free fit": free[pairs.probe] - fixed.energy,
    }


def _reprojection_error(people: People, pairs: Pairs, fixed: PosedFit) -> Float[np.ndarray, " pairs"]:
    """Root mean square over the keypoints, person heights."""
    confidence = people.observations.confidence[pairs.probe]
    squared = np.sum(fixed.residuals**2, axis=-1)
    return np.sqrt(np.sum(confidence * squared, axis=-1) / np.sum(confidence, axis=-1))


def _rest_scores(body: KeypointBody, people: People, pairs: Pairs) -> Float[np.ndarray, " pairs"]:
    """One T-pose shape per person, and how far each probe is from it."""
    pictures = len(people.confidence) // len(people.betas)
    scores = np.empty(len(pairs.probe))
    for person in range(len(people.betas)):
        own = slice(pictures * person, pictures * person + REFERENCES)
        shape = fit_rest_shape(body, people.keypoints_px[own], people.confidence[own])
        rows = np.flatnonzero(pairs.person == person)
        probe = pairs.probe[rows]
        scored = score_rest_pictures(body, shape.betas, people.keypoints_px[probe], people.confidence[probe])
        scores[rows] = -scored.reprojection_error
    return scores


def _limb_ratio_scores(body: KeypointBody, people: People, pairs: Pairs) -> Float[np.ndarray, " pairs"]:
    """Distance between the logarithms of limb lengths in the picture, whole size aside."""
    start, end = np.array(size_edges(body.schema)[0]).T
    points, seen = people.observations.points, people.observations.confidence > 0
    both = seen[:, start] & seen[:, end]
    lengths = np.linalg.norm(points[:, start] - points[:, end], axis=-1)
    logs = np.where(both, np.log(np.maximum(lengths, 0.01)), np.nan)
    logs = logs - np.nanmean(logs, axis=1, keepdims=True)
    grouped = logs.reshape(len(people.betas), -1, logs.shape[-1])
    means = np.nanmean(grouped[:, :REFERENCES], axis=1)
    return -np.sqrt(np.nanmean((means[pairs.person] - logs[pairs.probe]) ** 2, axis=-1))


def honest(people: People) -> ShapeEvidence:
    """Evidence as users get it."""
    return calibrated_pictures(people.evidence, default_calibration())


def boxes_in_statures(body: KeypointBody, poses: PoseSet) -> float:
    """Median height of the box around a person over the person's stature, on people of its own."""
    drawn = make_pictures(body, poses, SyntheticSettings(people=100, pictures=PICTURES, seed=_UNIT_SEED))
    return float(np.median(np.ptp(drawn.true_keypoints_px[..., 1], axis=2) / drawn.person_height_px))


class Result(NamedTuple):
    """Figures of one row."""

    row: str
    method: str
    separation: Separation
    calibration_error: float | None = None
    bins: list[ReliabilityBin] | None = None


@dataclass(frozen=True)
class Bench:
    """What all parts of the benchmark share."""

    poses: PoseSet
    identities: int
    stature_share: float
    """``boxes_in_statures``"""
    bodies: dict[str, KeypointBody]

    def context(self, faults: Faults, schema: KeypointSchema = COCO_17) -> PosedContext:
        return context_for(self.bodies[schema.name], faults.assumed_level * self.stature_share)


def make_bench(poses: PoseSet, identities: int) -> Bench:
    full = load_embedded_body()
    bodies = {schema.name: reduce_body(full, schema) for schema in (COCO_17, HALPE_26, WHOLEBODY_133)}
    return Bench(poses, identities, boxes_in_statures(bodies["coco17"], poses), bodies)


def _probability_result(row: str, log_bayes: np.ndarray, same: np.ndarray) -> Result:
    bins = reliability(np.asarray(same_body_probability(log_bayes)), same)
    return Result(
        row, "Bayes factor on shape evidence", separation(log_bayes, same), expected_calibration_error(bins), bins
    )


def _row_name(faults: Faults) -> str:
    name = f"{100 * faults.noise:g} % noise"
    if faults.bias:
        name += f", {100 * faults.bias:g} % bias"
    if faults.assumed is not None:
        name += f", {100 * faults.assumed:g} % assumed"
    return name if faults.legs else name + ", no legs"


def by_method(bench: Bench) -> list[Result]:
    """All methods, at three noise levels and with a bias that depends on the view."""
    results = []
    for faults in (*(Faults(level) for level in LEVELS), Faults(0.003, bias=0.009)):
        context = bench.context(faults)
        people = photograph(context, bench.poses, faults, bench.identities)
        pairs = pairs_of(bench.identities, PICTURES)
        row = _row_name(faults)
        for method, score in score_all(context, people, pairs).items():
            results.append(Result(row, method, separation(score, pairs.same)))
        results.append(single_probe(honest(people), bench.identities, pairs, row))
    return results


def single_probe(evidence: ShapeEvidence, people: int, pairs: Pairs, row: str) -> Result:
    references = fused(evidence, people, len(evidence.information) // people, 0, REFERENCES)
    return _probability_result(row, log_bayes_factors(references, evidence, pairs.person, pairs.probe), pairs.same)


def by_assumed_noise(bench: Bench) -> list[Result]:
    """The probability where pictures are noisier than was assumed."""
    return [_bayes_row(bench, faults) for faults in (Faults(0.02, assumed=0.01), Faults(0.006, assumed=0.003))]


def by_visible_part(bench: Bench) -> list[Result]:
    return [_bayes_row(bench, Faults(legs=legs)) for legs in (True, False)]


def by_schema(bench: Bench) -> list[Result]:
    return [_bayes_row(bench, Faults(), schema) for schema in (COCO_17, HALPE_26, WHOLEBODY_133)]


def _bayes_row(bench: Bench, faults: Faults, schema: KeypointSchema = COCO_17) -> Result:
    context = bench.context(faults, schema)
    people = photograph(context, bench.poses, faults, bench.identities)
    row = f"{_row_name(faults)}, {schema.name}"
    return single_probe(honest(people), bench.identities, pairs_of(bench.identities, PICTURES), row)


def by_references(bench: Bench) -> list[Result]:
    """More references, and one probe or several pictures of one unknown person."""
    faults = Faults()
    most = max(_REFERENCE_COUNTS)
    pictures = most + _FUSED_PROBES
    context = bench.context(faults)
    people = photograph(context, bench.poses, faults, bench.identities, pictures)
    evidence = honest(people)
    together = fused(evidence, bench.identities, pictures, most, pictures)
    single = pairs_of(bench.identities, pictures, references=most)
    everyone = np.indices((bench.identities, bench.identities)).reshape(2, -1)
    results = []
    for count in _REFERENCE_COUNTS:
        references = fused(evidence, bench.identities, pictures, 0, count)
        for name, probes, person, probe, same in (
            ("1 probe", evidence, single.person, single.probe, single.same),
            (f"{_FUSED_PROBES} probes", together, *everyone, everyone[0] == everyone[1]),
        ):
            row = f"{_row_name(faults)}, {count} references, {name}"
            results.append(_probability_result(row, log_bayes_factors(references, probes, person, probe), same))
    return results


def by_correlation(bench: Bench) -> list[Result]:
    """Eight frames of one clip as the unknown person: what they say together, by the correlation that is assumed."""
    faults = Faults(_JITTER, bias=_CLIP_BIAS)
    pictures = REFERENCES + _FUSED_PROBES
    context = bench.context(faults)
    references = photograph(context, bench.poses, faults, bench.identities, pictures)
    known = fused(honest(references), bench.identities, pictures, 0, REFERENCES)
    everyone = np.indices((bench.identities, bench.identities)).reshape(2, -1)
    results = []
    for side, yaw in (("front", 0.0), ("side", 90.0)):
        clip = replace(faults, yaw_range=(yaw - 10, yaw + 10))
        frames = honest(photograph(context, bench.poses, clip, bench.identities, pictures))
        for correlation in _CORRELATIONS:
            together = [
                fuse_groups(
                    ShapeEvidence(*(part[pictures * person + REFERENCES : pictures * (person + 1)] for part in frames)),
                    np.zeros(_FUSED_PROBES, int),
                    correlation,
                )
                for person in range(bench.identities)
            ]
            probes = ShapeEvidence(*(np.stack(parts) for parts in zip(*together, strict=True)))
            row = f"8 frames of one clip, {side}, correlation {correlation:g}"
            log_bayes = log_bayes_factors(known, probes, *everyone)
            results.append(_probability_result(row, log_bayes, everyone[0] == everyone[1]))
    return results


PARTS: dict[str, Callable[[Bench], list[Result]]] = {
    "methods": by_method,
    "assumed": by_assumed_noise,
    "references": by_references,
    "schemas": by_schema,
    "visible": by_visible_part,
    "clips": by_correlation,
}


def identity(quick: bool) -> list[Metric]:
    """The figures that are gated: poses from the shipped prior, so that no data is needed."""
    bench = make_bench(sampled_poses(load_pose_prior()), 20 if quick else 100)
    metrics = []
    for result in by_method(bench):
        key = f"identity/{result.row}/{result.method}".replace(" ", "_").replace(",", "").replace("%", "percent")
        metrics.append(Metric(f"{key}/auc", result.separation.auc, "", "higher", tolerance=0.05))
        if result.calibration_error is not None:
            metrics.append(Metric(f"{key}/calibration_error", result.calibration_error, "", "lower", tolerance=1.0))
    return metrics


WORKLOADS = {"identity": identity}


def print_results(console: Console, title: str, results: list[Result]) -> None:
    table = Table(title=title, header_style="bold")
    for column in ("pictures", "method", "AUC", "equal error", "accepted at 1 %", "calibration error"):
        table.add_column(column)
    for row, method, figures, error, _ in results:
        table.add_row(row, method, *(f"{value:.3f}" for value in figures), "" if error is None else f"{error:.3f}")
    console.print(table)


def print_reliability(console: Console, results: list[Result]) -> None:
    for result in results:
        if result.bins is None:
            continue
        table = Table(title=f"reliability, {result.row}", header_style="bold")
        for column in ("share of pairs", "predicted", "actual"):
            table.add_column(column)
        for bin_ in result.bins:
            table.add_row(*(f"{value:.3f}" for value in bin_))
        console.print(table)


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--poses", "poses_path", type=click.Path(exists=True, path_type=Path), help="Captured poses (.npz).")
@click.option("--identities", default=100, show_default=True, type=click.IntRange(min=2))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for figures as JSON and plots.")
def main(parts: tuple[str, ...], poses_path: Path | None, identities: int, out: Path | None) -> None:
    """Compare every method on the same pairs; all PARTS by default.

    Without --poses the poses come from the shipped prior, which flatters the fit: it knows them.
    """
    poses = sampled_poses(load_pose_prior()) if poses_path is None else held_out_poses(read_poses(poses_path))
    bench = make_bench(poses, identities)
    console = Console(width=150)
    console.print(f"boxes are {bench.stature_share:.2f} statures high; calibration: {default_calibration().provenance}")
    everything: list[Result] = []
    for part in parts or PARTS:
        results = PARTS[part](bench)
        print_results(console, part, results)
        everything += results
    print_reliability(console, everything)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        rows = [{**result._asdict(), "separation": result.separation._asdict()} for result in everything]
        (out / "identity.json").write_text(json.dumps(rows, indent=1) + "\n")
        curves = {result.row: result.bins for result in everything if result.bins is not None}
        if curves and not plot_reliability(out / "reliability.png", curves):
            console.print("no plot: matplotlib is not installed")


if __name__ == "__main__":
    main()
