"""Which rows come first, how many of them are expected to be somebody else, and of which kind a row is."""

import numpy as np
import pytest

from adapters.results.ranking import clip_weights, make_queue, other_probability
from adapters.results.vocabulary import KIND_LABELS, TERMS, Kind, row_kinds


def test_the_queue_is_ordered_by_evidence_then_by_information() -> None:
    evidence = np.array([1.0, -2.0, np.nan, -2.0, -5.0, 0.0], np.float32)
    information = np.array([1.0, 0.5, 1.0, 2.0, 1.0, 1.0], np.float32)
    decisive = np.array([True, True, True, True, False, True])
    queue = make_queue(evidence, information, decisive, np.ones(6))
    assert queue.order.tolist() == [3, 1, 5, 0]
    assert queue.ranks(6).tolist() == [4, 2, 0, 1, 0, 3]
    assert make_queue(evidence, information, decisive).expected_others(3) is None


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9])
def test_expected_precision_is_the_actual_one_where_evidence_is_calibrated(share: float) -> None:
    """Log Bayes factors of two Gaussians: N(±d²/2, d²) for the same and for another body."""
    draw = np.random.default_rng(3)
    count, d = 20_000, 1.2
    other = draw.random(count) < share
    evidence = draw.normal(np.where(other, -1, 1) * d**2 / 2, d)
    queue = make_queue(evidence, np.ones(count), np.ones(count, bool), np.ones(count))
    for first in (1000, 5000):
        actual = other[queue.order[:first]].sum()
        assert queue.expected_others(first) == pytest.approx(actual, abs=5 * np.sqrt(first / 4))
    assert queue.other is not None
    assert queue.other.mean() == pytest.approx(share, abs=0.03)


def test_frames_of_one_clip_do_not_settle_the_share_of_others() -> None:
    evidence = np.full(400, 3.0)
    alone = other_probability(evidence, clip_weights([None] * 400))
    clip = other_probability(evidence, clip_weights(["walk"] * 400))
    assert alone.max() < 0.001
    assert clip.min() > 0.01
    assert clip_weights([None, "a", "a"]).tolist() == [1.0, 1 / 1.9, 1 / 1.9]


def test_three_kinds_are_kept_apart() -> None:
    statuses = [
        "ok",
        "ok",
        "ok",
        "low_information",
        "too_few_keypoints",
        "implausible",
        "no_detection",
        "not_converged",
    ]
    probability = np.array([0.1, 0.5, 0.9, 0.05, np.nan, 0.02, np.nan, np.nan])
    kinds = row_kinds(statuses, probability, np.ones(8))
    assert kinds.tolist() == [
        Kind.ANOTHER_BODY,
        Kind.UNDECIDED,
        Kind.SAME_BODY,
        Kind.TOO_LITTLE,
        *[Kind.DETECTOR_UNSURE] * 4,
    ]
    assert row_kinds(["ok", "no_detection"], None, np.array([0.3, np.nan])).tolist() == [
        Kind.SCORED,
        Kind.DETECTOR_UNSURE,
    ]


def test_every_kind_is_explained() -> None:
    assert set(KIND_LABELS.values()) <= set(TERMS)
