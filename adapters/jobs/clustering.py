"""Pictures grouped by body, without references.

The method is agglomerative clustering with complete linkage on the log Bayes factors of all pairs of pictures
(``engine.evidence.comparison``): two groups are joined while even their least alike pair favours one body over two.
Complete linkage rarely chains strangers together. Single pictures hold little evidence, and average linkage made three
groups of twenty people from them (benchmarks/results.md, "Identity").

The certainty of a group is then computed from added-up evidence: each picture is taken out of its own group and
compared with all groups.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from engine.evidence.comparison import NONE_PRIOR, best_matches, log_bayes_factors
from engine.evidence.reliability import leave_one_out
from engine.evidence.shape_evidence import Evidence, information_bits, log_marginal

MOST_PICTURES = 10_000
"""The most pictures of one run: all pairs are held in memory, 12 bytes each."""


@dataclass(frozen=True)
class Clustering:
    """Groups of pictures, numbered from 0 in the order of their first pictures."""

    group: Int[np.ndarray, " images"]
    log_bayes_factor: Float32[np.ndarray, " images"]
    """Log Bayes factor of the picture's group, without the picture, against a stranger, nats; 0 for a lone picture."""
    margin: Float32[np.ndarray, " images"]
    """Log Bayes factor of the picture's group against the best other group, nats; below 0 the other one fits better."""
    probability: Float32[np.ndarray, " images"]
    """Probability that a picture shows the body of its group, and not that of another group or of a stranger."""
    cohesion: Float32[np.ndarray, " groups"]
    """Log Bayes factor of "one body" against "as many bodies as pictures", nats; 0 for a single picture."""
    information_bits: Float32[np.ndarray, " groups"]
    """Information about the body from all pictures of a group together."""


def cluster_pictures(evidence: Evidence, least: float = 0.0) -> Clustering:
    """Group pictures by body.

    Args:
        evidence: calibrated evidence of each picture.
        least: log Bayes factor, in nats, that the least alike pictures of two groups need; more makes more groups.

    Raises:
        ValueError: no pictures, or more than ``MOST_PICTURES``.
    """
    count = len(evidence.information)
    if not 0 < count <= MOST_PICTURES:
        raise ValueError(f"{count:,} pictures cannot be grouped; give 1 to {MOST_PICTURES:,}")
    group = _numbered(_linked(evidence, least))
    groups = int(group.max()) + 1
    pictures = jax.tree.map(jnp.asarray, evidence)
    table = np.array(leave_one_out(pictures, jnp.asarray(group), groups))
    together = jax.tree.map(lambda part: jax.ops.segment_sum(part, jnp.asarray(group), groups), pictures)
    alone = np.asarray(jax.vmap(log_marginal)(pictures))
    rows = np.arange(count)
    own = table[rows, group]
    chances = np.exp(table - table.max(axis=1, keepdims=True))
    # The formulas of ``best_matches``, for the picture's own group instead of the best one.
    matches = best_matches(table, NONE_PRIOR)
    probability = matches.probability * chances[rows, group] / chances.max(axis=1)
    others = table.copy()
    others[rows, group] = -np.inf
    return Clustering(
        group=group,
        log_bayes_factor=own,
        margin=own - others.max(axis=1),
        probability=probability.astype(np.float32),
        cohesion=np.asarray(jax.vmap(log_marginal)(together) - jax.ops.segment_sum(alone, jnp.asarray(group), groups)),
        information_bits=np.asarray(jax.vmap(information_bits)(together)),
    )


def _linked(evidence: Evidence, least: float) -> Int[np.ndarray, " images"]:
    count = len(evidence.information)
    if count == 1:
        return np.zeros(1, int)
    similarity = log_bayes_factors(evidence, evidence)
    # Rounding leaves the two triangles a few units in the last place apart.
    similarity = 0.5 * (similarity + similarity.T)
    highest = max(float(similarity.max()), least)
    distance = highest - similarity
    np.fill_diagonal(distance, 0.0)
    return fcluster(linkage(squareform(distance, checks=False), "complete"), highest - least, "distance")


def _numbered(labels: Int[np.ndarray, " images"]) -> Int[np.ndarray, " images"]:
    """The same groups, numbered in the order in which they appear."""
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), int)
    order[np.argsort(first)] = np.arange(len(first))
    return order[place]
