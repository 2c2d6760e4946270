"""Simulated pictures: reproducible, physically right, and as faulty as the settings ask for."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.body.keypoint_body import KeypointBody, pose_keypoints, reduce_body
from engine.body.model import BodyModel
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import HALPE_26
from engine.picture.noise import NoiseModel
from engine.picture.observation import REFERENCE_STATURE_M
from engine.simulation.detectors import draw_levels, draw_seen
from engine.simulation.pictures import SimulatedPicture, Simulator, make_simulator, simulate
from engine.simulation.poses import make_pool, pool_from_prior
from engine.simulation.settings import (
    DetectorSettings,
    PoseSettings,
    SimulationSettings,
    ViewSettings,
    VisibilitySettings,
)
from tests.quick_compile import quick_jit

COUNT = 256
PERFECT = DetectorSettings(
    level=(1e-7, 1e-5),
    common_level=1e-6,
    misjudged=0.0,
    own_confidence_rate=0.0,
    habit_rate=0.0,
    tail_rate=0.0,
    rounded_rate=0.0,
    swapped_rate=0.0,
    foreign_rate=0.0,
)
ALL_SEEN = VisibilitySettings(schema_rates=(("halpe26", 1.0),), complete_rate=1.0)
STILL = PoseSettings(jitter=0.0, blend_rate=0.0, exchange_rate=0.0, sideways_leg_rate=0.0)


@pytest.fixture(scope="module")
def body(anny: BodyModel) -> KeypointBody:
    return reduce_body(anny, HALPE_26)


@pytest.fixture(scope="module")
def simulator(body: KeypointBody) -> Simulator:
    return make_simulator(body, pool_from_prior(load_pose_prior(), 64))


def draw(simulator: Simulator, settings: SimulationSettings, seed: int = 0) -> SimulatedPicture:
    run = quick_jit(lambda key: simulate(simulator, settings, key, COUNT))
    return jax.tree.map(np.asarray, run(jax.random.key(seed)))


@pytest.fixture(scope="module")
def pictures(simulator: Simulator) -> SimulatedPicture:
    return draw(simulator, SimulationSettings())


def test_one_key_gives_the_same_pictures(simulator: Simulator, pictures: SimulatedPicture) -> None:
    again = draw(simulator, SimulationSettings())
    other = draw(simulator, SimulationSettings(), seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(pictures, again, strict=True))
    assert not np.array_equal(pictures.keypoints, other.keypoints)


def test_shapes_are_drawn_from_the_unit_normal(pictures: SimulatedPicture) -> None:
    assert np.abs(pictures.betas.mean()) < 0.1
    assert np.isclose(pictures.betas.std(), 1, atol=0.06)


def test_a_perfect_detector_sees_the_posed_body(body: KeypointBody) -> None:
    """With one pose, no tilt and no perspective only the pelvis' turn is unknown: distances in space are known."""
    pose = np.zeros((1, 23, 3), np.float32)
    pose[0, 3] = [0.9, 0.0, 0.0]  # the left knee
    simulator = make_simulator(body, make_pool(pose, np.zeros((1, 3))))
    settings = SimulationSettings(STILL, ViewSettings(perspective_rate=0.0), PERFECT, ALL_SEEN)
    seen = draw(simulator, settings)
    for row in range(8):
        # In a mirror the other knee is bent.
        candidates = []
        for bent in (3, 4):
            full = np.zeros((24, 3), np.float32)
            full[1 + bent] = [0.9, 0.0, 0.0]
            candidates.append(np.asarray(pose_keypoints(body, jnp.asarray(seen.betas[row]), jnp.asarray(full))))
        points = np.column_stack([seen.keypoints[row] * [1, -1], seen.depths[row]])
        apart = np.linalg.norm(points[:, None] - points, axis=-1)
        wrong = [np.abs(apart - np.linalg.norm(c[:, None] - c, axis=-1)).max() for c in candidates]
        assert min(wrong) < 1e-3  # metres


def test_noise_has_the_assumed_size(simulator: Simulator, body: KeypointBody) -> None:
    level = 0.02
    noisy_detector = replace(PERFECT, level=(0.98 * level, 1.02 * level), common_level=level)
    clean = draw(simulator, SimulationSettings(detector=PERFECT, visibility=ALL_SEEN))
    noisy = draw(simulator, SimulationSettings(detector=noisy_detector, visibility=ALL_SEEN))
    off = (noisy.keypoints - clean.keypoints) / REFERENCE_STATURE_M
    expected = np.asarray(NoiseModel(level).sigmas(body.schema))
    assert np.allclose(off.std(axis=(0, 2)), expected, rtol=0.15)
    assert np.allclose(noisy.level, level, rtol=0.03)


def test_levels_cover_their_range_and_peak_at_the_common_one() -> None:
    settings = DetectorSettings()
    keys = jax.random.split(jax.random.key(2), 4000)
    actual, assumed = jax.vmap(lambda key: draw_levels(settings, key))(keys)
    low, high = settings.level
    assert low <= actual.min()
    assert actual.max() <= high
    shares, edges = np.histogram(np.log(actual), bins=8, range=(np.log(low), np.log(high)))
    common = np.searchsorted(edges, np.log(settings.common_level)) - 1
    assert abs(int(np.argmax(shares)) - common) <= 1
    # Half of the levels are known, the others misjudged by as much as the settings tell.
    misjudged = np.log(np.asarray(assumed / actual))
    assert 0.4 < np.mean(np.abs(misjudged) < 1e-5) < 0.6
    assert np.isclose(misjudged[np.abs(misjudged) > 1e-5].std(), settings.misjudged, rtol=0.1)


def test_visibility_follows_the_schema(body: KeypointBody) -> None:
    settings = VisibilitySettings(schema_rates=(("coco17", 1.0),), complete_rate=0.5)
    points = np.random.default_rng(0).normal(size=(26, 2)).astype(np.float32)
    keys = jax.random.split(jax.random.key(3), 500)
    seen = np.asarray(jax.vmap(lambda key: draw_seen(body.schema, settings, jnp.asarray(points), key).seen)(keys))
    assert not seen[:, 17:].any()
    assert 0.4 < seen[:, :17].all(axis=1).mean() < 0.75
    assert seen[:, :17].any(axis=0).all()


def test_a_pool_needs_poses_and_weights() -> None:
    with pytest.raises(ValueError, match="weights"):
        make_pool(np.zeros((2, 23, 3)), np.zeros((2, 3)), np.zeros(2))
