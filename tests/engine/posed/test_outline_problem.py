"""Outlines as residuals: where rays meet the rim, the derivatives, and clothes as a common error of a part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17
from engine.picture.cameras import Lens
from engine.picture.observation import Observation
from engine.picture.outline import OutlineRays, outline_rays
from engine.picture.outline_places import PLACES, SIDES
from engine.posed.model import PosedModel, make_posed_model
from engine.posed.outline_check import mesh_widths
from engine.posed.outline_problem import (
    CLOTHES_DEVIATION,
    CLOTHES_MEAN,
    WEIGHT,
    Boundary,
    OutlineBody,
    linearise_outline,
    make_outline_body,
    outline_residuals,
    picture_vertices,
)
from engine.posed.outline_rims import Rims, find_rims
from engine.posed.problem import Picture, PictureUnknowns, apply_step, pose_model, seen_at
from engine.simulation.surface import make_surface
from tests.quick_compile import quick_jit

ENDS = len(PLACES) * SIDES
STEP, TOLERANCE = 1e-6, 1e-5
SIGMA, CLOTHES = 0.005, 0.01


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def bodies() -> tuple[PosedModel, OutlineBody]:
    with jax.enable_x64(True):
        body = load_embedded_body()
        surface = make_outline_body(make_surface(body))
        # Pose blendshapes, as SMPL has them, so that their derivatives are tested as well.
        posedirs = 1e-3 * np.random.default_rng(1).normal(size=(*surface.vertices.shape, 9 * (body.joint_count - 1)))
        corrected = OutlineBody(surface.vertices, surface.shapedirs, posedirs, surface.weights, surface.faces)
        return make_posed_model(reduce_body(body, COCO_17), load_pose_prior()), corrected


@pytest.fixture(scope="module")
def posed(bodies: tuple[PosedModel, OutlineBody]) -> tuple[Picture, PictureUnknowns]:
    with jax.enable_x64(True):
        model, _ = bodies
        draw = np.random.default_rng(2)
        unknowns = PictureUnknowns(
            jnp.array([0.9, 0.1, -0.3, 0.2]),
            jnp.asarray(0.5 * draw.normal(size=model.latent_count)),
            jnp.log(0.6),
            jnp.array([0.05, -0.1]),
        )
        lens = Lens(jnp.asarray(0.3), jnp.array([0.2, -0.1]))
        betas = draw.normal(size=model.beta_count)
        points = seen_at(unknowns, lens, pose_model(model, betas, unknowns).keypoints)
        one = jnp.asarray(1.0)
        observation = Observation(points, jnp.ones(len(COCO_17)), jnp.zeros(2), one, one, jnp.asarray(True), lens)
        return Picture(observation, betas), unknowns


def _rims(bodies: tuple[PosedModel, OutlineBody], posed: tuple[Picture, PictureUnknowns]) -> tuple[Rims, OutlineRays]:
    model, body = bodies
    picture, unknowns = posed
    vertices = np.asarray(quick_jit(picture_vertices)(body, model, picture, unknowns))
    rays = outline_rays(np.asarray(picture.observation.points), np.ones(len(COCO_17), bool), COCO_17)
    rims = find_rims(vertices, body.faces, rays)
    np.testing.assert_array_equal(np.minimum(rims.widths, rays.longest), mesh_widths(vertices, body.faces, rays))
    return rims, rays


def _boundary(rims: Rims, rays: OutlineRays, clothes: float = CLOTHES) -> Boundary:
    sides = np.stack([rays.directions, -rays.directions], axis=1)
    points = rays.origins[:, None] + np.nan_to_num(rims.widths)[..., None] * sides
    known = np.isfinite(rims.widths).reshape(-1)
    return Boundary(
        rims.ends.reshape(ENDS, 2), rims.shares.reshape(ENDS), rims.normals.reshape(ENDS, 2), points.reshape(ENDS, 2),
        np.where(known, 1 / SIGMA, 0.0), np.asarray(clothes),
    )  # fmt: skip


def _moved(model: PosedModel, picture: Picture, unknowns: PictureUnknowns, step: jax.Array):
    latents = model.latent_count
    moved = apply_step(unknowns, step[:latents], step[latents : latents + 6])
    return Picture(picture.observation, picture.betas + step[latents + 6 :]), moved


def _rows(body: OutlineBody, model: PosedModel, picture: Picture, unknowns: PictureUnknowns, boundary: Boundary, step):
    return outline_residuals(body, model, *_moved(model, picture, unknowns, step), boundary)


def test_the_derivatives_are_those_of_differences(
    bodies: tuple[PosedModel, OutlineBody], posed: tuple[Picture, PictureUnknowns]
) -> None:
    model, body = bodies
    picture, unknowns = posed
    boundary = _boundary(*_rims(bodies, posed))
    linear = quick_jit(linearise_outline)(body, model, picture, unknowns, boundary)
    count = model.latent_count + 6 + model.beta_count
    rows = quick_jit(jax.vmap(_rows, in_axes=(None, None, None, None, None, 0)))
    steps = STEP * jnp.concatenate([jnp.eye(count), -jnp.eye(count), jnp.zeros((1, count))])
    found = np.asarray(rows(body, model, picture, unknowns, boundary, steps))
    differences = (found[:count] - found[count:-1]).T / (2 * STEP)
    analytic = np.concatenate([linear.by_whitened, linear.by_dense], axis=1)
    np.testing.assert_allclose(linear.residuals, found[-1], atol=1e-9)
    np.testing.assert_allclose(analytic, differences, atol=TOLERANCE * np.abs(differences).max())
    assert (np.abs(differences).max(axis=0) > 1e-3).mean() > 0.8


def test_rims_lie_where_the_rays_end_and_move_along_their_normals(
    bodies: tuple[PosedModel, OutlineBody], posed: tuple[Picture, PictureUnknowns]
) -> None:
    """The width changes by the motion along the normal, over the cosine to the ray: the search is not held here."""
    model, body = bodies
    picture, unknowns = posed
    rims, rays = _rims(bodies, posed)
    vertices = np.asarray(picture_vertices(body, model, picture, unknowns))
    first, second = vertices[rims.ends[..., 0]], vertices[rims.ends[..., 1]]
    points = first + rims.shares[..., None] * (second - first)
    sides = np.stack([rays.directions, -rays.directions], axis=1)
    known = np.isfinite(rims.widths)
    assert known.sum() > 70
    ends = rays.origins[:, None] + rims.widths[..., None] * sides
    np.testing.assert_allclose(points[known], ends[known], atol=1e-9)
    cosines = np.sum(rims.normals * sides, axis=-1)
    assert (cosines[known] > 0).all()
    step = np.zeros(model.latent_count + 6 + model.beta_count)
    step[-model.beta_count :] = 1e-6 * np.random.default_rng(3).normal(size=model.beta_count)
    moved = np.asarray(picture_vertices(body, model, *_moved(model, picture, unknowns, jnp.asarray(step))))
    after = find_rims(moved, body.faces, rays)
    same = known & (after.ends == rims.ends).all(axis=-1)
    assert same.sum() > 0.9 * known.sum()
    displaced = moved[rims.ends[..., 0]] - first
    displaced = displaced + rims.shares[..., None] * (moved[rims.ends[..., 1]] - second - displaced)
    expected = np.sum(displaced * rims.normals, axis=-1) / np.where(same, cosines, 1.0)
    np.testing.assert_allclose((after.widths - rims.widths)[same], expected[same], atol=1e-9)


def test_clothes_are_a_common_error_of_a_part(
    bodies: tuple[PosedModel, OutlineBody], posed: tuple[Picture, PictureUnknowns]
) -> None:
    """Half the squared residuals are −log of the Gaussian with the covariance of boundary and clothes."""
    model, body = bodies
    picture, unknowns = posed
    rims, rays = _rims(bodies, posed)
    boundary = _boundary(rims, rays)
    thigh = np.array([place.part == "left_thigh" for place in PLACES]).repeat(SIDES) & (boundary.exactness > 0)
    draw = np.random.default_rng(4)
    apart = np.where(thigh, CLOTHES_MEAN * CLOTHES + 0.01 * draw.normal(size=ENDS), 0.0)
    shown = boundary._replace(
        points=boundary.points + apart[:, None] * boundary.normals, exactness=np.where(thigh, 1 / SIGMA, 0.0)
    )
    residuals = np.asarray(outline_residuals(body, model, picture, unknowns, shown))
    assert not residuals[~thigh].any()
    values = apart[thigh] - CLOTHES_MEAN * CLOTHES
    covariance = SIGMA**2 * np.eye(len(values)) + (CLOTHES_DEVIATION * CLOTHES) ** 2
    assert np.sum(residuals**2) == pytest.approx(WEIGHT**2 * values @ np.linalg.solve(covariance, values), rel=1e-6)


def test_unused_ends_have_no_effect(
    bodies: tuple[PosedModel, OutlineBody], posed: tuple[Picture, PictureUnknowns]
) -> None:
    model, body = bodies
    picture, unknowns = posed
    boundary = _boundary(*_rims(bodies, posed))
    used = boundary.exactness.copy()
    used[::3] = 0.0
    kept = boundary._replace(exactness=used)
    elsewhere = kept._replace(points=np.where(used[:, None] > 0, kept.points, 1e6))
    linear, other = (linearise_outline(body, model, picture, unknowns, each) for each in (kept, elsewhere))
    assert not np.asarray(linear.residuals)[::3].any()
    for one, two in zip(linear, other, strict=True):
        np.testing.assert_array_equal(one, two)
