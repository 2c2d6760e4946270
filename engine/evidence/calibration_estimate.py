"""Calibrations from labelled pictures: noise, a person's apparent changes of shape, and errors that clips share.

Predicted and actual differences between pictures of one person must agree. Pictures of person p share β_p ~ N(0, I);
picture i shows β_p + δ_i with δ_i ~ N(0, W) (clothes, hair, the detector's habits), and its keypoints are s times as
noisy as was assumed. With Λ = U D Uᵀ, G = D^½ Uᵀ and x = D^−½ Uᵀ h the evidence of a picture is the observation

    x_i = G_i β_p + ε_i,   ε_i ~ N(0, C_i),   C_i = s² I + G_i W G_iᵀ

so the likelihood of all pictures of a person, β_p integrated out, is

    log p(x) = Σ_i [−½ log|C_i| − ½ x_iᵀ C_i⁻¹ x_i] + log m(Σ_i Λ'_i, Σ_i h'_i) + constant
    Λ' = Gᵀ C⁻¹ G = ((Λ/s²)⁻¹ + W)⁻¹,   h' = Gᵀ C⁻¹ x

(Λ', h') is the calibrated evidence. ``calibrate`` maximises the sum over people over s and a diagonal W, whose
variances have a half-normal prior: components that no picture sees well would otherwise get any value.

The n frames of a clip repeat their errors. For s and W all of them together count as one picture. Then the sum of their
calibrated evidence is an observation of β_p as well, with C = (1 + (n − 1) ρ) I, and ρ is the mean of its posterior
under a prior that leans on the correlation that is shipped, (a + 1) ρ^a with the mean there.

Source: Brümmer and de Villiers, "The speaker partitioning problem", Odyssey 2010 (the two-covariance model).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from engine.evidence.calibration import Calibration, calibrated_pictures
from engine.evidence.comparison import GROUP_CORRELATION, evidence_of_groups
from engine.evidence.reliability import leave_one_out_error
from engine.evidence.shape_evidence import Evidence, log_marginal


class Observed(NamedTuple):
    """Evidence as an observation of β with independent noise; a leading axis when batched."""

    by_betas: Float[Array, "*images rows betas"]
    """G"""
    values: Float[Array, "*images rows"]
    """x"""
    informative: Float[Array, "*images rows"]
    """1; 0 for rows in directions of β that the picture says nothing of, which hold zeros."""


@dataclass(frozen=True)
class CalibrationReport:
    """A calibration and what it changes on the data it was made from."""

    calibration: Calibration
    log_likelihood_before: float
    """Nats per picture, evidence taken as it is."""
    log_likelihood_after: float
    calibration_error_before: float
    """Expected calibration error of the probabilities, each clip (or picture that is in none) left out of its person's
    and compared with everybody."""
    calibration_error_after: float


# Directions of β with less than this share of the largest eigenvalue are rounding.
_NEGLIGIBLE = 1e-5
_ITERATIONS = 60
_START_WITHIN = 0.05
# Of the half-normal prior, in squared standard deviations of people.
_TYPICAL_WITHIN = 0.5
_CORRELATIONS = 101


def as_observation(evidence: Evidence) -> Observed:
    """One picture's evidence as rows with independent noise of unit variance."""
    variances, axes = jnp.linalg.eigh(evidence.precision)
    informative = variances > _NEGLIGIBLE * jnp.maximum(variances[-1], 1e-30)
    roots = jnp.sqrt(jnp.where(informative, variances, 1.0))
    kept = informative.astype(roots.dtype)
    return Observed((kept * roots)[:, None] * axes.T, kept / roots * (axes.T @ evidence.information), kept)


@partial(jax.jit, static_argnames="people")
def log_likelihood(
    observed: Observed,
    person: Int[Array, " images"],
    people: int,
    log_noise_scale: Float[Array, "*images"],
    within_variances: Float[Array, " betas"],
    weights: Float[Array, " images"],
) -> Float[Array, ""]:
    """Log likelihood of all pictures, in nats per picture, up to a constant that no parameter changes.

    Args:
        log_noise_scale: of all pictures, or of each.
        weights: how much each counts.
    """

    def of_picture(one: Observed, log_noise_scale: Float[Array, ""]) -> tuple[Float[Array, ""], Evidence]:
        noise = jnp.exp(2 * log_noise_scale) * one.informative + (1 - one.informative)
        covariance = jnp.diag(noise) + (one.by_betas * within_variances) @ one.by_betas.T
        factor = jnp.linalg.cholesky(covariance)
        rows = jax.scipy.linalg.solve_triangular(
            factor, jnp.concatenate([one.by_betas, one.values[:, None]], axis=1), lower=True
        )
        whitened, values = rows[:, :-1], rows[:, -1]
        density = -jnp.sum(jnp.log(jnp.diagonal(factor))) - 0.5 * jnp.sum(values**2)
        return density, Evidence(whitened.T @ whitened, whitened.T @ values)

    densities, evidence = jax.vmap(of_picture)(observed, jnp.broadcast_to(log_noise_scale, weights.shape))
    by_person = jax.tree.map(
        lambda part: jax.ops.segment_sum(weights.reshape(-1, *[1] * (part.ndim - 1)) * part, person, people), evidence
    )
    return (jnp.sum(weights * densities) + jnp.sum(jax.vmap(log_marginal)(by_person))) / jnp.sum(weights)


def calibrate(
    evidence: Evidence,
    person: Int[np.ndarray, " images"],
    provenance: str,
    group: Int[np.ndarray, " images"] | None = None,
    keypoint_noise: Mapping[str, float] | None = None,
) -> CalibrationReport:
    """Estimate noise scale, within-person variances and, where there are clips, the correlation within them.

    Args:
        evidence: of each picture, as the fit gives it.
        person: a number for each person, from 0.
        provenance: which pictures, of which detector; kept with the result.
        group: a number for each clip or camera whose errors repeat; by default every picture is on its own.
        keypoint_noise: with which the pictures were fitted (``engine.evidence.keypoint_noise``); kept with the result.

    Raises:
        ValueError: fewer than two people, nobody with two pictures of different groups, or a group of two people.
    """
    group = np.arange(len(person)) if group is None else np.unique(group, return_inverse=True)[1]
    sizes, owner = _owners(group, person)
    counts = np.bincount(owner)
    people = len(counts)
    if np.count_nonzero(counts) < 2 or counts.max() < 2:
        raise ValueError(
            "calibration needs pictures of at least two people, and two pictures, not of one clip, of at least one"
        )
    labels, weights = jnp.asarray(person, jnp.int32), jnp.asarray(1 / sizes[group], jnp.float32)
    observed = _observed(evidence)
    noise_scale, variances = _maximise(observed, labels, people, weights)
    raw = Calibration(1.0, np.zeros((len(variances),) * 2), provenance, 0.0)
    within = np.diag(np.asarray(variances, float))
    calibration = Calibration(float(noise_scale), within, provenance, keypoint_noise=dict(keypoint_noise or {}))
    if sizes.max() > 1:
        correlation = _group_correlation(calibrated_pictures(evidence, calibration), group, owner)
        calibration = replace(calibration, group_correlation=correlation)

    def likelihood(log_noise_scale: Array, variances: Array) -> float:
        return float(log_likelihood(observed, labels, people, log_noise_scale, variances, weights))

    def error(trusted: Calibration) -> float:
        each = evidence_of_groups(calibrated_pictures(evidence, trusted), group, trusted.group_correlation)
        return leave_one_out_error(_float32(each), jnp.asarray(owner, jnp.int32), people)

    return CalibrationReport(
        calibration=calibration,
        log_likelihood_before=likelihood(jnp.zeros_like(noise_scale), jnp.zeros_like(variances)),
        log_likelihood_after=likelihood(jnp.log(noise_scale), variances),
        calibration_error_before=error(raw),
        calibration_error_after=error(calibration),
    )


def _owners(
    group: Int[np.ndarray, " images"], person: Int[np.ndarray, " images"]
) -> tuple[Int[np.ndarray, " groups"], Int[np.ndarray, " groups"]]:
    """Size and person of each group."""
    sizes = np.bincount(group)
    owner = np.zeros(len(sizes), int)
    owner[group] = person
    if np.any(owner[group] != person):
        raise ValueError("a clip shows several people; give each of them a group of their own")
    return sizes, owner


def _group_correlation(
    evidence: Evidence, group: Int[np.ndarray, " images"], owner: Int[np.ndarray, " groups"]
) -> float:
    """ρ, the mean of its posterior."""
    observed = _observed(evidence_of_groups(evidence, group, 0.0))
    candidates = np.linspace(0.0, 1.0, _CORRELATIONS)
    more = np.bincount(group) - 1.0
    people, still = int(owner.max()) + 1, jnp.zeros(observed.by_betas.shape[-1], jnp.float32)
    labels, weights = jnp.asarray(owner, jnp.int32), jnp.ones(len(owner), jnp.float32)
    each = [
        log_likelihood(observed, labels, people, jnp.asarray(0.5 * np.log1p(more * rho), jnp.float32), still, weights)
        for rho in candidates
    ]
    lean = GROUP_CORRELATION / (1 - GROUP_CORRELATION) - 1
    logs = len(owner) * np.asarray(each, float) + lean * np.log(np.maximum(candidates, 1e-9))
    posterior = np.exp(logs - logs.max())
    return float(posterior @ candidates / posterior.sum())


def _float32(evidence: Evidence) -> Evidence:
    return Evidence(*(jnp.asarray(part, jnp.float32) for part in evidence))


def _observed(evidence: Evidence) -> Observed:
    return jax.jit(jax.vmap(as_observation))(_float32(evidence))


@partial(jax.jit, static_argnames="people")
def _maximise(
    observed: Observed, person: Int[Array, " images"], people: int, weights: Float[Array, " images"]
) -> tuple[Float[Array, ""], Float[Array, " betas"]]:
    """L-BFGS over the logarithms of the noise scale and of the within-person variances."""
    betas = observed.by_betas.shape[-1]

    def loss(parameters: Float[Array, " parameters"]) -> Float[Array, ""]:
        variances = jnp.exp(parameters[1:])
        penalty = 0.5 * jnp.sum((variances / _TYPICAL_WITHIN) ** 2) / jnp.sum(weights)
        return penalty - log_likelihood(observed, person, people, parameters[0], variances, weights)

    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)
    start = jnp.concatenate([jnp.zeros(1), jnp.full(betas, jnp.log(_START_WITHIN))]).astype(observed.values.dtype)

    def step(carry, _):
        parameters, state = carry
        value, gradient = value_and_grad(parameters, state=state)
        updates, state = solver.update(gradient, state, parameters, value=value, grad=gradient, value_fn=loss)
        return (optax.apply_updates(parameters, updates), state), None

    (parameters, _), _ = jax.lax.scan(step, (start, solver.init(start)), length=_ITERATIONS)
    noise_scale, variances = jnp.split(jnp.exp(jnp.asarray(parameters)), [1])
    return noise_scale[0], variances
