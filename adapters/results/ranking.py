"""Order of rows to look at, and expected number of other people among the first ones.

Rows are ranked by log Bayes factor, lowest first; rows of equal evidence by information, highest first. A rank needs
less from a calibration than a verdict: a monotone error does not change it.

The expected number of others among the first n needs a calibration from known people. With such a calibration it was
right to within its sampling error in data sets drawn from real people. With the shipped calibration, or one from
pictures of unknown people, it was wrong by a factor of two and more in either direction (benchmarks/results.md, "From a
folder to a decision"), so no number is given then.

The expected number of others among the first n is the sum of p(another body | row). These probabilities need the share
π of other people in the data set, which the column same_body_probability leaves at one half. It is estimated from the
rows themselves: with the Bayes factors B_i, the likelihood Π (π + (1 − π) B_i) has its maximum at

    π = mean_i of π / (π + (1 − π) B_i),

which expectation maximisation finds (Saerens, Latinne and Decaestecker, "Adjusting the outputs of a classifier to new
a priori probabilities", Neural Computation 2002). Frames of one clip repeat their errors, so n of them weigh as much as
n/(1 + (n − 1) ρ) pictures (``engine.evidence.comparison``). Two imaginary pictures, one of each kind, keep the share
off 0 and 1.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from engine.evidence.comparison import GROUP_CORRELATION

FIRST = (10, 20, 50)
"""Lengths of the queue for which a precision is given."""

_ITERATIONS = 500
_CLOSE = 1e-9


class Queue(NamedTuple):
    """Rows in the order in which to look at them."""

    order: Int[np.ndarray, " ranked"]
    """Row numbers, the one most unlike the reference first."""
    other: Float[np.ndarray, " ranked"] | None
    """p(another body) of each row, in that order; None if unknown."""

    def ranks(self, rows: int) -> Int[np.ndarray, " rows"]:
        """Ranks from 1; 0 for rows that are not in the queue."""
        ranks = np.zeros(rows, int)
        ranks[self.order] = np.arange(1, len(self.order) + 1)
        return ranks

    def expected_others(self, first: int) -> float | None:
        """Expected number of other bodies among the first rows; None if unknown or if there are no rows."""
        if self.other is None or not len(self.other):
            return None
        return float(self.other[:first].sum())


def make_queue(
    evidence: Float[np.ndarray, " rows"],
    information: Float[np.ndarray, " rows"],
    decisive: Bool[np.ndarray, " rows"],
    weights: Float[np.ndarray, " rows"] | None = None,
) -> Queue:
    """The rows to look at, in order.

    Args:
        evidence: log Bayes factors in nats, or another number that is low for unlike rows.
        information: information in bits; it orders rows of equal evidence.
        decisive: rows for the queue: informative ones for which the detector was not unsure.
        weights: equivalent number of independent pictures of each row; None if the evidence gives no probabilities:
            it is not a log Bayes factor, or was not calibrated with known people.
    """
    rows = np.flatnonzero(decisive & np.isfinite(evidence))
    order = rows[np.lexsort((rows, -np.nan_to_num(information[rows]), evidence[rows]))]
    return Queue(order, None if weights is None else other_probability(evidence[order], weights[order]))


def clip_weights(clips: Sequence[str | None]) -> Float[np.ndarray, " rows"]:
    """Equivalent number of independent pictures of each row.

    Args:
        clips: clip of each row; None for a single picture.
    """
    sizes = Counter(clip for clip in clips if clip is not None)
    return np.array([1.0 if clip is None else 1 / (1 + (sizes[clip] - 1) * GROUP_CORRELATION) for clip in clips])


def with_alike(clips: Sequence[str | None], first: Int[np.ndarray, " rows"]) -> list[str | None]:
    """Clips, with similar pictures joined to a clip too.

    Args:
        first: first similar picture of each row (``near_duplicates.first_alike``).
    """
    twins = np.bincount(first, minlength=len(first))[first] > 1
    alike = [f"alike {row}" if twin else None for row, twin in zip(first.tolist(), twins.tolist(), strict=True)]
    return [clip or group for clip, group in zip(clips, alike, strict=True)]


def other_probability(
    log_bayes_factor: Float[np.ndarray, " rows"], weights: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """p(another body) of each row, with the share of others estimated from all of them."""
    values = np.asarray(log_bayes_factor, float)
    share = 0.5
    for _ in range(_ITERATIONS):
        chances = _other(values, share)
        updated = float((weights @ chances + 1) / (weights.sum() + 2))
        if abs(updated - share) < _CLOSE:
            break
        share = updated
    return _other(values, share)


def _other(log_bayes_factor: Float[np.ndarray, " rows"], share: float) -> Float[np.ndarray, " rows"]:
    logit = np.log(share) - np.log1p(-share) - log_bayes_factor
    return 0.5 * (1 + np.tanh(0.5 * logit))
