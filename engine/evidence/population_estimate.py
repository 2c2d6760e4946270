"""Estimating a population from pictures, with or without labels (``engine.evidence.population``).

The estimate maximises the likelihood of all pictures, with β_p and δ_i integrated out. Penalties act as imaginary
people, pictures and numbers that agree with the prior population. Each iteration is an exact step in μ (the likelihood
is quadratic in μ, and EM would be slow with weak evidence) and an EM step in B, W and s. The EM step is lengthened
while the objective grows. A longer step that lowers the objective is taken back, so the penalised likelihood never
decreases.

Without labels every picture counts as a person of its own, and the data determine only B + W. Both are then kept at
the prior's, and only μ and s are estimated. A free W would explain the differences between people as variation of one
person, the more so the more pictures there are (benchmarks/results.md, "Real people").

s is at least the prior's, with and without labels. Errors that pictures share and people who differ less than the prior
assumes make keypoints look exact, and probabilities of several pictures together would become too sure.

Sources: Brümmer and de Villiers, "The speaker partitioning problem", Odyssey 2010 (the two-covariance model); Liu and
Rubin, "The ECME algorithm", Biometrika 1994; Salakhutdinov and Roweis, "Adaptive overrelaxed bound optimization
methods", ICML 2003 (the longer steps).
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from engine.evidence.population import (
    LEAST_INFORMATIVE,
    Population,
    bounded_evidence,
    covariance_root,
    prior_population,
)
from engine.evidence.shape_evidence import Evidence

# Iterations end when the gain, in nats per picture, falls below this.
_LEAST_GAIN = 2e-5
_LENGTHEN, _LONGEST = 1.5, 20.0
_LARGEST_STEP = 100.0
"""Largest factor by which a lengthened step changes a variance: at a length of 20, a weak direction would overflow."""


@dataclass(frozen=True)
class Strength:
    """Numbers of imaginary observations that agree with the prior."""

    mean: float = 1.0
    """People, for μ."""
    people: float = 30.0
    """For B."""
    pictures: float = 5.0
    """For W."""
    numbers: float = 30.0
    """For s."""


class Estimate(NamedTuple):
    """A population and how it was reached."""

    population: Population
    objective: Float[np.ndarray, " iterations"]
    """Penalised log likelihood before each iteration, nats; it never decreases."""


def estimate_population(
    evidence: Evidence,
    person: Int[np.ndarray, " images"] | None = None,
    weights: Float[np.ndarray, " images"] | None = None,
    prior: Population | None = None,
    strength: Strength | None = None,
    iterations: int = 100,
) -> Estimate:
    """Maximum penalised likelihood of μ, B, W and s.

    Args:
        evidence: each picture's evidence, not calibrated.
        person: the number of each picture's person, from 0. None if people are unknown; B and W then stay the
            prior's.
        weights: each picture's weight, 1 by default; pictures that repeat each other's errors should weigh less.
        prior: the body model's population by default.

    Raises:
        ValueError: there are no pictures, or a person's number is missing.
    """
    count, betas = np.shape(evidence.information)
    if not count:
        raise ValueError("there are no pictures to estimate a population from")
    if person is not None and np.shape(person) != (count,):
        raise ValueError(f"{count} pictures need a person each, not {np.shape(person)}")
    start = prior_population(betas) if prior is None else prior
    pictures = _observed(bounded_evidence(evidence), weights)
    labels = np.arange(count) if person is None else np.asarray(person)
    enough = _LEAST_GAIN * pictures.weights.sum()
    least_noise = start.noise_scale

    def step(state: Population) -> tuple[float, Population, Population]:
        found, here, ahead = _step(pictures, labels, state, start, strength or Strength(), person is not None)
        return found, here, replace(ahead, noise_scale=max(ahead.noise_scale, least_noise))

    value, here, ahead = step(start)
    objective, length = [value], 1.0
    for _ in range(iterations):
        farther = _farther(here, ahead, length)
        value, reached, beyond = step(replace(farther, noise_scale=max(farther.noise_scale, least_noise)))
        if not value >= objective[-1] and length > 1:
            length = 1.0
            value, reached, beyond = step(ahead)
        gain = value - objective[-1]
        objective.append(value)
        here, ahead = reached, beyond
        if gain < enough and length == 1:
            break
        length = min(length * _LENGTHEN, _LONGEST) if gain >= enough else 1.0
    return Estimate(here, np.array(objective))


def log_likelihood(
    evidence: Evidence,
    person: Int[np.ndarray, " images"],
    population: Population,
    weights: Float[np.ndarray, " images"] | None = None,
    noise: Float[np.ndarray, " images"] | float = 1.0,
) -> float:
    """Log likelihood of all pictures, in nats per picture, up to a constant that no parameter changes.

    Args:
        weights: each picture's weight, 1 by default.
        noise: each picture's noise, as a multiple of the noise that its evidence assumes.
    """
    pictures = _observed(bounded_evidence(evidence), weights)
    levels = np.broadcast_to(noise, len(pictures.rows))
    noisier = pictures._replace(roots=pictures.roots / levels[:, None, None], values=pictures.values / levels[:, None])
    people = _people(_apparent(noisier, population), noisier, person, population)
    total = _likelihood(people, population.mean, population) - pictures.weights @ (pictures.rows * np.log(levels))
    return float(total / pictures.weights.sum())


class _Pictures(NamedTuple):
    """Evidence as independent numbers: Λ = G Gᵀ, h = G g, so that nothing cancels where Λ is strong."""

    roots: np.ndarray
    """G"""
    values: np.ndarray
    """g; 0 along axes without information."""
    rows: np.ndarray
    """The rank of Λ: the count of independent numbers in a picture's evidence."""
    weights: np.ndarray


class _Apparent(NamedTuple):
    """Evidence about the person, and the terms of the integral over δ."""

    precision: np.ndarray
    information: np.ndarray
    spread: np.ndarray
    """(Λ/s² + W⁻¹)⁻¹, the covariance of δ given the person."""
    constant: np.ndarray
    """The likelihood's constant after δ is integrated out."""


class _People(NamedTuple):
    precision: np.ndarray
    information: np.ndarray
    label: np.ndarray
    constant: float


def _observed(evidence: Evidence, weights: np.ndarray | None) -> _Pictures:
    precision, information = (np.asarray(part) for part in evidence)
    sizes, axes = np.linalg.eigh(precision)
    kept = sizes > LEAST_INFORMATIVE * np.maximum(sizes[:, -1:], 1e-30)
    sizes = np.where(kept, sizes, 0.0)
    along = np.einsum("nij,ni->nj", axes, information)
    values = np.where(kept, along / np.sqrt(np.where(kept, sizes, 1.0)), 0.0)
    counted = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    return _Pictures(axes * np.sqrt(sizes)[:, None, :], values, kept.sum(axis=1), counted)


def _apparent(pictures: _Pictures, population: Population) -> _Apparent:
    """δ integrated out: Λ' = G (I + Gᵀ W G)⁻¹ Gᵀ, h' = G (I + Gᵀ W G)⁻¹ g."""
    roots, values = pictures.roots / population.noise_scale, pictures.values / population.noise_scale
    mixing, axes = np.linalg.eigh(_symmetric(roots.swapaxes(1, 2) @ population.within @ roots))
    mixing, turned = np.maximum(mixing, 0), roots @ axes
    along = np.einsum("nij,ni->nj", axes, values)
    return _Apparent(
        precision=(turned / (1 + mixing)[:, None, :]) @ turned.swapaxes(1, 2),
        information=np.einsum("nij,nj->ni", turned, along / (1 + mixing)),
        spread=_spread(roots @ roots.swapaxes(1, 2), population.within)[0],
        constant=0.5 * (along**2 * mixing / (1 + mixing) - np.log1p(mixing)).sum(axis=1),
    )


def _people(apparent: _Apparent, pictures: _Pictures, person: np.ndarray, population: Population) -> _People:
    names, label = np.unique(person, return_inverse=True)
    betas = pictures.values.shape[1]
    precision, information = np.zeros((len(names), betas, betas)), np.zeros((len(names), betas))
    weights = pictures.weights
    np.add.at(precision, label, weights[:, None, None] * apparent.precision)
    np.add.at(information, label, weights[:, None] * apparent.information)
    squares = (pictures.values**2).sum(axis=1)
    noise = -np.log(population.noise_scale) * pictures.rows - 0.5 * squares / population.noise_scale**2
    return _People(precision, information, label, float(weights @ (apparent.constant + noise)))


def _likelihood(people: _People, mean: np.ndarray, population: Population) -> float:
    """β integrated out: the evidence in β − μ, with the prior N(0, B)."""
    shifted = people.information - people.precision @ mean
    spread, log_determinant = _spread(people.precision, population.between)
    quadratic = np.einsum("pi,pij,pj->", shifted, spread, shifted)
    at_mean = people.information.sum(axis=0) @ mean - 0.5 * mean @ people.precision.sum(axis=0) @ mean
    return float(0.5 * quadratic + at_mean - 0.5 * log_determinant.sum() + people.constant)


def _step(
    pictures: _Pictures,
    person: np.ndarray,
    state: Population,
    prior: Population,
    strength: Strength,
    labelled: bool,
) -> tuple[float, Population, Population]:
    """The objective; the state with its best μ; the state after one EM step."""
    apparent = _apparent(pictures, state)
    people = _people(apparent, pictures, person, state)
    mean = _best_mean(people, state, prior, strength)
    value = _likelihood(people, mean, state) + _penalty(mean, state, prior, strength, labelled)
    identity = np.eye(len(mean))
    # Posterior of each person and of each picture's deviation from it.
    covariance, _ = _spread(people.precision, state.between)
    offset = np.einsum("pij,pj->pi", covariance, people.information - people.precision @ mean)
    own, uncertain = (mean + offset)[people.label], covariance[people.label]
    roots, scale = pictures.roots, 1 / state.noise_scale**2
    precision = roots @ roots.swapaxes(1, 2)
    left = pictures.values - np.einsum("nij,ni->nj", roots, own)
    deviation = scale * np.einsum("nij,njk,nk->ni", apparent.spread, roots, left)
    following = scale * apparent.spread @ precision
    moved = following @ uncertain @ following.swapaxes(1, 2)
    count, weights = len(covariance), pictures.weights
    between, within = state.between, state.within
    if labelled:
        between = (offset.T @ offset + covariance.sum(axis=0) + strength.people * prior.between) / (
            count + strength.people
        )
        within = (
            (weights[:, None] * deviation).T @ deviation
            + np.einsum("n,nij->ij", weights, apparent.spread + moved)
            + strength.pictures * prior.within
        ) / (weights.sum() + strength.pictures)
    kept = identity - following
    unsure = kept @ uncertain @ kept.swapaxes(1, 2) + apparent.spread
    left = left - np.einsum("nij,ni->nj", roots, deviation)
    misfit = (left**2).sum(axis=1) + np.einsum("nij,nij->n", precision, unsure)
    squared = (weights @ misfit + strength.numbers * prior.noise_scale**2) / (
        weights @ pictures.rows + strength.numbers
    )
    here = Population(mean, state.between, state.within, state.noise_scale)
    return value, here, Population(mean, _symmetric(between), _symmetric(within), float(np.sqrt(squared)))


def _farther(here: Population, ahead: Population, length: float) -> Population:
    """``length`` steps from here towards ahead. Each step is a multiplication, so covariances stay positive."""
    if length == 1:
        return ahead

    def covariance(start: np.ndarray, end: np.ndarray) -> np.ndarray:
        root = covariance_root(start)
        inverse = np.linalg.inv(root)
        sizes, axes = np.linalg.eigh(_symmetric(inverse @ end @ inverse.T))
        turned = root @ axes
        factors = np.clip(np.maximum(sizes, 1e-12) ** length, 1 / _LARGEST_STEP, _LARGEST_STEP)
        return _symmetric((turned * factors) @ turned.T)

    return Population(
        ahead.mean,
        covariance(here.between, ahead.between),
        covariance(here.within, ahead.within),
        here.noise_scale * np.clip((ahead.noise_scale / here.noise_scale) ** length, 1 / _LARGEST_STEP, _LARGEST_STEP),
    )


def _best_mean(people: _People, state: Population, prior: Population, strength: Strength) -> np.ndarray:
    """The μ that maximises the likelihood at the other parameters, with all people integrated out."""
    sizes, axes = np.linalg.eigh(state.between)
    root, back = axes * np.sqrt(sizes), axes / np.sqrt(sizes)
    # (I + P B)⁻¹ P and (I + P B)⁻¹ h of each person.
    sizes, axes = np.linalg.eigh(_symmetric(root.T @ people.precision @ root))
    sizes, turned = np.maximum(sizes, 0), back @ axes
    precision = ((turned * (sizes / (1 + sizes))[:, None, :]) @ turned.swapaxes(1, 2)).sum(axis=0)
    along = np.einsum("pji,pj->pi", root @ axes, people.information) / (1 + sizes)
    information = np.einsum("pij,pj->i", turned, along)
    own = strength.mean * np.linalg.inv(prior.between)
    return np.linalg.solve(_symmetric(precision) + own, information + own @ prior.mean)


def _penalty(mean: np.ndarray, state: Population, prior: Population, strength: Strength, labelled: bool) -> float:
    away = mean - prior.mean
    total = strength.mean * away @ np.linalg.solve(prior.between, away)
    squared = state.noise_scale**2
    total += strength.numbers * (np.log(squared) + prior.noise_scale**2 / squared)
    if labelled:
        total += strength.people * _wishart(state.between, prior.between)
        total += strength.pictures * _wishart(state.within, prior.within)
    return -0.5 * float(total)


def _wishart(covariance: np.ndarray, prior: np.ndarray) -> float:
    return float(np.linalg.slogdet(covariance)[1] + np.trace(np.linalg.solve(covariance, prior)))


def _spread(precision: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P + C⁻¹)⁻¹ and log|I + P C| of each P, for any positive semi-definite P and C, however weak or strong."""
    sizes, axes = np.linalg.eigh(covariance)
    root = axes * np.sqrt(np.maximum(sizes, 0))
    sizes, axes = np.linalg.eigh(_symmetric(root.T @ precision @ root))
    sizes, turned = np.maximum(sizes, 0), root @ axes
    return (turned / (1 + sizes)[:, None, :]) @ turned.swapaxes(1, 2), np.log1p(sizes).sum(axis=1)


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return 0.5 * (matrix + matrix.swapaxes(-1, -2))
