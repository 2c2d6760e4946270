"""Outlines of simulated people: clothes only add, errors are as asked for, people repeat their clothes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.body.keypoint_body import reduce_body, rest_keypoints
from engine.body.model import BodyModel, shape_vertices
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import HALPE_26
from engine.picture.outline import outline_rays
from engine.picture.outline_places import PLACES
from engine.simulation.clothes import draw_clothes
from engine.simulation.pictures import SimulatedPicture, Simulator, make_simulator, simulate, simulate_sets
from engine.simulation.poses import pool_from_prior
from engine.simulation.settings import ClothesSettings, OutlineSettings, SimulationSettings
from engine.simulation.silhouette import silhouette_widths
from engine.simulation.surface import Surface, make_surface
from tests.quick_compile import quick_jit

COUNT = 24
BARE = ClothesSettings(
    kinds=((0.0, 1.0),), skirt_rate=0.0, coat_rate=0.0, wrap_rate=0.0, hair=0.0, shoes=0.0
)  # fmt: skip
PERFECT = OutlineSettings(
    share=1.0, clothes=BARE, noise=(1e-9, 1e-8), dilation=0.0, lost_part_rate=0.0, lost_end_rate=0.0, hole_rate=0.0,
    occluder_rate=0.0, carried_rate=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def surface(anny: BodyModel) -> Surface:
    return make_surface(anny, 400)


@pytest.fixture(scope="module")
def simulator(anny: BodyModel, surface: Surface) -> Simulator:
    return make_simulator(reduce_body(anny, HALPE_26), pool_from_prior(load_pose_prior(), 64), surface)


def draw(simulator: Simulator, outline: OutlineSettings) -> SimulatedPicture:
    settings = SimulationSettings(outline=outline)
    run = quick_jit(lambda key: simulate(simulator, settings, key, COUNT))
    return jax.tree.map(np.asarray, run(jax.random.key(0)))


@pytest.fixture(scope="module")
def bare(simulator: Simulator) -> SimulatedPicture:
    return draw(simulator, PERFECT)


def widths_of(pictures: SimulatedPicture) -> np.ndarray:
    assert pictures.outline is not None
    return pictures.outline.widths


def test_the_small_surface_has_the_bodys_widths(anny: BodyModel) -> None:
    """In rest pose, where triangles of the full mesh are the oracle."""
    small = make_surface(anny)
    points = np.asarray(rest_keypoints(reduce_body(anny, HALPE_26), jnp.zeros(10)))[:, :2] * [1, -1]
    rays = outline_rays(points.astype(np.float32), np.ones(26, bool), HALPE_26)

    def measure(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        corners = (vertices[:, :2] * [1, -1])[faces].transpose(1, 2, 0)[..., None].astype(np.float32)
        turned = [np.asarray(array).T[..., None] for array in (rays.origins, rays.directions)]
        repeated = [np.repeat(array, 16, axis=-1) for array in (corners, *turned)]
        shift = jnp.tile((jnp.arange(16) + 0.5) / 16, (len(PLACES), 1))
        longest = jnp.full(16, float(rays.longest), jnp.float32)
        found = jax.jit(silhouette_widths)(*(jnp.asarray(array) for array in repeated), longest, shift)
        return np.asarray(found).mean(axis=-1).T

    whole = measure(np.asarray(shape_vertices(anny, jnp.zeros(10))), np.asarray(anny.faces))
    own = measure(np.asarray(small.vertices), np.asarray(small.faces)[np.asarray(small.faces).max(axis=1) < 1200])
    # Arms along a ray, and gaps of their edges, are left out.
    plain = np.array([place.part != "trunk" or place.fraction > 0.2 for place in PLACES])
    apart = np.abs(own - whole)[plain]
    assert apart.mean() < 0.004  # metres
    assert abs((own - whole)[plain].mean()) < 0.002


@pytest.mark.slow
def test_one_key_gives_the_same_outlines(simulator: Simulator, bare: SimulatedPicture) -> None:
    assert np.array_equal(widths_of(draw(simulator, PERFECT)), widths_of(bare), equal_nan=True)
    seen = np.isfinite(widths_of(bare))
    assert 0.3 < seen.mean() < 1
    assert widths_of(bare)[seen].min() > 0


def test_widths_need_keypoints(bare: SimulatedPicture) -> None:
    for points, confidence, widths in zip(bare.keypoints, bare.confidence, widths_of(bare), strict=True):
        rays = outline_rays(points, confidence > 0, HALPE_26)
        assert np.isnan(widths[~rays.usable]).all()
        assert not (widths > rays.longest * 1.0001).any()


@pytest.mark.slow
def test_clothes_add_and_skirts_close_the_gap_between_the_legs(simulator: Simulator, bare: SimulatedPicture) -> None:
    """The same keys draw the same people, poses and samples."""
    clothes = replace(BARE, kinds=((0.02, 1.0),), ripple=0.2, skirt_rate=1.0)
    dressed = widths_of(draw(simulator, replace(PERFECT, clothes=clothes)))
    both = np.isfinite(dressed) & np.isfinite(widths_of(bare))
    gain = dressed - widths_of(bare)
    # In folds of the coarse mesh a surface that moves outwards may meet another one.
    assert np.mean(gain[both] > -1e-4) > 0.97
    assert 0.01 < gain[both].mean() < 0.06
    part = np.array([place.part.split("_")[-1] for place in PLACES])
    assert np.nanmean(gain[:, part == "thigh"]) > np.nanmean(gain[:, part == "forearm"]) + 0.01


@pytest.mark.slow
def test_wraps_cover_the_hull_of_their_parts(simulator: Simulator, bare: SimulatedPicture) -> None:
    wrapped = widths_of(draw(simulator, replace(PERFECT, clothes=replace(BARE, wrap_rate=1.0, ease=0.0))))
    both = np.isfinite(wrapped) & np.isfinite(widths_of(bare))
    gain = (wrapped - widths_of(bare))[both]
    # A hull never takes away; where the origin lay outside of the body, it may now lie inside.
    assert gain.min() > -1e-5
    assert 0.01 < gain.mean() < 0.1


@pytest.mark.slow
def test_noise_has_its_size(simulator: Simulator, bare: SimulatedPicture) -> None:
    noisy = widths_of(draw(simulator, replace(PERFECT, noise=(0.0099, 0.0101))))
    both = np.isfinite(noisy) & np.isfinite(widths_of(bare)) & (widths_of(bare) > 0.06) & (widths_of(bare) < 0.3)
    off = (noisy - widths_of(bare))[both] / 1.7
    assert np.isclose(off.std(), 0.01, rtol=0.25)


def test_the_first_detectors_have_outlines(simulator: Simulator) -> None:
    settings = SimulationSettings(outline=replace(PERFECT, share=0.5))
    found = quick_jit(lambda key: simulate_sets(simulator, settings, key, (2, 3, 2)))(jax.random.key(1))
    seen = np.isfinite(widths_of(found)).any(axis=(2, 3, 4))
    assert seen[0].all()
    assert not seen[1].any()


def test_some_people_wear_the_same_in_all_pictures() -> None:
    settings = ClothesSettings(repeat_rate=0.5)
    people = jax.random.split(jax.random.key(0), 200)
    pictures = jax.random.split(jax.random.key(1), 400).reshape(2, 200)
    draw_all = jax.vmap(lambda person, picture: draw_clothes(settings, person, picture).thickness)
    first, second = (np.asarray(draw_all(people, keys)) for keys in pictures)
    same = (first == second).all(axis=(1, 2))
    assert 0.35 < same.mean() < 0.65
    assert first.min() >= 0


def test_bodies_without_a_mesh_are_refused(anny: BodyModel) -> None:
    with pytest.raises(ValueError, match="faces"):
        make_surface(replace(anny, faces=jnp.zeros((0, 3), jnp.int32)))
