"""Silhouettes along rays: known shapes, gaps, noise of sampling, groups of triangles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.simulation.silhouette import NO_EXTENT, STEPS, extents, silhouette_widths

LONGEST = 2.0
STEP = LONGEST / STEPS


def box(low: tuple[float, float], high: tuple[float, float]) -> np.ndarray:
    """Two triangles: (triangles, corners, 2)."""
    (x0, y0), (x1, y1) = low, high
    return np.array([[(x0, y0), (x1, y0), (x1, y1)], [(x0, y0), (x1, y1), (x0, y1)]], np.float32)


def widths(
    triangles: np.ndarray,
    origin: tuple[float, float],
    direction: tuple[float, float],
    images: int = 400,
    hull: np.ndarray | None = None,
) -> np.ndarray:
    """Widths (images, 2) at random sampling; ``hull`` is a point set (points, 2)."""
    corners = np.repeat(triangles.transpose(1, 2, 0)[..., None], images, axis=3)
    ray = [np.tile(np.array(vector, np.float32)[:, None, None], (1, 1, images)) for vector in (origin, direction)]
    shift = jax.random.uniform(jax.random.key(0), (1, images))
    longest = jnp.full(images, LONGEST, jnp.float32)
    hulls = None if hull is None else jnp.tile(extents(jnp.asarray(hull), jnp.ones(len(hull), bool))[:, None], images)
    found = jax.jit(silhouette_widths)(
        jnp.asarray(corners), jnp.asarray(ray[0]), jnp.asarray(ray[1]), longest, shift, hulls
    )
    return np.asarray(found)[:, 0].T


def test_a_box_has_its_widths() -> None:
    found = widths(box((-0.31, -1), (0.77, 1)), (0, 0.1), (1, 0))
    assert np.abs(found - [0.77, 0.31]).max() < 0.5 * STEP + 1e-6
    assert np.allclose(found.mean(axis=0), [0.77, 0.31], atol=0.05 * STEP)


def test_a_slanted_ray_is_longer() -> None:
    found = widths(box((-0.5, -1), (0.5, 1)), (0, 0), (0.6, 0.8))
    assert np.allclose(found.mean(axis=0), 0.5 / 0.6, atol=0.1 * STEP)


def test_the_first_gap_ends_a_width_and_touching_parts_do_not() -> None:
    parts = [box((-0.4, -1), (0.3, 1)), box((0.5, -1), (0.9, 1)), box((-0.8, -1), (-0.39, 1))]
    found = widths(np.concatenate(parts), (0, 0), (1, 0))
    assert np.allclose(found.mean(axis=0), [0.3, 0.8], atol=0.1 * STEP)


def test_a_ray_gives_up_and_an_origin_outside_is_not_seen() -> None:
    long = widths(box((-5, -1), (0.2, 1)), (0, 0), (1, 0))
    assert np.all(long[:, 1] == LONGEST)
    assert np.isnan(widths(box((0.3, -1), (0.9, 1)), (0, 0), (1, 0))).all()
    assert np.isnan(widths(np.zeros((1, 3, 2), np.float32), (0, 0), (1, 0))).all()


def test_a_hull_fills_the_gap_between_its_points() -> None:
    parts = np.concatenate([box((-0.4, -1), (0.3, 1)), box((0.5, -1), (0.9, 1))])
    inner = np.array([(-0.2, -1), (-0.2, 1), (0.7, -1), (0.7, 1)], np.float32)
    found = widths(parts, (0, 0), (1, 0), hull=inner)
    assert np.allclose(found.mean(axis=0), [0.9, 0.4], atol=0.1 * STEP)
    upright = np.array([(-0.5, -2), (0.5, -2), (0.5, 2), (-0.5, 2)], np.float32)
    alone = widths(np.zeros((1, 3, 2), np.float32), (0, 0), (0.6, 0.8), hull=upright)
    assert np.allclose(alone.mean(axis=0), 0.5 / 0.6, atol=0.2 * STEP)
    elsewhere = np.array([(0.6, -3), (0.8, -3), (0.7, -2)], np.float32)
    far = widths(parts, (0, 0), (1, 0), hull=elsewhere)
    assert np.allclose(far.mean(axis=0), [0.3, 0.4], atol=0.1 * STEP)


def test_a_hull_without_members_covers_nothing() -> None:
    nothing = extents(jnp.ones((4, 2)), jnp.zeros(4, bool))
    assert np.all(np.asarray(nothing) == NO_EXTENT)
    ray = jnp.zeros((2, 1, 8)), jnp.zeros((2, 1, 8)).at[0].set(1.0)
    longest, shift = jnp.full(8, LONGEST), jnp.full((1, 8), 0.5)
    found = silhouette_widths(jnp.zeros((3, 2, 8, 8)), ray[0], ray[1], longest, shift, jnp.tile(nothing[:, None], 8))
    assert np.isnan(np.asarray(found)).all()


@pytest.mark.parametrize("groups", [3, 16])
def test_groups_change_nothing(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    triangles = generator.normal(size=(50, 3, 2)).astype(np.float32)
    own = widths(triangles, (0.1, 0.1), (0.6, 0.8), 64)
    monkeypatch.setattr("engine.simulation.silhouette.jax.default_backend", lambda: "gpu")
    monkeypatch.setattr("engine.simulation.silhouette._ACCELERATOR_GROUPS", groups)
    assert np.array_equal(widths(triangles, (0.1, 0.1), (0.6, 0.8), 64), own, equal_nan=True)
