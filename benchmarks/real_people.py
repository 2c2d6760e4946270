"""Same person or not, on pictures of real people: ``python -m benchmarks.real_people FOLDER``.

FOLDER holds the keypoints of Market-1501 and of DeepFashion in-shop (``benchmarks.real_trials``), which may be used for
research only; nothing of them is shipped. All methods are compared on identical pairs of people that no method has
seen; the limb baseline (``benchmarks.limb_baseline``) and the calibrations are made from the other half of the people.

Areas under the ROC curve have 95 % intervals from drawing people anew, with replacement. Rank 1: how often, of all
people, the right one has the highest score. Calibration error: expected, both kinds of pairs weighted alike.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click
import jax
import numpy as np
from jaxtyping import Bool, Float

from adapters.commands.display import print_table
from benchmarks.limb_baseline import LimbModel, baseline_logs, fit_limb_model, limb_log_ratios
from benchmarks.real_sets import one_or_two
from benchmarks.real_trials import RealPictures, Trials, draw_trials, load_deepfashion, load_market
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.schemas import COCO_17
from engine.evidence.amortised.evidence import amortised_evidence, make_amortised
from engine.evidence.amortised.network import Network
from engine.evidence.amortised.network_file import find_network
from engine.evidence.amortised.stage import join_evidence
from engine.evidence.calibration import Calibration, calibrated_pictures
from engine.evidence.calibration_estimate import calibrate, calibrate_unlabelled
from engine.evidence.calibration_file import default_calibration
from engine.evidence.comparison import log_bayes_factors
from engine.evidence.limbs import SeenLimbs, limb_logs, limb_slopes, with_limbs
from engine.evidence.population import body_population
from engine.evidence.reliability import expected_calibration_error, reliability
from engine.evidence.shape_evidence import Evidence
from engine.posed.fit import POSED_NOISE, make_context
from engine.posed.scoring import fit_own

_LEAST_SEEN = 12
_DRAWS = {(1, 1): 10, (2, 2): 6, (4, 4): 6, (4, 1): 10}
_RESAMPLES, _BINS = 100, 400
_SEED = 14
_OF_A_CAMERA = 2
_UNLABELLED = (200, 2000)
"""Pictures of calibrations without labels."""


class Calibrated(NamedTuple):
    """Raw evidence of all pictures and what is made of it."""

    evidence: Evidence
    calibration: Calibration


Score = Callable[[Trials], Float[np.ndarray, "people people"]]


@dataclass(frozen=True)
class Figures:
    """Of one method on one kind of pairs."""

    people: int
    pairs: int
    """Of one person."""
    auc: float
    low: float
    high: float
    calibration_error: float
    rank_1: float


def figures(scores: list[Float[np.ndarray, "people people"]], draws: list[Trials], person: np.ndarray) -> Figures:
    """Figures of several draws together.

    Raises:
        ValueError: there is nobody to compare.
    """
    everyone = np.unique(np.concatenate([person[draw.a[:, 0]] for draw in draws]))
    edges = np.quantile(np.concatenate([score[draw.comparable] for score, draw in zip(scores, draws, strict=True)]),
                        np.linspace(0, 1, _BINS + 1)[1:-1])  # fmt: skip
    random = np.random.default_rng(_SEED)
    counts = [np.ones(len(everyone))]
    counts += [
        np.bincount(random.integers(len(everyone), size=len(everyone)), minlength=len(everyone)).astype(float)
        for _ in range(_RESAMPLES)
    ]
    kinds = np.zeros((len(counts), 2, _BINS))
    flat, same, hits = [], [], []
    for score, draw in zip(scores, draws, strict=True):
        place = np.searchsorted(everyone, person[draw.a[:, 0]])
        own = np.eye(len(place), dtype=bool)
        bins = np.searchsorted(edges, score)
        off = draw.comparable & ~own
        for i, count in enumerate(counts):
            weight = count[place]
            kinds[i, 1] += np.bincount(bins[own], weights=weight, minlength=_BINS)
            pairs = (weight[:, None] * weight[None])[off]
            kinds[i, 0] += np.bincount(bins[off], weights=pairs, minlength=_BINS)
        flat.append(score[draw.comparable])
        same.append(own[draw.comparable])
        hits.append(np.diagonal(score) >= np.where(draw.comparable, score, -np.inf).max(axis=1))
    below = np.cumsum(kinds[:, 0], axis=1) - 0.5 * kinds[:, 0]
    areas = (below * kinds[:, 1]).sum(axis=1) / (kinds[:, 0].sum(axis=1) * kinds[:, 1].sum(axis=1))
    log_ratio, of_one = np.concatenate(flat), np.concatenate(same)
    probability = 1 / (1 + np.exp(-np.clip(log_ratio, -50, 50)))
    low, high = np.quantile(areas[1:], [0.025, 0.975])
    return Figures(
        people=len(everyone),
        pairs=int(of_one.sum()),
        auc=float(areas[0]),
        low=float(low),
        high=float(high),
        calibration_error=expected_calibration_error(reliability(probability, of_one)),
        rank_1=float(np.mean(np.concatenate(hits))),
    )


def own_evidence(pictures: RealPictures, solver: str, cache: Path | None) -> Evidence:
    """Raw evidence of each picture; zeros where it could not be fitted."""
    body = load_embedded_body()
    network = find_network(body) if solver == "amortised" else None
    stored = None if cache is None else cache / f"{pictures.name}-{solver}{_digest(network)}.npz"
    if stored is not None and stored.exists():
        with np.load(stored, allow_pickle=False) as arrays:
            return Evidence(arrays["precision"], arrays["information"])
    if solver == "joint":
        own, other = (own_evidence(pictures, source, cache) for source in ("lm", "amortised"))
        both = np.any(own.precision, axis=(1, 2)) & np.any(other.precision, axis=(1, 2))
        return join_evidence(own, other, both)
    seen = (pictures.keypoints, pictures.confidence)
    if solver == "amortised":
        if network is None:
            raise click.ClickException("no network comes with this body; make one with: samebody train-evidence")
        evidence = amortised_evidence(make_amortised(body, network), COCO_17, POSED_NOISE, *seen)
    else:
        evidence = fit_own(make_context(reduce_body(body, COCO_17)), *seen, solver).evidence
    evidence = Evidence(*map(np.asarray, evidence))
    if stored is not None:
        stored.parent.mkdir(parents=True, exist_ok=True)
        np.savez(stored, **evidence._asdict())
    return evidence


def _digest(network: Network | None) -> str:
    """Kept evidence of another network is not used."""
    if network is None:
        return ""
    return (
        "-" + hashlib.sha256(b"".join(np.asarray(part).tobytes() for part in jax.tree.leaves(network))).hexdigest()[:8]
    )


def calibrations(pictures: RealPictures, evidence: Evidence) -> dict[str, Calibrated]:
    """None, without labels, and with labels; all but the first of people for development."""
    body = load_embedded_body()
    slopes = limb_slopes(reduce_body(body, COCO_17))
    if slopes is None:
        raise ValueError("the embedded body has no limbs")
    limbs = SeenLimbs(limb_logs(pictures.keypoints, pictures.confidence, COCO_17), slopes)
    known = np.any(evidence.precision, axis=(1, 2))
    rows = np.flatnonzero(pictures.for_development & known)
    prior = body_population(body.fingerprint, body.beta_count)

    def without_labels(most: int, limbs: SeenLimbs | None) -> tuple[str, Calibration]:
        few = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)]
        own = None if limbs is None else limbs.rows(few)
        found = calibrate_unlabelled(Evidence(*(part[few] for part in evidence)), "development", None, prior, own)
        return f"unlabelled ({len(few)})", found.calibration

    some, group = _few_of_a_camera(pictures, rows)
    person = np.unique(pictures.person[some], return_inverse=True)[1]
    own = Evidence(*(part[some] for part in evidence))
    labelled = calibrate(own, person, "development", group, None, prior, limbs.rows(some)).calibration
    found = {
        "uncalibrated": default_calibration(),
        "unlabelled, no limbs": without_labels(max(_UNLABELLED), None)[1],
        **dict(without_labels(most, limbs) for most in _UNLABELLED),
        "labelled": labelled,
    }
    return {
        name: Calibrated(evidence if one.limbs is None else with_limbs(evidence, one.limbs, limbs.logs, known), one)
        for name, one in found.items()
    }


def _few_of_a_camera(pictures: RealPictures, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the rows, the first few of each person and camera, and which camera each is of; more of them repeat these."""
    camera = np.unique(np.stack([pictures.person[rows], pictures.camera[rows]]), axis=1, return_inverse=True)[1]
    order = np.argsort(camera.reshape(-1), kind="stable")
    numbers = camera.reshape(-1)[order]
    place = np.arange(len(order)) - np.searchsorted(numbers, numbers)
    kept = np.sort(order[place < _OF_A_CAMERA])
    return rows[kept], camera.reshape(-1)[kept]


def evidence_score(pictures: Calibrated) -> Score:
    ready = calibrated_pictures(*pictures)

    def score(draw: Trials) -> np.ndarray:
        a, b = (Evidence(*(np.asarray(part)[side].sum(axis=1) for part in ready)) for side in (draw.a, draw.b))
        return log_bayes_factors(a, b).astype(float)

    return score


def limb_score(pictures: RealPictures) -> Score:
    logs = baseline_logs(pictures.keypoints)
    rows = np.flatnonzero(pictures.for_development & pictures.whole)
    model: LimbModel = fit_limb_model(logs[rows], pictures.person[rows])
    return lambda draw: limb_log_ratios(model, logs[draw.a], logs[draw.b])


def kinds_of_pairs(
    pictures: RealPictures, usable: Bool[np.ndarray, " images"]
) -> dict[str, tuple[np.ndarray, np.ndarray, tuple[int, int]]]:
    """By name: rows for sides A and B, and how many pictures each side has."""
    judged = usable & ~pictures.for_development
    whole, seen = np.flatnonzero(judged & pictures.whole), pictures.seen
    kinds = {f"all limb points, {a} against {b}": (whole, whole, (a, b)) for a, b in _DRAWS}
    for low, high in ((8, 11), (12, 15), (16, 17)):
        some = np.flatnonzero(judged & (seen >= low) & (seen <= high))
        kinds[f"{low} to {high} points, 1 against 1"] = (some, some, (1, 1))
    enough = np.flatnonzero(judged & (seen >= _LEAST_SEEN))
    for a, b in _DRAWS:
        kinds[f"{_LEAST_SEEN} points or more, {a} against {b}"] = (enough, enough, (a, b))
    front, back = (enough[pictures.view[enough] == view] for view in ("front", "back"))
    if len(front):
        kinds["front against back, 1 against 1"] = (front, back, (1, 1))
    return kinds


def compare(
    pictures: RealPictures, methods: dict[str, Score], usable: Bool[np.ndarray, " images"]
) -> list[tuple[str, str, Figures]]:
    """All methods on all kinds of pairs; the limb baseline where its points are seen."""
    found = []
    for kind, (rows_a, rows_b, sizes) in kinds_of_pairs(pictures, usable).items():
        random = np.random.default_rng(_SEED)
        draws = [draw_trials(pictures, rows_a, rows_b, sizes, random) for _ in range(_DRAWS[sizes])]
        draws = [draw for draw in draws if len(draw.a) > 1]
        if not draws:
            continue
        for name, score in methods.items():
            if name != "limb LLR" or kind.startswith("all limb points"):
                scores = [score(draw) for draw in draws]
                found.append((kind, name, figures(scores, draws, pictures.person)))
    return found


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--solver", "solvers", multiple=True, default=("amortised", "lm"), show_default=True,
    help="Which evidence: amortised, a solver of fits, or joint; several times to compare them.",
)  # fmt: skip
@click.option("--cache", type=click.Path(path_type=Path), help="A folder that keeps evidence between runs.")
def main(folder: Path, solvers: tuple[str, ...], cache: Path | None) -> None:
    """Compare all methods on identical pairs."""
    for pictures in (load_market(folder), load_deepfashion(folder)):
        methods: dict[str, Score] = {"limb LLR": limb_score(pictures)}
        usable, sets = np.ones(len(pictures.person), bool), []
        for solver in solvers:
            evidence = own_evidence(pictures, solver, cache)
            usable &= np.any(evidence.precision, axis=(1, 2))
            for name, calibrated in calibrations(pictures, evidence).items():
                methods[f"{solver}, {name}"] = evidence_score(calibrated)
                sets.append((f"{solver}, {name}", *one_or_two(pictures, *calibrated)))
        rows = [
            (
                kind,
                name,
                f"{one.people} / {one.pairs}",
                f"{one.auc:.3f} ({one.low:.3f} to {one.high:.3f})",
                f"{one.calibration_error:.3f}",
                f"{100 * one.rank_1:.1f} %",
            )
            for kind, name, one in compare(pictures, methods, usable)
        ]
        print_table(pictures.name, ("pairs", "method", "people / pairs", "AUC", "calibration", "rank 1"), rows)
        columns = ("method", "of one / of two", "AUC", "calibration", "right of those called one person at 0.9")
        print_table(f"{pictures.name}, sets of eight pictures: one person or two", columns, sets)


if __name__ == "__main__":
    main()
