"""All pictures of a data set as one: a mixture of people is not one of them, and nothing is surer than was earned."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from adapters.jobs.set_verdict import SetTally, SetVerdict
from adapters.results.evidence_table import COLUMNS, evidence_columns
from engine.evidence.calibration import Calibration
from engine.evidence.limbs import SHARE, LimbModel
from engine.evidence.shape_evidence import Evidence
from engine.shape import Shape

BETAS = 10
PRECISION = 20.0
SYNTHETIC = Calibration(1.0, np.zeros((BETAS, BETAS)), "synthetic", 0.9)
UNLABELLED = replace(SYNTHETIC, mean=np.zeros(BETAS))
LABELLED = replace(SYNTHETIC, people_known=True)
PEOPLE = np.random.default_rng(7).normal(size=(3, BETAS))


def _evidence(shapes: np.ndarray, seed: int) -> Evidence:
    draw = np.random.default_rng(seed)
    seen = shapes + draw.normal(size=shapes.shape) / np.sqrt(PRECISION)
    precision = np.tile(np.float32(PRECISION) * np.eye(BETAS, dtype=np.float32), (len(shapes), 1, 1))
    return Evidence(precision, (PRECISION * seen).astype(np.float32))


def _shape(person: int) -> Shape:
    one = _evidence(PEOPLE[[person]], seed=1)
    return Shape(
        betas=PEOPLE[person].astype(np.float32),
        body_name="body",
        body_fingerprint="",
        schema="coco17",
        mode="free",
        evidence=Evidence(one.precision[0], one.information[0]),
    )


def _verdict(shown: list[int], calibration: Calibration, clip: bool = False) -> SetVerdict:
    evidence = _evidence(PEOPLE[shown], seed=2)
    names = [f"clip{person}_{i:06d}" if clip else f"{i}.jpg" for i, person in enumerate(shown)]
    arrays = [pa.array(names), *evidence_columns(evidence)]
    tally = SetTally([_shape(0), _shape(1)], ["anna", "boris"], calibration)
    whole = pa.RecordBatch.from_arrays(arrays, names=["image", *COLUMNS])
    for start in range(0, len(whole), 3):
        tally.add(whole.slice(start, 3))
    verdict = tally.verdict()
    assert verdict == tally.verdict()
    return verdict


@pytest.mark.parametrize("clip", [False, True])
def test_a_mixture_of_people_is_several_people_and_nobody_of_the_shapes(clip) -> None:
    mixed = _verdict([0, 0, 0, 1, 1, 1, 2, 2, 2], LABELLED, clip)
    assert mixed.in_words == "several people"
    assert mixed.same_body_probability < 0.1
    assert mixed.clips == (3 if clip else 0)


def test_pictures_of_one_person_are_that_person_or_another() -> None:
    anna = _verdict([0] * 8, LABELLED)
    assert anna.best_match == "anna"
    assert anna.in_words == "one person with the reference's body"
    stranger = _verdict([2] * 8, LABELLED)
    assert stranger.in_words == "one person with another body"


def test_the_test_for_one_person_takes_back_the_reduction_for_limbs() -> None:
    limbs = LimbModel(np.zeros(7), np.zeros((7, BETAS)), np.eye(7), np.eye(7))
    reduced = replace(LABELLED, noise_scale=1 / np.sqrt(SHARE), limbs=limbs)
    plain, weighed = (_verdict([0, 0, 1, 1], calibration) for calibration in (LABELLED, reduced))
    assert weighed.one_person_probability == pytest.approx(plain.one_person_probability, rel=1e-4)
    assert weighed.log_bayes_factor != pytest.approx(plain.log_bayes_factor, rel=1e-2)


def test_no_verdict_is_surer_than_the_calibration_allows() -> None:
    for calibration, bound in ((SYNTHETIC, 0.8), (UNLABELLED, 0.99), (LABELLED, 0.999)):
        anna = _verdict([0] * 20, calibration)
        assert anna.bound == bound == anna.same_body_probability
        assert _verdict([0, 1, 2] * 4, calibration).one_person_probability == pytest.approx(1 - bound)


def test_without_a_calibration_of_the_detector_nothing_is_decided() -> None:
    for shown in ([0] * 20, [0, 1, 2] * 4, [2] * 20):
        assert _verdict(shown, SYNTHETIC).in_words == "unclear"
