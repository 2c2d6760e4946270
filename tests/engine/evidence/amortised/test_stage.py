"""Evidence of fits and of the network together."""

import numpy as np

from engine.evidence.amortised.stage import JOINT_SHARE, joint_evidence
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
