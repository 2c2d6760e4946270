"""Same body or not? Every method on the same pairs: ``python -m benchmarks.identity [--poses FILE]``.

People, pictures and methods are those of ``benchmarks.identity_methods``. The engine's unit is the person's stature, so
a level is multiplied by the median ratio of boxes to statures before the fit assumes it. Evidence is calibrated with
what is shipped, which was made from other people in other poses (``benchmarks.default_calibration``).
"""

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from adapters.bodies.makers.pose_prior_export import read_poses
from benchmarks.identity_methods import (
    PICTURES,
    REFERENCES,
    Faults,
    Pairs,
    boxes_in_statures,
    context_for,
    fused,
    honest,
    log_bayes_factors,
    pairs_of,
    photograph,
    score_all,
)
from benchmarks.identity_metrics import Separation, plot_reliability, separation
from benchmarks.metrics import Metric
from benchmarks.synthetic import PoseSet, held_out_poses, sampled_poses
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import KeypointBody, reduce_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17, HALPE_26, WHOLEBODY_133, KeypointSchema
from engine.evidence.calibration_file import default_calibration
from engine.evidence.comparison import fuse_groups
from engine.evidence.reliability import ReliabilityBin, expected_calibration_error, reliability
from engine.evidence.shape_evidence import Evidence, same_body_probability
from engine.posed.search import PosedContext

LEVELS = (0.003, 0.01, 0.02)
_REFERENCE_COUNTS = (1, 2, 4, 8, 16)
_FUSED_PROBES = 8
_CORRELATIONS = (0.0, 0.5, 0.9, 1.0)
# Of a box: what changes from frame to frame in real keypoints, and what repeats within a camera.
_JITTER, _CLIP_BIAS = 0.0027, 0.0096


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


def _probability_result(row: str, method: str, log_bayes: np.ndarray, same: np.ndarray) -> Result:
    bins = reliability(np.asarray(same_body_probability(log_bayes)), same)
    return Result(row, method, separation(log_bayes, same), expected_calibration_error(bins), bins)


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
        results += single_probe(honest(people), bench.identities, pairs, row)
    return results


def single_probe(kinds: Mapping[str, Evidence], count: int, pairs: Pairs, row: str) -> list[Result]:
    """One picture against the references, by each kind of evidence."""
    results = []
    for method, evidence in kinds.items():
        references = fused(evidence, count, len(evidence.information) // count, 0, REFERENCES)
        log_bayes = log_bayes_factors(references, evidence, pairs.person, pairs.probe)
        results.append(_probability_result(row, method, log_bayes, pairs.same))
    return results


def by_assumed_noise(bench: Bench) -> list[Result]:
    """The probability where pictures are noisier than was assumed."""
    settings = (Faults(0.02, assumed=0.01), Faults(0.006, assumed=0.003))
    return [row for faults in settings for row in _bayes_rows(bench, faults)]


def by_visible_part(bench: Bench) -> list[Result]:
    return [row for legs in (True, False) for row in _bayes_rows(bench, Faults(legs=legs))]


def by_schema(bench: Bench) -> list[Result]:
    schemas = (COCO_17, HALPE_26, WHOLEBODY_133)
    return [row for schema in schemas for row in _bayes_rows(bench, Faults(), schema)]


def _bayes_rows(bench: Bench, faults: Faults, schema: KeypointSchema = COCO_17) -> list[Result]:
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
    single = pairs_of(bench.identities, pictures, references=most)
    everyone = np.indices((bench.identities, bench.identities)).reshape(2, -1)
    results = []
    for (method, evidence), count in itertools.product(honest(people).items(), _REFERENCE_COUNTS):
        together = fused(evidence, bench.identities, pictures, most, pictures)
        references = fused(evidence, bench.identities, pictures, 0, count)
        for name, probes, person, probe, same in (
            ("1 probe", evidence, single.person, single.probe, single.same),
            (f"{_FUSED_PROBES} probes", together, *everyone, everyone[0] == everyone[1]),
        ):
            row = f"{_row_name(faults)}, {count} references, {name}"
            log_bayes = log_bayes_factors(references, probes, person, probe)
            results.append(_probability_result(row, method, log_bayes, same))
    return results


def by_correlation(bench: Bench) -> list[Result]:
    """Eight frames of one clip as the unknown person: what they say together, by the correlation that is assumed."""
    faults = Faults(_JITTER, bias=_CLIP_BIAS)
    pictures = REFERENCES + _FUSED_PROBES
    context = bench.context(faults)
    references = photograph(context, bench.poses, faults, bench.identities, pictures)
    everyone = np.indices((bench.identities, bench.identities)).reshape(2, -1)
    results = []
    for side, yaw in (("front", 0.0), ("side", 90.0)):
        clip = replace(faults, yaw_range=(yaw - 10, yaw + 10))
        both = honest(photograph(context, bench.poses, clip, bench.identities, pictures))
        for (method, frames), correlation in itertools.product(both.items(), _CORRELATIONS):
            known = fused(honest(references)[method], bench.identities, pictures, 0, REFERENCES)
            together = [
                fuse_groups(
                    Evidence(*(part[pictures * person + REFERENCES : pictures * (person + 1)] for part in frames)),
                    np.zeros(_FUSED_PROBES, int),
                    correlation,
                )
                for person in range(bench.identities)
            ]
            probes = Evidence(*(np.stack(parts) for parts in zip(*together, strict=True)))
            row = f"8 frames of one clip, {side}, correlation {correlation:g}"
            log_bayes = log_bayes_factors(known, probes, *everyone)
            results.append(_probability_result(row, method, log_bayes, everyone[0] == everyone[1]))
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
        table = Table(title=f"reliability, {result.row}, {result.method}", header_style="bold")
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
        curves = {f"{result.row}, {result.method}": result.bins for result in everything if result.bins is not None}
        if curves and not plot_reliability(out / "reliability.png", curves):
            console.print("no plot: matplotlib is not installed")


if __name__ == "__main__":
    main()
