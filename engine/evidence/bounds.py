"""Bounds of shapes, evidence and covariances: values beyond them are damaged or forged.

A number may be finite and still turn every score into NaN (3e38 squared), or into a plausible wrong one (a negative
variance makes a picture more informative than it is). Numbers from files and databases are checked once, here.
"""

import numpy as np
from jaxtyping import Float

LARGEST_BETA = 20.0
"""Standard deviations of the population. Rest-pose fits of pictures that show other poses reach 17."""
LARGEST_EVIDENCE = 1e12
"""Per squared standard deviation: keypoints a millionth of a person's height wide. Fits reach 1e4."""
LARGEST_VARIANCE = 400.0
LARGEST_FACTOR = 1000.0
"""Largest factor of actual over assumed noise, or of assumed over actual. Detectors reach 0.3 to 5."""
_NEGATIVE = 1e-4
"""Negative eigenvalue that float32 rounding may give a semi-definite matrix, as a share of its largest."""


def check_betas(betas: Float[np.ndarray, " betas"]) -> None:
    """Check that a person may have this shape.

    Raises:
        ValueError: not finite, or further from the mean than any person.
    """
    if not np.isfinite(betas).all() or np.abs(betas).max(initial=0) > LARGEST_BETA:
        largest = np.abs(betas).max(initial=0)
        raise ValueError(f"a beta of {largest:.3g}: shapes lie within {LARGEST_BETA:g} standard deviations of the mean")


def check_evidence(precision: np.ndarray, information: np.ndarray, beta_count: int) -> None:
    """Check that Λ and h can be the evidence of pictures about this number of shape components.

    Raises:
        ValueError: another size, not finite, too large, or Λ is not symmetric and positive semi-definite.
    """
    check_semidefinite(precision, beta_count, LARGEST_EVIDENCE, "the precision")
    if information.shape != (beta_count,) or information.dtype.kind != "f":
        raise ValueError(f"the information is {information.dtype}{information.shape}, expected {beta_count} numbers")
    if not np.isfinite(information).all() or np.abs(information).max(initial=0) > LARGEST_EVIDENCE:
        raise ValueError(f"the information is not finite, or beyond {LARGEST_EVIDENCE:.0e}")


def check_factor(factor: float, name: str) -> None:
    """Check that actual noise may be this multiple of the assumed noise.

    Raises:
        ValueError: not finite, or beyond ``LARGEST_FACTOR``.
    """
    if not 1 / LARGEST_FACTOR <= factor <= LARGEST_FACTOR:
        raise ValueError(f"{name} is {factor}: it must be above 0 and within {LARGEST_FACTOR:g}; 1 is as assumed")


def check_semidefinite(matrix: np.ndarray, size: int, largest: float, name: str) -> None:
    """Check that a matrix is symmetric and positive semi-definite, of this size and within ``largest``.

    Raises:
        ValueError: the check fails; the message begins with ``name``.
    """
    if matrix.shape != (size, size) or matrix.dtype.kind not in "fiu":
        raise ValueError(f"{name} is {matrix.dtype}{matrix.shape}, expected numbers ({size}, {size})")
    values = matrix.astype(np.float64)
    top = np.abs(values).max(initial=0)
    if not np.isfinite(values).all() or top > largest:
        raise ValueError(f"{name} is not finite, or beyond {largest:.0e}")
    if np.abs(values - values.T).max(initial=0) > _NEGATIVE * top:
        raise ValueError(f"{name} is not symmetric")
    if size and np.linalg.eigvalsh(values)[0] < -_NEGATIVE * top:
        raise ValueError(f"{name} is not positive semi-definite")
