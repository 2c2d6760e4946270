"""Evidence of pictures about a body's shape, and the Bayes factor of two sets of pictures showing the same body.

The likelihood of one picture as a function of β, with pose and camera eliminated, is approximately Gaussian near its
best shape,

    log L(β) = h·β − ½ βᵀ Λ β + constant,

and is kept as (Λ, h) without the shape prior β ~ N(0, I). Evidence of independent pictures of one body adds up:
Λ = Σ Λ_i, h = Σ h_i. The log marginal likelihood is

    log m(Λ, h) = log ∫ L(β) N(β; 0, I) dβ = −½ log|I + Λ| + ½ hᵀ (I + Λ)⁻¹ h

and the Bayes factor of "r and p are one body" against "r and p are two bodies drawn from the prior" is

    log B = log m(Λ_r + Λ_p, h_r + h_p) − log m(Λ_r, h_r) − log m(Λ_p, h_p).

Clothes, hair and systematic errors of the detector change the apparent shape of one person from picture to picture. A
picture's β is the person's plus N(0, W), with the within-person covariance W. Evidence about the person is weaker:

    Λ' = (Λ⁻¹ + W)⁻¹ = (I + ΛW)⁻¹ Λ,   h' = (I + ΛW)⁻¹ h.

Sources: MacKay, "Information theory, inference, and learning algorithms", 2003, chapter 28 (model comparison, Laplace's
method); Brümmer and de Villiers, "The speaker partitioning problem", Odyssey 2010 (the two-covariance model).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from engine.batching import AnyArray
from engine.solvers.small_systems import log_gaussian_integral, lower_triangle, solve_positive


class Evidence(NamedTuple):
    """Evidence of one picture, or of many with leading axes. 65 numbers for ten shape components."""

    precision: Float[AnyArray, "*images betas betas"]
    """Λ, positive semi-definite."""
    information: Float[AnyArray, "*images betas"]
    """h = Λ times the shape that explains the picture best."""


class Normal(NamedTuple):
    """Posterior of a shape."""

    mean: Float[Array, " betas"]
    covariance: Float[Array, "betas betas"]


def fuse(evidence: Evidence) -> Evidence:
    """The evidence of independent pictures of one body; the leading axis is summed in order."""
    return Evidence(jnp.sum(evidence.precision, axis=0), jnp.sum(evidence.information, axis=0))


def weaken(evidence: Evidence, within_person: Float[Array, "betas betas"]) -> Evidence:
    """The evidence of a picture about the person when its apparent shape varies by N(0, within_person)."""
    identity = jnp.eye(within_person.shape[-1], dtype=within_person.dtype)
    mixing = identity + evidence.precision @ within_person
    both = jnp.concatenate([evidence.precision, evidence.information[:, None]], axis=-1)
    solved = jnp.linalg.solve(mixing, both)
    precision = solved[:, :-1]
    return Evidence(0.5 * (precision + precision.T), solved[:, -1])


def posterior(evidence: Evidence) -> Normal:
    """Posterior of the shape given the pictures, with the prior N(0, I)."""
    identity = jnp.eye(evidence.information.shape[-1], dtype=evidence.information.dtype)
    covariance = solve_positive(identity + evidence.precision, identity)
    return Normal(covariance @ evidence.information, covariance)


def log_marginal(evidence: Evidence) -> Float[Array, ""]:
    """log m(Λ, h), in nats: the log marginal likelihood of the pictures over the population's bodies."""
    information = jnp.asarray(evidence.information)
    matrix = evidence.precision + jnp.eye(len(information), dtype=information.dtype)
    return log_gaussian_integral({entry: matrix[entry] for entry in lower_triangle(len(matrix))}, list(information))


def log_bayes_factor(reference: Evidence, probe: Evidence) -> Float[Array, ""]:
    """Same body against different bodies, in nats; 0 if one of the two is uninformative."""
    together = Evidence(reference.precision + probe.precision, reference.information + probe.information)
    return log_marginal(together) - log_marginal(reference) - log_marginal(probe)


def information_bits(evidence: Evidence) -> Float[Array, ""]:
    """½ log₂|I + Λ|: information of the pictures about the shape, in bits."""
    nats = -log_marginal(Evidence(evidence.precision, jnp.zeros_like(evidence.information)))
    return nats / jnp.log(2.0).astype(nats.dtype)


def same_body_probability(log_bayes: Float[AnyArray, "*n"], prior_probability: float = 0.5) -> Float[Array, "*n"]:
    """Probability that two sets of pictures show one body, given its prior probability."""
    return jax.nn.sigmoid(jnp.asarray(log_bayes) + jnp.log(prior_probability) - jnp.log1p(-prior_probability))
