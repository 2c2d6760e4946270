"""Does a queue say how many of its first pictures show somebody else? ``python -m benchmarks.queue_precision FOLDER``.

FOLDER is that of ``benchmarks.real_people``. A data set is drawn for each person of the half that is kept for figures:
up to eight references, up to twenty other pictures of that person from other cameras, and pictures of other people,
one of each, so that these are a given share of the whole. It is ranked as ``samebody check`` ranks it, at four
calibrations: the shipped one, one made from the data set itself, and two made from people for development, without and
with labels.
The table compares the range of others that is expected among the first with the number that is there.
"""

from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from jaxtyping import Int

from adapters.commands.display import print_table
from adapters.results.ranking import FIRST, make_queue
from benchmarks.real_people import calibrations, own_evidence
from benchmarks.real_trials import RealPictures, load_market
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.schemas import COCO_17
from engine.evidence.calibration import Calibration, calibrated_pictures
from engine.evidence.calibration_estimate import LEAST_PICTURES, calibrate_unlabelled
from engine.evidence.calibration_file import default_calibration
from engine.evidence.comparison import fuse_groups, log_bayes_factors
from engine.evidence.limbs import SeenLimbs, limb_logs, limb_slopes, with_limbs
from engine.evidence.population import Population, body_population
from engine.evidence.shape_evidence import Evidence
from engine.evidence.stages import LOW_INFORMATION_BITS

SHARES = (0.1, 0.25, 0.5, 0.8)
_LEAST_SEEN, _REFERENCES, _OWN, _LEAST_OWN, _PEOPLE, _SEED = 12, 8, 20, 8, 60, 17


class DataSet(NamedTuple):
    """One person's references, and pictures in question."""

    references: Int[np.ndarray, " references"]
    pictures: Int[np.ndarray, " images"]
    others: np.ndarray
    """Which of the pictures show somebody else."""


def draw_data_sets(
    pictures: RealPictures, rows: Int[np.ndarray, " rows"], share: float, random: np.random.Generator
) -> list[DataSet]:
    """A data set of each person with enough pictures, in the order of people.

    Args:
        rows: what may be drawn.
        share: of other people among the pictures in question.
    """
    found = []
    for person in np.unique(pictures.person[rows]):
        own = rows[pictures.person[rows] == person]
        cameras = random.permutation(np.unique(pictures.camera[own]))
        known = np.isin(pictures.camera[own], cameras[: len(cameras) // 2])
        references, asked = random.permutation(own[known])[:_REFERENCES], random.permutation(own[~known])[:_OWN]
        if len(references) < _REFERENCES // 2 or len(asked) < _LEAST_OWN:
            continue
        strangers = random.permutation(rows[pictures.person[rows] != person])
        strangers = strangers[np.sort(np.unique(pictures.person[strangers], return_index=True)[1])]
        strangers = strangers[: max(round(len(asked) * share / (1 - share)), 1)]
        together = np.concatenate([asked, strangers])
        found.append(DataSet(references, together, np.arange(len(together)) >= len(asked)))
        if len(found) == _PEOPLE:
            break
    return found


class SeenPictures(NamedTuple):
    """Pictures with what they tell, before any calibration."""

    evidence: Evidence
    limbs: SeenLimbs
    camera: Int[np.ndarray, " images"]

    def rows(self, chosen: Int[np.ndarray, " rows"]) -> "SeenPictures":
        """Some of them."""
        picked = Evidence(*(np.asarray(part)[chosen] for part in self.evidence))
        return SeenPictures(picked, self.limbs.rows(chosen), self.camera[chosen])

    def calibrated(self, calibration: Calibration) -> Evidence:
        """With limbs where the calibration knows them."""
        evidence = self.evidence
        if calibration.limbs is not None:
            known = np.any(np.asarray(evidence.precision), axis=(1, 2))
            evidence = with_limbs(evidence, calibration.limbs, self.limbs.logs, known)
        return calibrated_pictures(evidence, calibration)


def _made_from(pictures: SeenPictures, prior: Population) -> Calibration:
    """As ``samebody check`` calibrates on a data set."""
    if len(pictures.camera) < LEAST_PICTURES:
        return default_calibration()
    report = calibrate_unlabelled(pictures.evidence, "the data set", None, prior, pictures.limbs)
    better = report.log_likelihood_after > report.log_likelihood_before
    return report.calibration if better else default_calibration()


def expected_and_found(
    pictures: SeenPictures, data: DataSet, calibration: Calibration | None, prior: Population
) -> dict[int, tuple[int, int, int, float]]:
    """By length of the queue: the range of others, how many are there, and the share that chance would give."""
    asked, references = pictures.rows(data.pictures), pictures.rows(data.references)
    chosen = _made_from(asked, prior) if calibration is None else calibration
    own, ready = references.calibrated(chosen), asked.calibrated(chosen)
    person = fuse_groups(own, references.camera, chosen.group_correlation)
    factors = log_bayes_factors(ready, Evidence(*(np.asarray(part)[None] for part in person)))[:, 0]
    bits = (
        0.5 * np.linalg.slogdet(np.asarray(ready.precision, float) + np.eye(ready.information.shape[1]))[1] / np.log(2)
    )
    queue = make_queue(factors, bits, bits >= LOW_INFORMATION_BITS, np.ones(len(factors)))
    found = {}
    for first in FIRST[:2]:
        if len(queue.order) >= 2 * first:
            low, high = queue.others(first) or (0, first)
            there = int(data.others[queue.order[:first]].sum())
            found[first] = (low, high, there, float(data.others[queue.order].mean()))
    return found


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--cache", type=click.Path(path_type=Path), help="A folder that keeps evidence between runs.")
def main(folder: Path, cache: Path | None) -> None:
    """Compare the expected with the true number of other people among the first pictures."""
    pictures = load_market(folder)
    evidence = own_evidence(pictures, "auto", cache)
    usable = ~pictures.for_development & (pictures.seen >= _LEAST_SEEN) & np.any(evidence.precision, axis=(1, 2))
    known, body = calibrations(pictures, evidence), load_embedded_body()
    slopes = limb_slopes(reduce_body(body, COCO_17))
    assert slopes is not None, "the embedded body has limbs"
    limbs = SeenLimbs(limb_logs(pictures.keypoints, pictures.confidence, COCO_17), slopes)
    seen, prior = SeenPictures(evidence, limbs, pictures.camera), body_population(body.fingerprint, body.beta_count)
    methods: dict[str, Calibration | None] = {
        "shipped": default_calibration(),
        "from the data set": None,
        "without labels": known["unlabelled (200)"].calibration,
        "with labels": known["labelled"].calibration,
    }
    rows = []
    for share in SHARES:
        data = draw_data_sets(pictures, np.flatnonzero(usable), share, np.random.default_rng(_SEED))
        for name, calibration in methods.items():
            each = [expected_and_found(seen, one, calibration, prior) for one in data]
            for first in FIRST[:2]:
                those = np.array([one[first] for one in each if first in one])
                if len(those):
                    low, high, there, chance = those.mean(axis=0)
                    held = np.mean((those[:, 0] <= those[:, 2]) & (those[:, 2] <= those[:, 1]))
                    rows.append((f"{share:.0%}", name, str(first), str(len(those)), f"{chance * first:.1f}",
                                 f"{there:.1f}", f"{low:.1f} to {high:.1f}", f"{held:.2f}"))  # fmt: skip
    columns = ("others", "calibration", "first", "data sets", "by chance", "found", "range", "held")
    print_table(pictures.name, columns, rows)


if __name__ == "__main__":
    main()
