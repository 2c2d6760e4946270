"""Training losses of single pictures and of sets of pictures.

The loss of a picture is the negative log density of the true shape under the picture's posterior. In use, evidence is
added up over pictures. Errors that the pictures of one person share add up too: a detector's systematic errors, a wrong
noise level, the mean error of the network itself. Sets expose these errors: one detector sees several people, in
several pictures each. The loss of sets adds two terms. The first is the density under the posterior of half a set and
of a whole set. The second is the cross entropy of "same person": a Bayes factor compares half a set of one person with
one picture, or with half a set, of another person or the same.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine.evidence.shape_evidence import Evidence
from engine.solvers.small_systems import log_gaussian_integral, lower_triangle

SET_SIZE = 8
"""Pictures of each person in a set."""
_LARGEST_LOSS = 60.0
"""Upper bound in nats. Single pictures with larger losses would dominate the gradient of the whole batch."""
_LARGEST_LOG_BAYES = 30.0
_SET_WEIGHT = 0.5
_COMPARISON_WEIGHT = 2.0


def density_loss(evidence: Evidence, betas: Float[Array, "detectors people betas"]) -> Float[Array, ""]:
    """Mean loss of single pictures."""
    (marginal,) = log_marginals(evidence)
    return _mean_density_loss(evidence, marginal, betas)


def set_loss(each: Evidence, betas: Float[Array, "detectors people betas"]) -> Float[Array, ""]:
    """Loss of single pictures, of halves of sets and whole sets, and of comparisons within each detector."""
    detectors, people, pictures = each.information.shape[:3]
    halves = jax.tree.map(
        lambda array: array.reshape(detectors, people, 2, pictures // 2, *array.shape[3:]).sum(3), each
    )
    whole = jax.tree.map(lambda array: array.sum(2, keepdims=True), halves)
    references = jax.tree.map(lambda array: array[:, :, None, 0], halves)
    # The first picture that is not a reference, and all such pictures.
    one = jax.tree.map(lambda array: array[:, None, :, pictures // 2], each)
    several = jax.tree.map(lambda array: array[:, None, :, 1], halves)
    with_one, with_several = (jax.tree.map(jnp.add, references, probe) for probe in (one, several))
    of_each, of_halves, of_whole, of_one, of_several = log_marginals(each, halves, whole, with_one, with_several)
    density = _mean_density_loss(each, of_each, betas)
    density += _SET_WEIGHT * _mean_density_loss(halves, of_halves, betas)
    density += _SET_WEIGHT * _mean_density_loss(whole, of_whole, betas)
    of_references = of_halves[:, :, None, 0]
    comparison = _same_or_not(of_one - of_references - of_each[:, None, :, pictures // 2])
    comparison += _same_or_not(of_several - of_references - of_halves[:, None, :, 1])
    return density + _COMPARISON_WEIGHT * comparison


def log_marginals(*several: Evidence) -> list[Float[Array, "..."]]:
    """log ∫ N(β; 0, I) exp(hᵀβ − ½ βᵀΛβ) dβ of evidence of any leading shapes, nats; computed together."""
    size = several[0].information.shape[-1]
    precision = jnp.concatenate([part.precision.reshape(-1, size, size) for part in several])
    information = jnp.concatenate([part.information.reshape(-1, size) for part in several])
    entries = {
        (row, column): precision[:, row, column] + (1.0 if row == column else 0.0)
        for row, column in lower_triangle(size)
    }
    found = log_gaussian_integral(entries, [information[:, row] for row in range(size)])
    shapes = [part.information.shape[:-1] for part in several]
    pieces = jnp.split(found, np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _mean_density_loss(
    evidence: Evidence, marginal: Float[Array, "detectors people sets"], betas: Float[Array, "detectors people betas"]
) -> Float[Array, ""]:
    """Mean of −log N(β; (I + Λ)⁻¹h, (I + Λ)⁻¹) up to a constant = ½ βᵀ(I + Λ)β − hᵀβ + log marginal."""
    quadratic = jnp.einsum("dpi,dpsij,dpj->dps", betas, evidence.precision, betas)
    linear = jnp.einsum("dpsi,dpi->dps", evidence.information, betas)
    loss = 0.5 * (quadratic + jnp.sum(betas**2, axis=-1)[..., None]) - linear + marginal
    return jnp.mean(jnp.minimum(loss, _LARGEST_LOSS))


def _same_or_not(log_bayes: Float[Array, "detectors people people"]) -> Float[Array, ""]:
    """Cross entropy of "same person", with as much weight on pairs of one person as on all others."""
    log_bayes = jnp.clip(log_bayes, -_LARGEST_LOG_BAYES, _LARGEST_LOG_BAYES)
    same = jnp.eye(log_bayes.shape[-1], dtype=bool)
    own = jnp.mean(jax.nn.softplus(-log_bayes), where=same)
    return 0.5 * (own + jnp.mean(jax.nn.softplus(log_bayes), where=~same))
