"""Order of rows to look at, and expected number of other people among the first ones.

Rows are ranked by log Bayes factor, lowest first; rows of equal evidence by information, highest first. A rank needs
less from a calibration than a verdict: a monotone error does not change it.

How many of the first n show somebody else is the sum of p(another body | row). These probabilities need the share π of
other people in the data set, which the column same_body_probability leaves at one half and which a few dozen weak rows
hardly determine. With the Bayes factors B_i its posterior, from a uniform prior, is

    p(π | rows) ∝ Π (π + (1 − π) B_i).

A range is given, from the number at the lower decile of π less 1.28 of its standard deviations to that at the upper
decile plus as many. It needs a calibration of the detector: in data sets drawn from real people such ranges held the
number in eight to nine of ten, and ranges from the shipped calibration hardly ever (benchmarks/results.md, "From a
folder to a decision"). Frames of one clip repeat their errors, so n of them weigh as much as n/(1 + (n − 1) ρ) pictures
(``engine.evidence.comparison``).
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from engine.evidence.comparison import GROUP_CORRELATION

FIRST = (10, 20, 50)
"""Lengths of the queue for which a precision is given."""

_SHARES = (np.arange(400) + 0.5) / 400
_DECILE, _DEVIATIONS = 0.1, 1.28
"""Of each ten ranges about eight or more hold the number."""


class Queue(NamedTuple):
    """Rows in the order in which to look at them."""

    order: Int[np.ndarray, " ranked"]
    """Row numbers, the one most unlike the reference first."""
    evidence: Float[np.ndarray, " ranked"]
    """In that order."""
    shares: tuple[float, float] | None
    """Lower and upper decile of the share of other bodies; None if unknown."""

    def ranks(self, rows: int) -> Int[np.ndarray, " rows"]:
        """Ranks from 1; 0 for rows that are not in the queue."""
        ranks = np.zeros(rows, int)
        ranks[self.order] = np.arange(1, len(self.order) + 1)
        return ranks

    def others(self, first: int) -> tuple[int, int] | None:
        """Range of the number of other bodies among the first rows; None if unknown."""
        return None if self.shares is None else range_of_others(self.evidence[:first], self.shares)


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
            it is not a log Bayes factor, or was not calibrated for the detector.
    """
    rows = np.flatnonzero(decisive & np.isfinite(evidence))
    order = rows[np.lexsort((rows, -np.nan_to_num(information[rows]), evidence[rows]))]
    if weights is None or not len(order):
        return Queue(order, evidence[order], None)
    return Queue(order, evidence[order], share_deciles(evidence[order], weights[order]))


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


def share_deciles(
    log_bayes_factor: Float[np.ndarray, " rows"], weights: Float[np.ndarray, " rows"]
) -> tuple[float, float]:
    """Lower and upper decile of the share of other bodies."""
    values = np.asarray(log_bayes_factor, float)[:, None]
    logs = weights @ np.logaddexp(np.log(_SHARES), np.log1p(-_SHARES) + values)
    posterior = np.cumsum(np.exp(logs - logs.max()))
    low, high = np.searchsorted(posterior, posterior[-1] * np.array([_DECILE, 1 - _DECILE]))
    return float(_SHARES[low]), float(_SHARES[high])


def range_of_others(log_bayes_factor: Float[np.ndarray, " rows"], shares: tuple[float, float]) -> tuple[int, int]:
    """Range of the number of other bodies among these rows, at the deciles of their share in the data set."""
    ends = []
    for share, sign in zip(shares, (-1, 1), strict=True):
        chances = _other(np.asarray(log_bayes_factor, float), share)
        ends.append(chances.sum() + sign * _DEVIATIONS * np.sqrt(np.sum(chances * (1 - chances))))
    low, high = np.clip(np.rint(ends), 0, len(log_bayes_factor)).astype(int).tolist()
    return low, high


def _other(log_bayes_factor: Float[np.ndarray, " rows"], share: float) -> Float[np.ndarray, " rows"]:
    logit = np.log(share) - np.log1p(-share) - log_bayes_factor
    return 0.5 * (1 + np.tanh(0.5 * logit))
