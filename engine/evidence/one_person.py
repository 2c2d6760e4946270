"""Tests whether pictures show one person or several, and which reference of a person does not look like the others.

The evidence must be calibrated. "One person" means that all pictures show one β ~ N(0, I). "Several people" means that
their bodies scatter: picture i shows c + u_i with u_i ~ N(0, τ I) and c ~ N(0, (1 − τ) I), so that each body is drawn
from the population. τ = 1 makes all of them strangers; τ = ½ is the scatter of two people in equal shares. After
integration over u_i, a picture's evidence about c is

    Λ' = (I + τ Λ)⁻¹ Λ,   h' = (I + τ Λ)⁻¹ h,   log constant ½ τ hᵀ (I + τ Λ)⁻¹ h − ½ log|I + τ Λ|,

Sums over pictures are enough, so memory does not grow with pictures. Pictures that share errors must be fused first
(``engine.evidence.comparison``), because the detector causes their scatter.

A reference is compared with all others together. If the log Bayes factor is below ``OUTLIER``, it is an outlier.

Source: DerSimonian and Laird, "Meta-analysis in clinical trials", 1986 (scatter beyond what noise explains).
"""

import numpy as np
from jaxtyping import Float

from engine.evidence.shape_evidence import Evidence

SCATTERS = (0.5, 2 / 3, 1.0)
"""τ for two people, for three, and for as many people as pictures; equal prior probabilities."""

OUTLIER = -1.0
"""A reference is an outlier if its log Bayes factor against all others, in nats, is below this."""


class OnePersonTally:
    """Evidence for one person against several, from pictures that are added in pieces."""

    def __init__(self, betas: int) -> None:
        self._precision = np.zeros((1 + len(SCATTERS), betas, betas))
        self._information = np.zeros((1 + len(SCATTERS), betas))
        self._constant = np.zeros(1 + len(SCATTERS))

    def add(self, evidence: Evidence) -> None:
        """Add the calibrated evidence of pictures, or of fused groups that share errors, along a leading axis."""
        precision, information = (np.asarray(part, float) for part in evidence)
        identity = np.eye(information.shape[1])
        for i, scatter in enumerate((0.0, *SCATTERS)):
            mixing = identity + scatter * precision
            both = np.linalg.solve(mixing, np.concatenate([precision, information[..., None]], axis=2))
            self._precision[i] += both[..., :-1].sum(axis=0)
            self._information[i] += both[..., -1].sum(axis=0)
            explained = scatter * np.einsum("ni,ni->", information, both[..., -1])
            self._constant[i] += 0.5 * (explained - np.linalg.slogdet(mixing)[1].sum())

    def log_bayes_factor(self) -> float:
        """One person against several, nats; 0 for a single picture."""
        one, *several = (
            self._constant[i] + _log_marginal(self._precision[i], self._information[i], 1 - scatter)
            for i, scatter in enumerate((0.0, *SCATTERS))
        )
        return float(one - np.logaddexp.reduce(several) + np.log(len(several)))


def one_against_several(evidence: Evidence) -> float:
    """Log Bayes factor of one person against several, nats.

    Args:
        evidence: calibrated evidence of each picture, or of each group of pictures that share errors.
    """
    tally = OnePersonTally(np.shape(evidence.information)[1])
    tally.add(evidence)
    return tally.log_bayes_factor()


def against_the_others(evidence: Evidence) -> Float[np.ndarray, " images"]:
    """Log Bayes factor of each picture against all others together, nats; 0 for a single picture.

    Args:
        evidence: calibrated evidence of each picture.
    """
    precision, information = (np.asarray(part, float) for part in evidence)
    all_precision, all_information = precision.sum(axis=0), information.sum(axis=0)
    whole = _log_marginal(all_precision, all_information, 1.0)
    return np.array(
        [
            whole - _log_marginal(own, values, 1.0) - _log_marginal(all_precision - own, all_information - values, 1.0)
            for own, values in zip(precision, information, strict=True)
        ]
    )


def _log_marginal(
    precision: Float[np.ndarray, "betas betas"], information: Float[np.ndarray, " betas"], variance: float
) -> float:
    """log ∫ L(β) N(β; 0, variance I) dβ."""
    mixing = np.eye(len(information)) + variance * precision
    explained = variance * information @ np.linalg.solve(mixing, information)
    return float(0.5 * explained - 0.5 * np.linalg.slogdet(mixing)[1])
