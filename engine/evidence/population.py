"""The population as a detector shows it: mean, covariance between people, and covariance within one person's pictures.

A detector shifts everybody's apparent shape in the same way, and a population differs from the body model's. The
two-covariance model describes both: picture i of person p shows the shape θ_i, and its evidence is the likelihood of
θ_i, at s times the assumed noise:

    β_p ~ N(μ, B),   θ_i = β_p + δ_i,   δ_i ~ N(0, W),   log L_i(θ) = (h_i·θ − ½ θᵀ Λ_i θ)/s² + constant.

``whitened`` expresses evidence in x, β = μ + R x with R Rᵀ = B. Since x ~ N(0, I), the later steps (fusing, Bayes
factors, clusters) need no change.

Source: Brümmer and de Villiers, "The speaker partitioning problem", Odyssey 2010 (the two-covariance model).
"""

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from jaxtyping import Float

from engine.batching import AnyArray
from engine.evidence.shape_evidence import Evidence

FARTHEST = 10.0
"""Bound, in standard deviations, of a picture's shape from the prior mean along each axis of its evidence. A fit
beyond it has failed, and would pull μ towards itself."""

APPARENT_SHARE = 0.5
"""The share of measured people's variance that a detector shows: detectors draw bodies towards the average. Labelled
pictures give a B of about half; the full variance makes probabilities overconfident (benchmarks/results.md, "Real
people")."""

LEAST_INFORMATIVE = 1e-5
"""Axes whose precision is below this share of the largest are rounding errors."""


@dataclass(frozen=True)
class Population:
    """A two-covariance model of shapes."""

    mean: Float[np.ndarray, " betas"]
    """μ"""
    between: Float[np.ndarray, "betas betas"]
    """B: covariance of people."""
    within: Float[np.ndarray, "betas betas"]
    """W: covariance of one person's pictures."""
    noise_scale: float = 1.0
    """s: actual over assumed keypoint noise."""


def prior_population(betas: int, within: float = 0.02) -> Population:
    """The body model's own population; a person's apparent shape hardly varies in it."""
    return Population(np.zeros(betas), np.eye(betas), within * np.eye(betas))


def body_population(body_fingerprint: str, betas: int) -> Population:
    """The start of a calibration: measured people, if they were expressed for this body; otherwise the body model's
    own population.

    For the embedded body, B is ``APPARENT_SHARE`` of the covariance of β under which seven segments vary as they do in
    6,068 measured people (ANSUR II; ``benchmarks.measured_people`` made the file).
    """
    found = prior_population(betas)
    measured = _measured_people()
    if measured["body_fingerprint"] != body_fingerprint or len(measured["between_people"]) != betas:
        return found
    return replace(found, between=APPARENT_SHARE * np.array(measured["between_people"], float))


@cache
def _measured_people() -> dict[str, Any]:
    return json.loads(resources.files("engine.evidence.data").joinpath("measured_people.json").read_text())


def bounded_evidence(evidence: Evidence) -> Evidence:
    """Evidence in double precision whose Λ is positive semi-definite and whose h is within ``FARTHEST``.

    Axes of Λ that are negative or rounding errors are set to zero, in h too. Otherwise EM diverges when a posterior is
    wider than its prior.
    """
    precision, information = (np.asarray(part, float) for part in evidence)
    sizes, axes = np.linalg.eigh(0.5 * (precision + precision.swapaxes(-1, -2)))
    kept = sizes > LEAST_INFORMATIVE * np.maximum(sizes[..., -1:], 1e-30)
    sizes = np.where(kept, sizes, 0.0)
    along = np.einsum("nij,ni->nj", axes, information)
    # Along an axis of precision d, h ~ N(0, d + d²) for a body of the population.
    reach = FARTHEST * np.sqrt(sizes + sizes**2)
    along = np.clip(along, -reach, reach)
    return Evidence(np.einsum("nij,nj,nkj->nik", axes, sizes, axes), np.einsum("nij,nj->ni", axes, along))


def whitened(evidence: Evidence, mean: Float[AnyArray, " betas"], root: Float[AnyArray, "betas betas"]) -> Evidence:
    """Evidence about x of β = mean + root·x; one picture, or many with a leading axis. NumPy or JAX."""
    precision, information = evidence
    return Evidence(root.T @ precision @ root, (information - precision @ mean) @ root)


def covariance_root(covariance: Float[np.ndarray, "betas betas"]) -> Float[np.ndarray, "betas betas"]:
    """The lower triangular R with R Rᵀ the covariance, in plain arithmetic: the same bits on every machine.

    Raises:
        ValueError: the matrix is not positive definite.
    """
    size = len(covariance)
    root = np.zeros((size, size))
    for row in range(size):
        for column in range(row + 1):
            rest = float(covariance[row, column])
            for k in range(column):
                rest -= float(root[row, k]) * float(root[column, k])
            if row == column:
                if not rest > 0:
                    raise ValueError("the population's covariance is not positive definite")
                root[row, row] = np.sqrt(rest)
            else:
                root[row, column] = rest / root[column, column]
    return root
