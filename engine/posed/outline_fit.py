"""Fits of pictures to their keypoints and their outlines together, starting from the fit to the keypoints.

    energy = that of the keypoints and the pose (``engine.posed.problem``) + ½ |r|² + ½ P |β − β₀|²

The rim of the silhouette that each ray meets depends on the unknowns. So it is found for the present ones, held for a
few steps of Levenberg-Marquardt, and found again, as points are matched in iterative closest point algorithms; the
number of rounds is fixed. With a wide prior on β a picture's own shape is found, with a narrow one β stays at β₀.

Ends of rays that lie far off, because of a bag, a hole or a wrong mask, are weighted as by the robust loss of the
keypoints; weights are held with the rims. Ends where a ray gave up are left out.

Pictures are computed one by one in double precision, so none depends on another.

Source: Besl and McKay, "A method for registration of 3-D shapes", 1992; Chen and Medioni, "Object modelling by
registration of multiple range images", 1992 (distances along normals).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from engine.batching import AnyArray, map_samples_in_double
from engine.evidence.shape_evidence import Evidence
from engine.evidence.stages import PictureEvidence
from engine.picture.observation import REFERENCE_STATURE_M
from engine.picture.outline import OutlineRays, outline_rays
from engine.picture.outline_places import PLACES, SIDES
from engine.picture.swapped_labels import swap_labels
from engine.posed.jacobian import linearise
from engine.posed.noise_scale import noise_scale
from engine.posed.outline_problem import (
    CLOTHES_DEVIATION,
    CLOTHES_MEAN,
    Boundary,
    OutlineBody,
    linearise_outline,
    outline_residuals,
    picture_vertices,
)
from engine.posed.outline_rims import find_rims
from engine.posed.problem import (
    FRAME_SIZE,
    Picture,
    PictureUnknowns,
    PosedProblem,
    apply_step,
    posed_energy,
    robustness,
)
from engine.posed.results import Described, PosedFit, describe, laplace_evidence
from engine.posed.search import FRAME_UNIT, Free, PosedContext, rows
from engine.solvers.levenberg_marquardt import (
    LinearModel,
    LMSettings,
    Problem,
    eliminate_in_whitened_space,
    open_lane,
    take_step,
)

SIGMA = 0.005
"""Standard deviation of the boundary, person heights: half a per cent, as segmenters have it."""
UNKNOWN_CLOTHES_M = 0.012
"""Scale of the thickness of clothes that nobody declared, metres."""
_WIDTH = 8.0
"""Width of the robust loss, in standard deviations of one end of a ray."""
_CAPPED = 0.98
"""Wider sides, as a share of the greatest width, are where a ray gave up."""
_ROUNDS = 3
_STEPS = 4
_FIXED = 1e8
"""Precision of the prior of a shape that is given."""
_TILE_SIZE = 1


class _Context(NamedTuple):
    problem: PosedProblem
    body: OutlineBody
    steps: Int[AnyArray, ""]


def _settings(context: PosedContext, body: OutlineBody, steps: int) -> _Context:
    return _Context(context.problem, body, np.asarray(steps, np.int32))


class _Lane(NamedTuple):
    """One picture between rounds."""

    picture: Picture
    unknowns: PictureUnknowns
    boundary: Boundary
    prior_mean: Float[AnyArray, "*images betas"]
    prior_precision: Float[AnyArray, "*images"]


class _Advanced(NamedTuple):
    unknowns: Free
    vertices: Float[AnyArray, "*images vertices 2"]
    """The mesh in the picture, person heights."""


class Outlines(NamedTuple):
    """Outlines of many pictures."""

    widths_px: Float[AnyArray, "images places 2"]
    """NaN if not seen."""
    clothes_m: Float[AnyArray, "*images"]
    """Scale of the half-normal thickness of clothes, NaN if not known."""


def with_outlines(
    context: PosedContext, body: OutlineBody, pictures: PictureEvidence, outlines: Outlines
) -> PictureEvidence:
    """Evidence of fits to keypoints and outlines; pictures without an outline keep that of their keypoints.

    Args:
        pictures: with their fits, which stay as they are: consistency compares keypoints.
    """
    fit: PosedFit = pictures.fit
    at = _outlined(fit, outlines)
    if not len(at):
        return pictures
    lanes = _fitted(context, body, fit, outlines, at, None)
    found: Evidence = map_samples_in_double(_evidence_of, _settings(context, body, 0), lanes, _TILE_SIZE)
    finite = np.isfinite(found.precision).all(axis=(1, 2)) & np.isfinite(found.information).all(axis=1)
    parts = []
    for whole, new in zip(pictures.evidence, found, strict=True):
        whole = np.array(whole)
        whole[at[finite]] = new[finite]
        parts.append(whole)
    return pictures._replace(evidence=Evidence(*parts))


def fit_outlines(
    context: PosedContext, body: OutlineBody, fit: PosedFit, outlines: Outlines, betas: Float[AnyArray, "images betas"]
) -> tuple[Bool[np.ndarray, " images"], Described]:
    """Fits of pictures to keypoints and outlines at given shapes, and which pictures have one.

    Args:
        fit: to the keypoints; the poses to start from.

    Returns: rows of pictures without an outline hold their fit to the keypoints at ``fit.betas``.
    """
    at = _outlined(fit, outlines)
    unknowns = jax.tree.map(lambda leaf: np.nan_to_num(leaf), fit.unknowns)
    shapes = np.array(fit.betas)
    if len(at):
        lanes = _fitted(context, body, fit, outlines, at, np.asarray(betas)[at])
        jax.tree.map(lambda every, new: every.__setitem__(at, new), unknowns, lanes.unknowns)
        shapes[at] = np.asarray(betas)[at]
    used = np.zeros(len(shapes), bool)
    used[at] = True
    return used, describe(context.problem, Picture(fit.pictures.observation, shapes), unknowns)


def _outlined(fit: PosedFit, outlines: Outlines) -> Int[np.ndarray, " some"]:
    seen = np.isfinite(outlines.widths_px).any(axis=(1, 2))
    return np.flatnonzero(seen & np.isfinite(fit.energy))


def _fitted(
    context: PosedContext,
    body: OutlineBody,
    fit: PosedFit,
    outlines: Outlines,
    at: Int[np.ndarray, " some"],
    betas: Float[np.ndarray, "some betas"] | None,
) -> _Lane:
    """Fits of some pictures, at given shapes or with free ones, and the rims that their rays meet."""
    pictures, unknowns = rows((fit.pictures, fit.unknowns), at)
    # Outlines were measured with the labels as given.
    given = swap_labels(context.model.body.schema, pictures.observation, np.asarray(fit.swapped_labels)[at])
    observed = np.asarray(given.points, np.float64)
    rays = outline_rays(observed, np.asarray(given.confidence) > 0, context.model.body.schema)
    widths = np.asarray(outlines.widths_px, np.float64)[at] / np.asarray(given.person_height_px)[:, None, None]
    clothes = np.broadcast_to(np.asarray(outlines.clothes_m, np.float64), len(fit.energy))[at]
    clothes = np.where(np.isfinite(clothes), clothes, UNKNOWN_CLOTHES_M) / REFERENCE_STATURE_M
    start = pictures.betas if betas is None else betas
    lanes = _Lane(
        Picture(pictures.observation, start),
        unknowns,
        _no_boundary(len(at), clothes),
        np.zeros_like(start) if betas is None else start,
        np.full(len(at), 1.0 if betas is None else _FIXED),
    )
    lanes, vertices = _advance_all(context, body, lanes, 0)
    for _ in range(_ROUNDS):
        lanes = lanes._replace(boundary=_boundaries(body, vertices, rays, widths, clothes))
        lanes, vertices = _advance_all(context, body, lanes, _STEPS)
    return lanes._replace(boundary=_boundaries(body, vertices, rays, widths, clothes))


def _advance_all(
    context: PosedContext, body: OutlineBody, lanes: _Lane, steps: int
) -> tuple[_Lane, Float[np.ndarray, "images vertices 2"]]:
    done: _Advanced = map_samples_in_double(_advance, _settings(context, body, steps), lanes, _TILE_SIZE)
    picture = Picture(lanes.picture.observation, done.unknowns.betas)
    return lanes._replace(picture=picture, unknowns=done.unknowns.picture), np.asarray(done.vertices)


def _no_boundary(count: int, clothes: Float[np.ndarray, " images"]) -> Boundary:
    shape = (count, len(PLACES) * SIDES)
    pairs, single = (*shape, 2), np.zeros(shape)
    return Boundary(np.zeros(pairs, np.int32), single, np.zeros(pairs), np.zeros(pairs), single, clothes)


def _boundaries(
    body: OutlineBody,
    vertices: Float[np.ndarray, "images vertices 2"],
    rays: OutlineRays,
    widths: Float[np.ndarray, "images places 2"],
    clothes: Float[np.ndarray, " images"],
) -> Boundary:
    """The seen boundaries with the rims that the rays meet at present."""
    found = [
        _boundary(body, mesh, OutlineRays(*own), width, scale)
        for mesh, width, scale, *own in zip(vertices, widths, clothes, *rays, strict=True)
    ]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)


def _boundary(
    body: OutlineBody,
    vertices: Float[np.ndarray, "vertices 2"],
    rays: OutlineRays,
    widths: Float[np.ndarray, "places 2"],
    clothes: float,
) -> Boundary:
    rims = find_rims(vertices, np.asarray(body.faces), rays)
    sides = np.stack([rays.directions, -rays.directions], axis=1)
    with np.errstate(invalid="ignore"):  # comparisons with NaN are false
        used = (widths < _CAPPED * rays.longest) & (rims.widths < _CAPPED * rays.longest)
    distance = np.sum(rims.normals * sides, axis=2) * np.where(used, widths - rims.widths, 0.0)
    spread = np.hypot(SIGMA, CLOTHES_DEVIATION * clothes)
    squared = ((distance - CLOTHES_MEAN * clothes) / spread) ** 2
    weight = np.asarray(robustness(jnp.asarray(squared), jnp.asarray(_WIDTH)))
    points = rays.origins[:, None] + np.where(used, widths, 0.0)[..., None] * sides
    ends = len(PLACES) * SIDES
    return Boundary(
        ends=rims.ends.reshape(ends, 2),
        shares=np.where(used, rims.shares, 0.0).reshape(ends),
        normals=rims.normals.reshape(ends, 2),
        points=points.reshape(ends, 2),
        exactness=np.where(used, weight / SIGMA, 0.0).reshape(ends),
        clothes=np.asarray(clothes),
    )


def _problem(context: _Context, lane: _Lane) -> Problem:
    def at(unknowns: Free) -> Picture:
        return Picture(lane.picture.observation, unknowns.betas)

    def energy(unknowns: Free) -> Float[Array, ""]:
        residuals = outline_residuals(
            context.body, context.problem.model, at(unknowns), unknowns.picture, lane.boundary
        )
        prior = lane.prior_precision * jnp.sum((unknowns.betas - lane.prior_mean) ** 2)
        return posed_energy(context.problem, at(unknowns), unknowns.picture) + 0.5 * (jnp.sum(residuals**2) + prior)

    def apply(unknowns: Free, whitened: Float[Array, " latents"], dense: Float[Array, " dense"]) -> Free:
        moved = apply_step(unknowns.picture, whitened, dense[:FRAME_SIZE])
        return Free(moved, unknowns.betas + dense[FRAME_SIZE:])

    unit = FRAME_UNIT + (1.0,) * context.problem.model.beta_count
    return Problem(
        linearise=lambda unknowns: _linear_model(context, lane, unknowns),
        energy=energy,
        apply_step=apply,
        dense_unit=jnp.asarray(unit, lane.unknowns.latent.dtype),
        many_rows=True,
    )


def _linear_model(context: _Context, lane: _Lane, unknowns: Free) -> LinearModel:
    """The rows of keypoints, then those of the outline."""
    picture = Picture(lane.picture.observation, unknowns.betas)
    linear = linearise(context.problem, picture, unknowns.picture, free_betas=True)
    outline = linearise_outline(context.body, context.problem.model, picture, unknowns.picture, lane.boundary)
    return linear._replace(
        residuals=jnp.concatenate([linear.residuals, outline.residuals]),
        by_whitened=jnp.concatenate([linear.by_whitened, outline.by_whitened]),
        by_dense=jnp.concatenate([linear.by_dense, outline.by_dense]),
        dense=linear.dense.at[FRAME_SIZE:].set(unknowns.betas - lane.prior_mean),
        dense_precision=linear.dense_precision.at[FRAME_SIZE:].set(lane.prior_precision),
    )


def _advance(context: _Context, lane: _Lane) -> _Advanced:
    problem = _problem(context, lane)
    done = jax.lax.while_loop(
        lambda stepped: ~stepped.converged & (stepped.steps < context.steps),
        lambda stepped: take_step(problem, stepped, LMSettings()),
        open_lane(problem, Free(lane.unknowns, jnp.asarray(lane.picture.betas))),
    )
    seen = Picture(lane.picture.observation, done.unknowns.betas)
    return _Advanced(done.unknowns, picture_vertices(context.body, context.problem.model, seen, done.unknowns.picture))


def _evidence_of(context: _Context, lane: _Lane) -> Evidence:
    """As ``engine.posed.results.shape_evidence``: at the noise that the picture's keypoints have."""
    betas = jnp.asarray(lane.picture.betas)
    linear = _linear_model(context, lane, Free(lane.unknowns, betas))
    evidence = laplace_evidence(linear, eliminate_in_whitened_space(linear, 0.0), betas)
    scale = noise_scale(linear, betas, lane.picture.observation.confidence > 0)
    return Evidence(evidence.precision / scale**2, evidence.information / scale**2)
