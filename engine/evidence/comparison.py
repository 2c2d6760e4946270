"""Many pictures against many people: log Bayes factors of all pairs, the best match, and groups of pictures.

A pair's log Bayes factor (``engine.evidence.shape_evidence``) is log m(r + p) − log m(r) − log m(p). The last two
belong to one side and are computed once each; the first one is computed for every pair. With many people this is done
elementwise over pairs; with up to ``_FEW_PEOPLE`` by the program that serves single evidence. The two ways may differ
in the last digit; apart from that a pair's factor depends on nothing but the pair.

The best match: N people are equally likely a priori, and π is the prior probability that the picture shows a stranger
from the population instead. The posterior is

    p(person j) ∝ (1 − π)/N · B_j,    p(none of them) ∝ π.

Pictures of one group (frames of a clip, one camera) share errors: a detector that sees the same side makes the same
mistake. If the errors of n equally informative pictures are correlated by ρ, they are worth n/(1 + (n − 1) ρ)
independent ones (Kish, "Survey sampling", 1965, section 5.4: the design effect), so a group's sum is divided by
1 + (n − 1) ρ.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32

from engine.batching import AnyArray, map_samples, map_tiles, pad_rows
from engine.evidence.shape_evidence import Evidence
from engine.solvers.small_systems import log_gaussian_integral, lower_triangle, solve_and_weigh

GROUP_CORRELATION = 0.9
"""ρ of frames of one clip: real keypoints are off by 1 % of stature, of which 0.27 % changes from frame to frame
(benchmarks/results.md, "Identity")."""

NONE_PRIOR = 0.5
"""π: prior probability that the person in a picture is a stranger."""

# Pairs of one tile; fewer are padded. This was the fastest among 32 to 256 people and 256 to 8192 pictures
# (benchmarks/results.md, "Identity", "All pairs").
_TILE_PEOPLE = 64
_TILE_PICTURES = 4096
_TILE_EVIDENCE = 1024
_CHUNK_SIZE = 65536
_FEW_PEOPLE = 4


class Marginals(NamedTuple):
    """Evidence weighed against the population N(0, I)."""

    log_marginal: Float32[np.ndarray, " n"]
    """log m(Λ, h), nats."""
    information_bits: Float32[np.ndarray, " n"]
    """½ log₂|I + Λ|."""
    mean: Float32[np.ndarray, "n betas"]
    """(I + Λ)⁻¹ h: the most probable shape."""


class Matches(NamedTuple):
    """The best match of each picture. Uninformative pictures have margin 0 and the prior's probabilities."""

    best: Int32[np.ndarray, " images"]
    """Number of the person with the largest Bayes factor; the first one if several are equal."""
    log_bayes_factor: Float32[np.ndarray, " images"]
    """Log Bayes factor of that person against a stranger, nats."""
    margin: Float32[np.ndarray, " images"]
    """Distance to the second best, nats; infinite if there is only one person."""
    probability: Float32[np.ndarray, " images"]
    """Probability that the picture shows the best match."""
    none_probability: Float32[np.ndarray, " images"]
    """Probability that the picture shows a stranger."""


def log_bayes_factors(pictures: Evidence, people: Evidence) -> Float32[np.ndarray, "images people"]:
    """Same body against different bodies, in nats, for every picture with every person.

    The table takes 4 bytes a pair; ``match_people`` needs no table. Pictures whose evidence is NaN get NaN.
    """
    return factors_of(pictures, marginals(pictures).log_marginal, people)


def factors_of(
    pictures: Evidence, own_pictures: Float32[np.ndarray, " images"], people: Evidence
) -> Float32[np.ndarray, "images people"]:
    """``log_bayes_factors`` of pictures whose ``marginals`` are known."""
    pictures, people = _float32(pictures), _float32(people)
    own_people = marginals(people).log_marginal
    count = len(own_people)
    table = np.empty((len(own_pictures), count), np.float32)
    if count <= _FEW_PEOPLE:
        for person in range(count):
            both = Evidence(*(own + one[person] for own, one in zip(pictures, people, strict=True)))
            table[:, person] = marginals(both).log_marginal - (own_pictures + own_people[person])
        return table
    samples = (pictures, own_pictures)
    for start in range(0, count, _TILE_PEOPLE):
        stop = min(start + _TILE_PEOPLE, count)
        tile = [pad_rows(np.asarray(part[start:stop]), _TILE_PEOPLE) for part in (*people, own_people)]
        # People last: values for neighbouring pairs must be neighbours in memory.
        run = partial(_against_tile, *(np.ascontiguousarray(np.moveaxis(part, 0, -1)) for part in tile))
        table[:, start:stop] = map_tiles(run, samples, _TILE_PICTURES)[:, : stop - start]
    return table


def match_people(pictures: Evidence, people: Evidence, none_prior: float = NONE_PRIOR) -> Matches:
    """The best match of each picture; memory does not grow with the number of pairs.

    Raises:
        ValueError: there is nobody to compare with, or ``none_prior`` is not in 0..1, 1 excluded.
    """
    parts = []
    for start in range(0, max(len(pictures.information), 1), _CHUNK_SIZE):
        piece = Evidence(*(part[start : start + _CHUNK_SIZE] for part in pictures))
        parts.append(best_matches(log_bayes_factors(piece, people), none_prior))
    return Matches(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def best_matches(log_bayes: Float32[np.ndarray, "images people"], none_prior: float = NONE_PRIOR) -> Matches:
    """The best match of each row of a table of log Bayes factors.

    Raises:
        ValueError: there is nobody to compare with, or ``none_prior`` is not in 0..1, 1 excluded.
    """
    count = log_bayes.shape[1]
    if not count:
        raise ValueError("there is nobody to compare with; give at least one person")
    if not 0 <= none_prior < 1:
        raise ValueError(f"the probability of none of them is {none_prior}; it must be at least 0 and below 1")
    none = np.float32(np.log(none_prior) if none_prior else -np.inf)
    each = np.float32(np.log1p(-none_prior) - np.log(count))
    log_bayes = np.asarray(log_bayes, np.float32)
    rows, best = np.arange(len(log_bayes)), np.argmax(log_bayes, axis=1).astype(np.int32)
    highest = log_bayes[rows, best]
    top = np.maximum(highest + each, none)
    of_none = np.exp(none - top)
    total = of_none + np.sum(np.exp(log_bayes + each - top[:, None]), axis=1)
    others = log_bayes.copy()
    others[rows, best] = -np.inf
    margin = highest - np.max(others, axis=1)
    return Matches(best, highest, margin, np.exp(highest + each - top) / total, of_none / total)


def fuse_groups(
    evidence: Evidence, group: Int[np.ndarray, " images"], correlation: float = GROUP_CORRELATION
) -> Evidence:
    """Joint evidence of many pictures of one person.

    Args:
        evidence: calibrated evidence of each picture.
        group: a number for each clip or camera; a picture alone in its group is independent of all others.
        correlation: ρ of the errors within a group: 0 adds all pictures up, 1 counts each group as one picture.

    Raises:
        ValueError: the correlation is not in 0..1, or there is not one group number per picture.
    """
    if np.shape(group) != (len(evidence.information),):
        raise ValueError(f"{len(evidence.information)} pictures need a group number each, not {np.shape(group)}")
    groups = evidence_of_groups(evidence, np.unique(group, return_inverse=True)[1], correlation)
    return Evidence(*(part.sum(axis=0).astype(np.float32) for part in groups))


def evidence_of_groups(evidence: Evidence, group: Int[np.ndarray, " images"], correlation: float) -> Evidence:
    """Joint evidence of the pictures of each group, in double precision.

    Args:
        group: group numbers from 0, without gaps.

    Raises:
        ValueError: the correlation is not in 0..1.
    """
    if not 0 <= correlation <= 1:
        raise ValueError(f"the correlation is {correlation}; it must lie between 0 and 1")
    precision, information = (np.asarray(part, np.float64) for part in evidence)
    # Uninformative pictures do not count among those that repeat each other.
    informative = np.any(precision != 0, axis=(1, 2))
    weight = 1 / (1 + np.maximum(np.bincount(group, weights=informative) - 1, 0) * correlation)
    sums = []
    for part in (precision, information):
        total = np.zeros((len(weight), *part.shape[1:]))
        np.add.at(total, group, part)
        sums.append(total * weight.reshape(-1, *[1] * (part.ndim - 1)))
    return Evidence(*sums)


def _float32(evidence: Evidence) -> Evidence:
    return Evidence(*(np.asarray(part, np.float32) for part in evidence))


def marginals(evidence: Evidence) -> Marginals:
    """Weigh much evidence against the population; NaN where evidence is NaN."""
    return Marginals(*map(np.asarray, map_samples(_marginals, None, _float32(evidence), _TILE_EVIDENCE)))


def _marginals(_: None, evidence: Evidence) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, " betas"]]:
    information = jnp.asarray(evidence.information)
    matrix = jnp.asarray(evidence.precision) + jnp.eye(len(information), dtype=information.dtype)
    mean, quadratic, log_determinant = solve_and_weigh(matrix, information)
    half = 0.5 * log_determinant
    return 0.5 * quadratic - half, half * np.float32(1 / np.log(2)), mean


def _against_tile(
    precision: Float32[np.ndarray, "betas betas people"],
    information: Float32[np.ndarray, "betas people"],
    own: Float32[np.ndarray, " people"],
    tile: tuple[Evidence, Float32[np.ndarray, " images"]],
) -> Float[Array, "images people"]:
    return _pairs(precision, information, own, *tile)


@jax.jit
def _pairs(
    precision: Float[AnyArray, "betas betas people"],
    information: Float[AnyArray, "betas people"],
    own_people: Float[AnyArray, " people"],
    pictures: Evidence,
    own_pictures: Float[AnyArray, " images"],
) -> Float[Array, "images people"]:
    betas = len(information)

    def both(picture: AnyArray, person: AnyArray) -> Float[Array, "images people"]:
        return jnp.asarray(picture)[:, None] + person[None, :]

    matrix = {
        (row, column): both(pictures.precision[:, row, column], precision[row, column] + (row == column))
        for row, column in lower_triangle(betas)
    }
    right = [both(pictures.information[:, row], information[row]) for row in range(betas)]
    return log_gaussian_integral(matrix, right) - both(own_pictures, own_people)
