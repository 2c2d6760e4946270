"""The shipped network's posterior is calibrated on pictures from the simulation that it was trained on.

Simulation-based calibration (Talts et al., 2018): where the posterior is right, the true shape's rank in it is uniform,
along every component, and credible regions hold the truth as often as they should. Poses here come from the pose prior,
other ones than those of the training.
"""

import jax
import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm

from engine.body.keypoint_body import reduce_body
from engine.body.model import BodyModel
from engine.body.pose_prior import load_pose_prior
from engine.evidence.amortised.evidence import amortised_evidence, make_amortised
from engine.evidence.amortised.features import NETWORK_SCHEMA
from engine.evidence.amortised.network_file import find_network
from engine.rest.problem import NoiseModel
from engine.simulation.pictures import make_simulator, simulate
from engine.simulation.poses import pool_from_prior
from engine.simulation.settings import DetectorSettings, SimulationSettings
from tests.quick_compile import quick_jit

COUNT = 4000
LEVEL = 0.01


@pytest.fixture(scope="module")
def errors(anny: BodyModel) -> tuple[np.ndarray, np.ndarray]:
    """Whitened errors of the posterior mean, and posterior precisions."""
    simulator = make_simulator(reduce_body(anny, NETWORK_SCHEMA), pool_from_prior(load_pose_prior(), 4096))
    one_level = DetectorSettings(level=(0.98 * LEVEL, 1.02 * LEVEL), common_level=LEVEL)
    draw = quick_jit(lambda key: simulate(simulator, SimulationSettings(detector=one_level), key, COUNT))
    pictures = jax.tree.map(np.asarray, draw(jax.random.key(11)))
    network = find_network(anny)
    assert network is not None
    keypoints = 100 * pictures.keypoints
    found = amortised_evidence(
        make_amortised(anny, network), NETWORK_SCHEMA, NoiseModel(LEVEL), keypoints, pictures.confidence
    )
    seen = found.precision.any(axis=(1, 2))
    precision = np.eye(10) + found.precision[seen].astype(np.float64)
    mean = np.linalg.solve(precision, found.information[seen].astype(np.float64)[..., None])[..., 0]
    return pictures.betas[seen] - mean, precision


@pytest.mark.slow
def test_credible_regions_hold_the_truth_as_often_as_they_should(errors: tuple[np.ndarray, np.ndarray]) -> None:
    error, precision = errors
    squared = np.einsum("ni,nij,nj->n", error, precision, error)
    for share in (0.5, 0.9):
        assert abs(np.mean(squared < chi2.ppf(share, 10)) - share) < 0.05


@pytest.mark.slow
def test_ranks_along_every_component_are_uniform(errors: tuple[np.ndarray, np.ndarray]) -> None:
    error, precision = errors
    deviation = np.sqrt(np.linalg.inv(precision).diagonal(axis1=1, axis2=2))
    for component in range(10):
        ranks = norm.cdf(error[:, component] / deviation[:, component])
        assert kstest(ranks, "uniform").statistic < 0.05


@pytest.mark.slow
def test_pictures_tell_something(errors: tuple[np.ndarray, np.ndarray]) -> None:
    error, precision = errors
    assert np.mean(error**2) < 0.95
    assert np.mean(np.linalg.slogdet(precision)[1]) > 0.5
