"""Which rows come first, how many of them are expected to be somebody else, and of which kind a row is."""

import numpy as np
import pytest

from adapters.results.ranking import clip_weights, make_queue, share_deciles
from adapters.results.vocabulary import KIND_LABELS, TERMS, Kind, row_kinds


def test_the_queue_is_ordered_by_evidence_then_by_information() -> None:
    evidence = np.array([1.0, -2.0, np.nan, -2.0, -5.0, 0.0], np.float32)
    information = np.array([1.0, 0.5, 1.0, 2.0, 1.0, 1.0], np.float32)
    decisive = np.array([True, True, True, True, False, True])
    queue = make_queue(evidence, information, decisive, np.ones(6))
    assert queue.order.tolist() == [3, 1, 5, 0]
    assert queue.ranks(6).tolist() == [4, 2, 0, 1, 0, 3]
    assert make_queue(evidence, information, decisive).others(3) is None


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("d", [0.5, 1.2, 2.5])
def test_ranges_hold_the_number_of_others_where_evidence_is_calibrated(share: float, d: float) -> None:
    """Log Bayes factors of two Gaussians: N(±d²/2, d²) for the same and for another body."""
    draw = np.random.default_rng(3)
    held = []
    for _ in range(100):
        other = draw.random(60) < share
        evidence = draw.normal(np.where(other, -1, 1) * d**2 / 2, d)
        queue = make_queue(evidence, np.ones(60), np.ones(60, bool), np.ones(60))
        low, high = queue.others(10) or (0, 0)
        held.append(low <= other[queue.order[:10]].sum() <= high)
    assert np.mean(held) >= 0.75


def test_frames_of_one_clip_do_not_settle_the_share_of_others() -> None:
    evidence = np.full(400, 3.0)
    alone = share_deciles(evidence, clip_weights([None] * 400))
    clip = share_deciles(evidence, clip_weights(["walk"] * 400))
    assert alone[1] < 0.01
    assert clip[1] > 0.5
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
