"""Evidence of fits and of the network together, and consistency."""

import numpy as np

from engine.evidence.amortised.stage import JOINT_SHARE, consistency, joint_evidence, quadratic_excess
from engine.evidence.comparison import marginals
from engine.evidence.shape_evidence import Evidence
from engine.evidence.stages import PictureEvidence
from engine.scores import Status

COUNT, SIZE = 4, 3


def stage_of(seed: int, known: np.ndarray) -> PictureEvidence:
    generator = np.random.default_rng(seed)
    root = generator.normal(size=(COUNT, SIZE, SIZE)).astype(np.float32)
    precision = root @ root.swapaxes(1, 2) * known[:, None, None]
    information = generator.normal(size=(COUNT, SIZE)).astype(np.float32) * known[:, None]
    status = np.where(known, Status.OK, Status.NOT_CONVERGED).astype(np.int8)
    return PictureEvidence(Evidence(precision, information), status, np.arange(COUNT), known)


def test_both_count_where_both_are_known_and_fits_alone_elsewhere() -> None:
    fits = stage_of(0, np.array([True, True, False, False]))
    network = stage_of(1, np.array([True, False, True, False]))
    found = joint_evidence(fits, network)
    for part, own, other in zip(found.evidence, fits.evidence, network.evidence, strict=True):
        np.testing.assert_allclose(part[0], JOINT_SHARE * (own[0] + other[0]), rtol=1e-6)
        np.testing.assert_array_equal(part[1:], own[1:])
        assert not np.any(part[2:])
    # Everything but the evidence is the fit's.
    assert found.status is fits.status
    assert found.swapped_labels is fits.swapped_labels


def exact(pictures: PictureEvidence, factor: float) -> PictureEvidence:
    """Pictures with the same own shapes and that many times the precision."""
    own = marginals(pictures.evidence).mean
    precision = np.float32(factor) * np.asarray(pictures.evidence.precision)
    information = ((np.eye(SIZE, dtype=np.float32) + precision) @ own[:, :, None])[..., 0]
    return pictures._replace(evidence=Evidence(precision, information))


def test_consistency_without_outlines_is_that_of_the_excess() -> None:
    known = np.array([True, True, True, False])
    pictures, betas = stage_of(2, known), np.random.default_rng(5).normal(size=(COUNT, SIZE)).astype(np.float32)
    expected = np.where(known, np.exp(-quadratic_excess(pictures.evidence, betas) / 1.5), np.nan)
    np.testing.assert_array_equal(consistency(pictures, betas, 1.5), expected)
    outlined = np.array([True, False, False, False])
    mixed = consistency(pictures._replace(outlined=outlined), betas, 1.5)
    np.testing.assert_array_equal(mixed[1:], expected[1:])
    assert mixed[0] != expected[0]


def test_an_outline_that_is_more_exact_lowers_no_consistency() -> None:
    outlined = stage_of(3, np.ones(COUNT, bool))._replace(outlined=np.ones(COUNT, bool))
    betas = np.random.default_rng(6).normal(size=(COUNT, SIZE)).astype(np.float32)
    own = consistency(outlined, betas, 1.5)
    np.testing.assert_allclose(consistency(exact(outlined, 9.0), betas, 1.5), own, rtol=2e-3)
    without = outlined._replace(outlined=None)
    assert (consistency(exact(without, 9.0), betas, 1.5) < consistency(without, betas, 1.5)).all()
    np.testing.assert_array_equal(consistency(outlined, marginals(outlined.evidence).mean, 1.5), 1)
