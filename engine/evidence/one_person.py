"""Do pictures show one person, or several? And which of a person's references does not look like the others?

With calibrated evidence, "one person" means that all pictures show one β ~ N(0, I). "Several people" means that their
bodies scatter: picture i shows c + u_i with u_i ~ N(0, τ I) and c ~ N(0, (1 − τ) I), so that each body is one of the
population. τ = 1 makes all of them strangers, τ = ½ is the scatter of two people in equal shares. Integrated over u_i,
a picture's evidence about c is

    Λ' = (I + τ Λ)⁻¹ Λ,   h' = (I + τ Λ)⁻¹ h,   log constant ½ τ hᵀ (I + τ Λ)⁻¹ h − ½ log|I + τ Λ|,

which adds up, so memory does not grow with pictures. Pictures that share errors must be fused first
(``engine.evidence.comparison``): their scatter is the detector's.

A reference is compared with all others together; a log Bayes factor below ``OUTLIER`` names it.

Source: DerSimonian and Laird, "Meta-analysis in clinical trials", 1986 (scatter beyond what noise explains).
"""

import numpy as np
from jaxtyping import Float

from engine.evidence.shape_evidence import Evidence

SCATTERS = (0.5, 2 / 3, 1.0)
"""τ of two people, of three, and of as many as pictures; each as likely as the others."""

OUTLIER = -1.0
"""Nats of a reference against all others below which it is named."""


class OnePersonTally:
    """Evidence for one person against several, of pictures that come in pieces."""

    def __init__(self, betas: int) -> None:
        self._precision = np.zeros((1 + len(SCATTERS), betas, betas))
        self._information = np.zeros((1 + len(SCATTERS), betas))
        self._constant = np.zeros(1 + len(SCATTERS))

    def add(self, evidence: Evidence) -> None:
        """Pictures (or groups that share errors, fused), calibrated; a leading axis counts them."""
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
        evidence: of each picture, or of each group of pictures that share errors, calibrated.
    """
    tally = OnePersonTally(np.shape(evidence.information)[1])
    tally.add(evidence)
    return tally.log_bayes_factor()


def against_the_others(evidence: Evidence) -> Float[np.ndarray, " images"]:
    """Log Bayes factor of each picture against all others together, nats; 0 where it is the only one.

    Args:
        evidence: of each picture, calibrated.
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
