"""Evidence that says as much as it knows: a noise level and a within-person covariance from labelled pictures.

Predicted and actual differences between pictures of one person must agree. Pictures of person p share β_p ~ N(0, I);
picture i shows β_p + δ_i with δ_i ~ N(0, W) (clothes, hair, the detector's habits), and its keypoints are s times as
noisy as was assumed. With Λ = U D Uᵀ, G = D^½ Uᵀ and x = D^−½ Uᵀ h the evidence of a picture is the observation

    x_i = G_i β_p + ε_i,   ε_i ~ N(0, C_i),   C_i = s² I + G_i W G_iᵀ

so the likelihood of all pictures of a person, β_p integrated out, is

    log p(x) = Σ_i [−½ log|C_i| − ½ x_iᵀ C_i⁻¹ x_i] + log m(Σ_i Λ'_i, Σ_i h'_i) + constant
    Λ' = Gᵀ C⁻¹ G = ((Λ/s²)⁻¹ + W)⁻¹,   h' = Gᵀ C⁻¹ x

(Λ', h') is the calibrated evidence. ``calibrate`` maximises the sum over people over s and a diagonal W, whose
variances have a half-normal prior: components that no picture sees well would otherwise get any value. How well the
probabilities that follow keep their word is told by leaving each picture out of its person's and comparing it with
everybody: of the pairs that got a probability near p, a share p should be pairs of one body. Both kinds of pairs are
given the same total weight, as the prior probability of ½ assumes.

Sources: Brümmer and de Villiers, "The speaker partitioning problem", Odyssey 2010 (the two-covariance model); Guo et
al., "On calibration of modern neural networks", ICML 2017 (expected calibration error).
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from engine.arrays import AnyArray
from engine.batching import map_samples
from engine.comparison import GROUP_CORRELATION
from engine.evidence import ShapeEvidence, log_bayes_factor, log_marginal, same_body_probability, weaken


@dataclass(frozen=True)
class Calibration:
    """How far a picture's evidence can be trusted."""

    noise_scale: float
    """Actual keypoint noise over the noise that the fit assumed."""
    within_person: Float[np.ndarray, "betas betas"]
    """Covariance of one person's apparent shape from picture to picture, in squared standard deviations."""
    provenance: str
    """The data behind the numbers."""
    group_correlation: float = GROUP_CORRELATION
    """Of errors within one clip or camera (``engine.comparison.fuse_groups``)."""
    body_fingerprint: str = ""
    """Whose components ``within_person`` is about; empty where it is zero and fits any body."""

    def __post_init__(self) -> None:
        if not self.noise_scale > 0:
            raise ValueError(f"noise_scale is {self.noise_scale}: it must be above 0; 1 trusts the assumed noise")
        if not 0 <= self.group_correlation <= 1:
            raise ValueError(f"group_correlation is {self.group_correlation}: it must lie between 0 and 1")

    def check_body(self, fingerprint: str) -> None:
        """Whether the within-person covariance is about this body.

        Raises:
            ValueError: it is about another.
        """
        if self.body_fingerprint not in ("", fingerprint):
            raise ValueError(
                f"the calibration was made with body {self.body_fingerprint}, not with {fingerprint}; make one "
                "for this body: samebody calibrate --body"
            )


class Observed(NamedTuple):
    """Evidence as an observation of β with independent noise; a leading axis when batched."""

    by_betas: Float[Array, "*images rows betas"]
    """G"""
    values: Float[Array, "*images rows"]
    """x"""
    informative: Float[Array, "*images rows"]
    """1; 0 for rows in directions of β that the picture says nothing of, which hold zeros."""


class ReliabilityBin(NamedTuple):
    """The pairs whose probability fell into one bin."""

    weight: float
    """Share of all pairs; each kind of pair counts half in total."""
    predicted: float
    """Mean probability."""
    actual: float
    """Share of pairs of one body."""


@dataclass(frozen=True)
class CalibrationReport:
    """A calibration and what it changes on the data it was made from."""

    calibration: Calibration
    log_likelihood_before: float
    """Nats per picture, evidence taken as it is."""
    log_likelihood_after: float
    calibration_error_before: float
    """Expected calibration error of the leave-one-out probabilities."""
    calibration_error_after: float


# Directions of β with less than this share of the largest eigenvalue are rounding.
_NEGLIGIBLE = 1e-5
_ITERATIONS = 60
_TILE = 1024
_START_WITHIN = 0.05
# Of the half-normal prior, in squared standard deviations of people.
_TYPICAL_WITHIN = 0.5


def calibrated(evidence: ShapeEvidence, calibration: Calibration, pictures: int = 1) -> ShapeEvidence:
    """What a picture says about the person, at the actual noise and with the within-person covariance.

    Args:
        pictures: how many the evidence is the sum of; their own variations average out (exact where all of them are
            equally informative).
    """
    scale = 1 / calibration.noise_scale**2
    within = jnp.asarray(calibration.within_person / max(pictures, 1), evidence.precision.dtype)
    return weaken(ShapeEvidence(scale * evidence.precision, scale * evidence.information), within)


def as_observation(evidence: ShapeEvidence) -> Observed:
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
    log_noise_scale: Float[Array, ""],
    within_variances: Float[Array, " betas"],
) -> Float[Array, ""]:
    """Log likelihood of all pictures, in nats per picture, up to a constant that no parameter changes."""

    def of_picture(one: Observed) -> tuple[Float[Array, ""], ShapeEvidence]:
        noise = jnp.exp(2 * log_noise_scale) * one.informative + (1 - one.informative)
        covariance = jnp.diag(noise) + (one.by_betas * within_variances) @ one.by_betas.T
        factor = jnp.linalg.cholesky(covariance)
        rows = jax.scipy.linalg.solve_triangular(
            factor, jnp.concatenate([one.by_betas, one.values[:, None]], axis=1), lower=True
        )
        whitened, values = rows[:, :-1], rows[:, -1]
        density = -jnp.sum(jnp.log(jnp.diagonal(factor))) - 0.5 * jnp.sum(values**2)
        return density, ShapeEvidence(whitened.T @ whitened, whitened.T @ values)

    densities, evidence = jax.vmap(of_picture)(observed)
    by_person = jax.tree.map(lambda part: jax.ops.segment_sum(part, person, people), evidence)
    return (jnp.sum(densities) + jnp.sum(jax.vmap(log_marginal)(by_person))) / len(person)


@partial(jax.jit, static_argnames="people")
def leave_one_out(evidence: ShapeEvidence, person: Int[Array, " images"], people: int) -> Float[Array, "images people"]:
    """Log Bayes factor of each picture against the fused pictures of each person, itself not among them."""
    fused = jax.tree.map(lambda part: jax.ops.segment_sum(part, person, people), evidence)

    def against_all(picture: ShapeEvidence, own: Array) -> Float[Array, " people"]:
        is_own = (jnp.arange(people) == own).astype(picture.precision.dtype)

        def against(reference: ShapeEvidence, taken: Array) -> Float[Array, ""]:
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


def calibrate(evidence: ShapeEvidence, person: Int[np.ndarray, " images"], provenance: str) -> CalibrationReport:
    """Estimate noise scale and within-person variances from pictures whose people are known.

    Args:
        evidence: of each picture, as the fit gives it.
        person: a number for each person, from 0.
        provenance: which pictures, of which detector; kept with the result.

    Raises:
        ValueError: fewer than two people, or nobody with two pictures.
    """
    counts = np.bincount(person)
    people = len(counts)
    if np.count_nonzero(counts) < 2 or counts.max() < 2:
        raise ValueError("calibration needs pictures of at least two people, and two pictures of at least one of them")
    labels = jnp.asarray(person, jnp.int32)
    observed = jax.jit(jax.vmap(as_observation))(jax.tree.map(jnp.asarray, evidence))
    noise_scale, variances = _maximise(observed, labels, people)
    calibration = Calibration(float(noise_scale), np.diag(np.asarray(variances, float)), provenance)
    after = jax.tree.map(jnp.asarray, calibrated_pictures(evidence, calibration))
    return CalibrationReport(
        calibration=calibration,
        log_likelihood_before=float(
            log_likelihood(observed, labels, people, jnp.zeros_like(noise_scale), jnp.zeros_like(variances))
        ),
        log_likelihood_after=float(log_likelihood(observed, labels, people, jnp.log(noise_scale), variances)),
        calibration_error_before=_leave_one_out_error(jax.tree.map(jnp.asarray, evidence), labels, people),
        calibration_error_after=_leave_one_out_error(after, labels, people),
    )


def calibrated_pictures(evidence: ShapeEvidence, calibration: Calibration) -> ShapeEvidence:
    """``calibrated`` for many pictures."""
    precision, information = (np.asarray(part) for part in evidence)
    if not calibration.within_person.any():
        scale = precision.dtype.type(1 / calibration.noise_scale**2)
        return ShapeEvidence(scale * precision, scale * information)
    parameters = (calibration.noise_scale, np.asarray(calibration.within_person))
    return map_samples(_calibrated, parameters, ShapeEvidence(precision, information), _TILE, concurrent=False)


def _calibrated(parameters: tuple[AnyArray | float, AnyArray], evidence: ShapeEvidence) -> ShapeEvidence:
    noise_scale, within = parameters
    scale = jnp.asarray(1 / noise_scale**2, evidence.precision.dtype)
    scaled = ShapeEvidence(scale * evidence.precision, scale * evidence.information)
    return weaken(scaled, jnp.asarray(within, evidence.precision.dtype))


def _leave_one_out_error(evidence: ShapeEvidence, person: Int[Array, " images"], people: int) -> float:
    probability = np.asarray(same_body_probability(leave_one_out(evidence, person, people)))
    same = np.asarray(person)[:, None] == np.arange(people)
    # A person's only picture has nothing left to be compared with.
    counts = np.bincount(person, minlength=people)
    known = counts[None] - same > 0
    return expected_calibration_error(reliability(probability[known], same[known]))


@partial(jax.jit, static_argnames="people")
def _maximise(
    observed: Observed, person: Int[Array, " images"], people: int
) -> tuple[Float[Array, ""], Float[Array, " betas"]]:
    """L-BFGS over the logarithms of the noise scale and of the within-person variances."""
    betas = observed.by_betas.shape[-1]

    def loss(parameters: Float[Array, " parameters"]) -> Float[Array, ""]:
        variances = jnp.exp(parameters[1:])
        penalty = 0.5 * jnp.sum((variances / _TYPICAL_WITHIN) ** 2) / len(person)
        return penalty - log_likelihood(observed, person, people, parameters[0], variances)

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
