"""Calibration error of probabilities: a share p of the pairs with a probability near p should be pairs of one body.

Both kinds of pairs get the same total weight, as the prior probability of ½ assumes. The pairs come from labelled
pictures: each picture is left out of its person's pictures and compared with everybody.

Source: Guo et al., "On calibration of modern neural networks", ICML 2017 (expected calibration error).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from engine.evidence.shape_evidence import Evidence, log_bayes_factor, same_body_probability


class ReliabilityBin(NamedTuple):
    """The pairs whose probability fell into one bin."""

    weight: float
    """Share of all pairs; each kind of pair counts half in total."""
    predicted: float
    """Mean probability."""
    actual: float
    """Share of pairs of one body."""


@partial(jax.jit, static_argnames="people")
def leave_one_out(evidence: Evidence, person: Int[Array, " images"], people: int) -> Float[Array, "images people"]:
    """Log Bayes factor of each picture against the fused other pictures of each person."""
    fused = jax.tree.map(lambda part: jax.ops.segment_sum(part, person, people), evidence)

    def against_all(picture: Evidence, own: Array) -> Float[Array, " people"]:
        is_own = (jnp.arange(people) == own).astype(picture.precision.dtype)

        def against(reference: Evidence, taken: Array) -> Float[Array, ""]:
            others = jax.tree.map(lambda whole, part: whole - taken * part, reference, picture)
            return log_bayes_factor(others, picture)

        return jax.vmap(against)(fused, is_own)

    return jax.lax.map(lambda pair: against_all(*pair), (evidence, person))


def reliability(
    probability: Float[np.ndarray, " pairs"], same: Bool[np.ndarray, " pairs"], bins: int = 10
) -> list[ReliabilityBin]:
    """Predicted probability against the actual share of pairs of one body, in bins of equal width; empty ones left out.

    Raises:
        ValueError: pairs of one kind are missing.
    """
    if same.all() or not same.any():
        raise ValueError("reliability needs pairs of one body and pairs of different bodies; one kind is missing")
    weight = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    column = np.minimum((probability * bins).astype(int), bins - 1)
    rows = []
    for index in range(bins):
        inside = column == index
        if inside.any():
            total = weight[inside].sum()
            predicted = (weight[inside] @ probability[inside]) / total
            rows.append(ReliabilityBin(float(total), float(predicted), float(weight[inside] @ same[inside] / total)))
    return rows


def expected_calibration_error(rows: list[ReliabilityBin]) -> float:
    """Mean distance between predicted probability and actual share, weighted by the bins' pairs."""
    return sum(row.weight * abs(row.predicted - row.actual) for row in rows)


def roc_area(scores: Float[np.ndarray, " pairs"], same: Bool[np.ndarray, " pairs"]) -> float:
    """Share of comparisons in which a pair of one body scores above a pair of different bodies, equals counted half;
    NaN if one kind of pairs is missing."""
    if same.all() or not same.any():
        return np.nan
    others = np.sort(scores[~same])
    below = np.searchsorted(others, scores[same], "left") + np.searchsorted(others, scores[same], "right")
    return float(below.mean() / (2 * len(others)))


def leave_one_out_error(evidence: Evidence, person: Int[Array, " images"], people: int) -> float:
    probability = np.asarray(same_body_probability(leave_one_out(evidence, person, people)))
    same = np.asarray(person)[:, None] == np.arange(people)
    # A person's only picture has nothing left to be compared with.
    counts = np.bincount(person, minlength=people)
    known = counts[None] - same > 0
    return expected_calibration_error(reliability(probability[known], same[known]))
