"""Fits to keypoints and outlines: exact outlines show the build, wrong ones do no harm, pictures are independent."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.body.keypoint_body import KeypointBody
from engine.body.model import BodyModel, pose_body
from engine.body.schemas import COCO_17
from engine.evidence.comparison import marginals
from engine.evidence.stages import PictureEvidence
from engine.picture.cameras import Lens, WeakPerspective
from engine.picture.observation import Observation
from engine.picture.outline import OutlineRays, outline_rays
from engine.picture.outline_places import PLACES
from engine.posed.fit import make_context, observe_pictures
from engine.posed.outline_check import mesh_widths, part_differences
from engine.posed.outline_fit import Outlines, fit_outlines, with_outlines
from engine.posed.outline_problem import OutlineBody, make_outline_body, picture_vertices
from engine.posed.outline_rims import find_rims
from engine.posed.problem import Picture, PictureUnknowns, pose_model, seen_at
from engine.posed.results import PosedFit, shape_evidence
from engine.posed.search import PosedContext
from engine.simulation.surface import make_surface
from tests.quick_compile import quick_jit

PICTURES = 4
HEIGHT_PX = 400.0
NOISE = 0.004
"""Of keypoints, person heights."""


class Case(NamedTuple):
    context: PosedContext
    body: OutlineBody
    keypoints_px: np.ndarray
    outlines: Outlines
    fit: PosedFit
    betas: np.ndarray


def _fit_of(context: PosedContext, keypoints_px: np.ndarray, unknowns: PictureUnknowns) -> PosedFit:
    """Fits of the average shape in poses near the right ones, in place of a search."""
    observation = jax.tree.map(np.asarray, observe_pictures(context, keypoints_px, np.ones((len(keypoints_px), 17))))
    count = len(keypoints_px)
    zeros, pairs, codes = np.zeros(count, np.float32), jnp.zeros((count, 17, 2)), np.zeros(count, np.int8)
    camera = WeakPerspective(pairs[:, 0, 0], pairs[:, 0])
    pictures = Picture(observation, np.zeros((count, context.model.beta_count), np.float32))
    pose = np.zeros((count, 24, 3), np.float32)
    return PosedFit(pictures, unknowns, pose, camera, camera, np.asarray(pairs), zeros, zeros, codes, codes, codes)


def _unknowns(context: PosedContext, observed: Observation, latent: np.ndarray, turn: np.ndarray) -> PictureUnknowns:
    """Poses in the units of an observation, whose person height is not that of the drawing."""
    scale = HEIGHT_PX / np.asarray(observed.person_height_px)
    shift = (np.array([300.0, 300.0]) - np.asarray(observed.centre_px)) / np.asarray(observed.person_height_px)[:, None]
    return PictureUnknowns(
        turn.astype(np.float32), latent.astype(np.float32), np.log(scale / 1.7).astype(np.float32),
        shift.astype(np.float32),
    )  # fmt: skip


@pytest.fixture(scope="module")
def case(anny: BodyModel, coco_body: KeypointBody) -> Case:
    context = make_context(coco_body)
    model = context.model
    body = make_outline_body(make_surface(anny))
    draw = np.random.default_rng(5)
    betas = 1.5 * draw.normal(size=(PICTURES, model.beta_count)).astype(np.float32)
    latent = 0.4 * draw.normal(size=(PICTURES, model.latent_count)).astype(np.float32)
    turn = np.concatenate([np.ones((PICTURES, 1)), 0.15 * draw.normal(size=(PICTURES, 3))], axis=1)
    turn = (turn / np.linalg.norm(turn, axis=1, keepdims=True)).astype(np.float32)
    single, none = jnp.zeros(PICTURES), jnp.zeros((PICTURES, 17, 2))
    lens = Lens(single, none[:, 0])
    true = PictureUnknowns(turn, latent, single - np.log(1.7), none[:, 0])
    drawn = Picture(Observation(none, none[..., 0], none[:, 0], single, single, single > 0, lens), betas)

    def keypoints(picture: Picture, unknowns: PictureUnknowns):
        return seen_at(unknowns, picture.observation.lens, pose_model(model, picture.betas, unknowns).keypoints)

    points = np.asarray(quick_jit(jax.vmap(keypoints))(*jax.tree.map(jnp.asarray, (drawn, true))))
    mesh = np.asarray(
        quick_jit(jax.vmap(picture_vertices, (None, None, 0, 0)))(
            body, model, *jax.tree.map(jnp.asarray, (drawn, true))
        )
    )
    points = HEIGHT_PX * (points + NOISE * draw.normal(size=points.shape)) + 300
    rays = outline_rays(points, np.ones((PICTURES, 17), bool), COCO_17)
    widths = np.stack(
        [find_rims(HEIGHT_PX * mesh[k] + 300, body.faces, OutlineRays(*(part[k] for part in rays))).widths
         for k in range(PICTURES)]
    )  # fmt: skip
    widths = np.minimum(widths, rays.longest[:, None, None])
    keypoints_px = points.astype(np.float32)
    start = latent + 0.1 * draw.normal(size=latent.shape)
    observed = observe_pictures(context, keypoints_px, np.ones((PICTURES, 17)))
    fit = _fit_of(context, keypoints_px, _unknowns(context, observed, start, turn))
    return Case(context, body, keypoints_px, Outlines(widths.astype(np.float32), np.zeros(PICTURES)), fit, betas)


def _pictures(case: Case) -> PictureEvidence:
    evidence = shape_evidence(case.context, case.fit)
    known = np.ones(len(evidence.precision), bool)
    return PictureEvidence(evidence, case.fit.status, case.fit.swapped_labels, known, case.fit)


@pytest.fixture(scope="module")
def outlined(case: Case) -> PictureEvidence:
    return with_outlines(case.context, case.body, _pictures(case), case.outlines)


def test_exact_outlines_show_the_build(case: Case, outlined: PictureEvidence) -> None:
    """Distance of the trunk's surface from the true one, mean over pictures of the root mean square over vertices."""
    trunk = case.body.weights[:, [0, 3, 6, 9]].sum(axis=1) > 0.7

    def error(evidence: PictureEvidence) -> float:
        apart = marginals(evidence.evidence).mean - case.betas
        return float(np.mean(np.sqrt(np.mean((case.body.shapedirs[trunk] @ apart.T) ** 2, axis=(0, 1)))))

    assert error(outlined) < 0.75 * error(_pictures(case))
    assert (np.trace(outlined.evidence.precision, axis1=1, axis2=2) > 0).all()


def test_pictures_are_independent(case: Case, outlined: PictureEvidence) -> None:
    """Bit for bit: alone, in another order, and beside pictures without an outline, which keep their evidence."""
    order = np.arange(PICTURES)[::-1]
    given = _pictures(case)
    turned = jax.tree.map(lambda leaf: np.asarray(leaf)[order], given)
    widths = case.outlines.widths_px[order].copy()
    widths[0] = np.nan
    found = with_outlines(case.context, case.body, turned, Outlines(widths, np.zeros(PICTURES)))
    for one, other, bare in zip(found.evidence, outlined.evidence, turned.evidence, strict=True):
        np.testing.assert_array_equal(one[1:], other[order][1:])
        np.testing.assert_array_equal(one[0], bare[0])


def test_resized_and_shifted_pictures_have_the_same_evidence(case: Case, outlined: PictureEvidence) -> None:
    moved = 2.5 * case.keypoints_px + np.array([70.0, -30.0], np.float32)
    fit = _fit_of(case.context, moved, case.fit.unknowns)
    shown = case._replace(fit=fit)
    found = with_outlines(
        case.context, case.body, _pictures(shown), Outlines(2.5 * case.outlines.widths_px, np.zeros(PICTURES))
    )
    for one, other in zip(found.evidence, outlined.evidence, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3 * np.abs(other).max())


def test_missing_widths_are_left_out(case: Case, outlined: PictureEvidence) -> None:
    """Less is known without the legs, and more than without an outline."""
    legs = np.array([place.part.endswith(("thigh", "shin")) for place in PLACES])
    widths = np.where(legs[:, None], np.nan, case.outlines.widths_px)
    found = with_outlines(case.context, case.body, _pictures(case), case.outlines._replace(widths_px=widths))

    def known(pictures: PictureEvidence) -> np.ndarray:
        return np.linalg.slogdet(np.eye(case.betas.shape[1]) + np.asarray(pictures.evidence.precision, float))[1]

    assert (known(found) < known(outlined)).all()
    assert (known(found) > known(_pictures(case))).mean() > 0.5


def test_rubbish_does_no_harm_to_the_keypoints(case: Case) -> None:
    """Keypoints fit as well as without an outline, if widths are those of another thing."""
    none = case.outlines._replace(widths_px=np.full_like(case.outlines.widths_px, np.nan))
    draw = np.random.default_rng(6)
    longest = np.nanmax(case.outlines.widths_px, axis=(1, 2), keepdims=True)
    rubbish = case.outlines._replace(widths_px=longest * draw.uniform(0.0, 1.0, case.outlines.widths_px.shape))
    errors = {}
    for name, outlines in (("exact", case.outlines), ("rubbish", rubbish)):
        used, found = fit_outlines(case.context, case.body, case.fit, outlines, case.betas)
        assert used.all()
        errors[name] = float(np.sqrt(np.mean(np.asarray(found.residuals) ** 2)))
    used, _ = fit_outlines(case.context, case.body, case.fit, none, case.betas)
    assert not used.any()
    assert errors["exact"] < 1.5 * NOISE
    assert errors["rubbish"] < 2.5 * NOISE


def test_the_drawn_fit_has_the_widths_of_the_outline(case: Case, anny: BodyModel) -> None:
    """At the true shape, in bare skin, the silhouette of the fit ends where the mask does."""
    _, found = fit_outlines(case.context, case.body, case.fit, case.outlines, case.betas)
    rays = outline_rays(case.keypoints_px.astype(float), np.ones((PICTURES, 17), bool), COCO_17)
    vertices = quick_jit(jax.vmap(lambda betas, pose: pose_body(anny, betas, pose).vertices[:, :2]))
    meshes = np.asarray(vertices(jnp.asarray(case.betas), jnp.asarray(found.pose)))
    named = []
    for k, mesh in enumerate(meshes):
        scale, origin = float(found.camera_px.scale[k]), np.asarray(found.camera_px.translation)[k]
        own = OutlineRays(*(part[k] for part in rays))
        widths = mesh_widths(mesh * [scale, -scale] + origin, np.asarray(anny.faces), own)
        named.append(part_differences(np.asarray(case.outlines.widths_px[k]), widths, float(own.longest)))
    assert sum(map(len, named)) > 4 * PICTURES
    assert np.mean([abs(value) for parts in named for value in parts.values()]) < 0.04
