"""What keypoints and outlines hold about the shape at most: ``python -m benchmarks.outlines --bound``.

Each picture is made linear around the truth. With shape β and nuisances θ (camera, pose), the data d (keypoints and
widths) are d₀ + J (β, θ) + noise of covariance Σ; the information about β is the Schur complement of the nuisances in
Jᵀ Σ⁻¹ J + P, where P is the precision that is known of θ beforehand (Cramér-Rao for Gaussian noise; Kay, "Fundamentals
of statistical signal processing: estimation theory", 1993, chapter 3). Pictures with exactly this information are
drawn, h ~ N(Λβ, Λ), and compared as all evidence is. No method that sees these data can do better on average, as far as
the model is linear.

A width ends at the rim of the silhouette. If the rim's point moves by u in the picture, the width grows by
u·n / r·n = u·g, with the ray's direction r and the rim's normal n. The boundary noise of ``outline_pictures`` is a
smooth field of displacements δ, so that errors of two widths have the covariance σ² ρ(distance) g·g'. Thickness of
clothes moves the rim along n; a half-normal one has the variance (1 − 2/π) of its scale squared.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.special import j0

from benchmarks.identity_methods import REFERENCES, fused, pairs_of
from benchmarks.identity_metrics import separation
from benchmarks.outline_pictures import BOUNDARY_NOISE, HEIGHT_PX, NOISE, PICTURES, WAVE_LENGTHS, clothes_parts
from benchmarks.outline_rim import RAYS, find_rim, mesh_edges
from benchmarks.synthetic import SyntheticPictures
from engine.body.keypoint_body import KeypointBody, pose_keypoints, pose_skeleton, reduce_body
from engine.body.model import BodyModel, pose_body
from engine.body.schemas import COCO_17
from engine.evidence.shape_evidence import Evidence
from engine.picture.noise import NoiseModel
from engine.picture.outline_places import PLACES
from engine.simulation.settings import OutlineSettings

_SEED = 16
_PIXEL_PX = 0.3
"""Error of a width by the pixels of the mask."""
_CAMERA = 3
"""Logarithm of the scale, and place."""


@dataclass(frozen=True)
class Known:
    """What is known beforehand besides the pictures."""

    name: str
    camera: float
    """Standard deviation of the scale's logarithm and, in person heights, of the place."""
    joints_rad: float
    """Standard deviation of each component of each joint's rotation."""
    root_rad: float
    components: int | None = None
    """Shape components that the evidence is about; the others are nuisances with their prior. None: all."""


KNOWN = (
    Known("pose and camera", 0.0, 0.0, 0.0),
    Known("pose", 1.0, 0.0, 0.0),
    Known("pose within 0.1 rad", 1.0, 0.1, 1.0),
    Known("pose within 0.2 rad", 1.0, 0.2, 1.0),
    Known("pose within 0.3 rad", 1.0, 0.3, 1.0),
    Known("pose within 0.2 rad; ten components", 1.0, 0.2, 1.0, components=10),
)


@dataclass(frozen=True)
class Given:
    """What a picture gives besides keypoints."""

    name: str
    thickness_m: float | None
    """Scale of the half-normal thickness of each part of the clothes; None: no outline."""
    simulated: bool = False
    """The boundary has the noise of the training's simulation."""


GIVEN = (
    Given("keypoints", None),
    Given("outline, no clothes", 0.0),
    Given("outline, tight", 0.003),
    Given("outline, ordinary", 0.015),
    Given("outline, tight, boundary as simulated", 0.003, simulated=True),
)


class BoundRow(NamedTuple):
    """Areas under the ROC curve that nothing exceeds."""

    given: str
    known: str
    one: float
    four: float


class Sensitivity(NamedTuple):
    """Derivatives of one picture's data, in pixels, by shape, pose and camera."""

    keypoints: Float[np.ndarray, "coordinates parameters"]
    widths: Float[np.ndarray, "seen parameters"]
    clothes: Float[np.ndarray, "seen parts"]
    """By the thickness of clothes, pixels a metre."""
    gain: Float[np.ndarray, "seen 2"]
    point: Float[np.ndarray, "seen 2"]
    ray: Int[np.ndarray, " seen"]
    """Number of the side times the number of places, and the place."""
    keypoint_noise_px: Float[np.ndarray, " coordinates"]


def bound_rows(body: BodyModel, drawn: SyntheticPictures) -> list[BoundRow]:
    """The bound for all of ``GIVEN`` and ``KNOWN``."""
    pictures = sensitivities(body, drawn)
    betas = np.repeat(drawn.betas, PICTURES, axis=0)
    people = len(drawn.betas)
    pairs = pairs_of(people, PICTURES)
    everyone = np.indices((people, people)).reshape(2, -1)
    rows = []
    for given in GIVEN:
        whole = [information(picture, given) for picture in pictures]
        for known in KNOWN:
            precision = np.stack([_about_shape(matrix, known, body.beta_count) for matrix in whole])
            evidence = _drawn_evidence(precision, betas[:, : precision.shape[-1]])
            references = fused(evidence, people, PICTURES, 0, REFERENCES)
            several = fused(evidence, people, PICTURES, REFERENCES, PICTURES)
            one = _log_bayes_factors(references, evidence, pairs.person, pairs.probe)
            four = _log_bayes_factors(references, several, *everyone)
            same = everyone[0] == everyone[1]
            rows.append(BoundRow(given.name, known.name, separation(one, pairs.same).auc, separation(four, same).auc))
    return rows


def _log_bayes_factors(
    references: Evidence, probes: Evidence, person: Int[np.ndarray, " pairs"], probe: Int[np.ndarray, " pairs"]
) -> Float[np.ndarray, " pairs"]:
    """``log_bayes_factor`` in double precision, whose program for JAX compiles for minutes with many components."""
    first, second = Evidence(*(part[person] for part in references)), Evidence(*(part[probe] for part in probes))
    both = Evidence(first.precision + second.precision, first.information + second.information)
    return _log_marginals(both) - _log_marginals(first) - _log_marginals(second)


def _log_marginals(evidence: Evidence) -> Float[np.ndarray, " n"]:
    matrix = np.eye(evidence.precision.shape[-1]) + evidence.precision
    solved = np.linalg.solve(matrix, evidence.information[..., None])[..., 0]
    return 0.5 * np.sum(evidence.information * solved, axis=-1) - 0.5 * np.linalg.slogdet(matrix).logabsdet


def _drawn_evidence(
    precision: Float[np.ndarray, "images betas betas"], betas: Float[np.ndarray, "images betas"]
) -> Evidence:
    values, vectors = np.linalg.eigh(precision)
    root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None]
    noise = np.random.default_rng(_SEED).standard_normal(betas.shape)
    drawn = np.einsum("iab,ib->ia", precision, betas) + np.einsum("iab,ib->ia", root, noise)
    return Evidence(precision, drawn)


def information(picture: Sensitivity, given: Given) -> Float[np.ndarray, "parameters parameters"]:
    """Jᵀ Σ⁻¹ J of one picture."""
    scaled = picture.keypoints / picture.keypoint_noise_px[:, None]
    found = scaled.T @ scaled
    if given.thickness_m is None or not len(picture.widths):
        return found
    clothes = given.thickness_m**2 * (1 - 2 / np.pi) * picture.clothes @ picture.clothes.T
    boundary = (simulated_noise if given.simulated else field_noise)(picture)
    noise = boundary + clothes + _PIXEL_PX**2 * np.eye(len(clothes))
    return found + picture.widths.T @ np.linalg.solve(noise, picture.widths)


def field_noise(picture: Sensitivity) -> Float[np.ndarray, "seen seen"]:
    """Covariance of widths by the smooth field of ``outline_pictures``, pixels squared."""
    apart = np.linalg.norm(picture.point[:, None] - picture.point, axis=-1) / HEIGHT_PX
    return (BOUNDARY_NOISE * HEIGHT_PX) ** 2 * field_correlation(apart) * (picture.gain @ picture.gain.T)


def simulated_noise(picture: Sensitivity) -> Float[np.ndarray, "seen seen"]:
    """The same by the law of ``engine.simulation.outlines``, at the same level: one side of a part has a share in
    common, the rest is each width's own; and the segmenter's mean error is common to all."""
    settings = OutlineSettings()
    side, place = np.divmod(picture.ray, len(PLACES))
    part = np.unique([place.part for place in PLACES], return_inverse=True)[1][place]
    together = (part[:, None] == part) & (side[:, None] == side)
    noise = settings.common_share * together + (1 - settings.common_share) * np.eye(len(side))
    return (BOUNDARY_NOISE * HEIGHT_PX) ** 2 * noise + (settings.dilation * HEIGHT_PX) ** 2


def field_correlation(apart: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Correlation of the boundary's displacements at two places, which are so many person heights apart.

    A wave of length L in a random direction has the correlation J₀(2π d / L); the logarithms of L are uniform.
    """
    lengths = np.geomspace(WAVE_LENGTHS[0], WAVE_LENGTHS[1], 65)
    return np.mean(j0(2 * np.pi * apart[..., None] / lengths), axis=-1)


def _about_shape(
    matrix: Float[np.ndarray, "parameters parameters"], known: Known, betas: int
) -> Float[np.ndarray, "components components"]:
    """The information about the shape: the Schur complement of all that is not known."""
    spreads = np.full(len(matrix), known.joints_rad)
    spreads[betas : betas + 3] = known.root_rad
    spreads[-_CAMERA:] = known.camera * np.array([1, HEIGHT_PX, HEIGHT_PX])
    asked = betas if known.components is None else min(known.components, betas)
    spreads[:betas] = np.where(np.arange(betas) < asked, 0.0, 1.0)
    unknown = np.flatnonzero(spreads)
    rest = matrix[np.ix_(unknown, unknown)] + np.diag(spreads[unknown] ** -2)
    mixed = matrix[:asked, unknown]
    found = matrix[:asked, :asked] - mixed @ np.linalg.solve(rest, mixed.T)
    return (found + found.T) / 2


def sensitivities(body: BodyModel, drawn: SyntheticPictures) -> list[Sensitivity]:
    """Derivatives of all pictures at the truth."""
    pose_all = jax.jit(lambda betas, pose: pose_body(body, betas, pose).vertices)
    keypoint_body = reduce_body(body, COCO_17)
    keypoint_slopes = jax.jit(jax.jacfwd(partial(_keypoints, keypoint_body)))
    rim_slopes = jax.jit(jax.jacfwd(partial(_some_vertices, body, keypoint_body)))
    weights, members = np.asarray(body.weights), clothes_parts(body.joint_count)
    edges = mesh_edges(np.asarray(body.faces))
    relative = np.repeat(np.asarray(NoiseModel(1.0).sigmas(COCO_17), np.float64), 2)
    found = []
    for person, betas in enumerate(drawn.betas):
        for picture in range(PICTURES):
            pose = jnp.asarray(drawn.pose[person, picture], jnp.float32)
            unknowns = jnp.concatenate([jnp.asarray(betas, jnp.float32), pose.reshape(-1)])
            scale = float(np.asarray(drawn.camera.scale)[person, picture])
            place = np.asarray(drawn.camera.translation)[person, picture]
            image = scale * np.asarray(pose_all(unknowns[: len(betas)], pose))[:, :2] * [1, -1] + place
            points = drawn.true_keypoints_px[person, picture]
            rim = find_rim(image, np.asarray(body.faces), edges, points)
            ends = rim.vertices[rim.seen]
            slopes = np.asarray(rim_slopes(unknowns, jnp.asarray(rim.vertices.reshape(-1))))
            slopes = slopes.reshape(RAYS, 2, 3, -1)[rim.seen, :, :2].astype(np.float64)
            share, gain = rim.share[rim.seen], rim.gain[rim.seen]
            moved = (1 - share)[:, None, None] * slopes[:, 0] + share[:, None, None] * slopes[:, 1]
            clothed = (1 - share)[:, None] * weights[ends[:, 0]] + share[:, None] * weights[ends[:, 1]]
            of_keypoints = np.asarray(keypoint_slopes(unknowns))[:, :2].astype(np.float64)
            found.append(
                Sensitivity(
                    _with_camera(of_keypoints, points - place, scale, None).reshape(-1, len(unknowns) + _CAMERA),
                    _with_camera(moved, rim.point[rim.seen] - place, scale, gain),
                    scale * np.linalg.norm(gain, axis=1)[:, None] * (clothed @ members),
                    gain,
                    rim.point[rim.seen],
                    np.flatnonzero(rim.seen),
                    NOISE * np.ptp(points[:, 1]) * relative,
                )
            )
    return found


def _with_camera(
    slopes: Float[np.ndarray, "points 2 unknowns"],
    away: Float[np.ndarray, "points 2"],
    scale: float,
    gain: Float[np.ndarray, "points 2"] | None,
) -> np.ndarray:
    """Derivatives in pixels, the camera's appended; for each coordinate, or along ``gain``."""
    place = np.broadcast_to(np.eye(2), (len(away), 2, 2))
    whole = np.concatenate([scale * slopes * np.array([1, -1])[:, None], away[..., None], place], axis=-1)
    return whole if gain is None else np.einsum("pc,pcu->pu", gain, whole)


def _keypoints(body: KeypointBody, unknowns: Float[Array, " unknowns"]) -> Float[Array, "keypoints 3"]:
    return pose_keypoints(body, unknowns[: body.beta_count], unknowns[body.beta_count :].reshape(-1, 3))


def _some_vertices(
    body: BodyModel, reduced: KeypointBody, unknowns: Float[Array, " unknowns"], chosen: Int[Array, " chosen"]
) -> Float[Array, "chosen 3"]:
    """A few posed vertices of a body without pose blendshapes, as ``pose_body`` gives them."""
    betas, pose = unknowns[: body.beta_count], unknowns[body.beta_count :].reshape(-1, 3)
    joints = reduced.joints + reduced.joint_shapedirs @ betas
    skeleton = pose_skeleton(reduced, betas, pose)
    offsets = skeleton.positions - jnp.einsum("jab,jb->ja", skeleton.rotations, joints)
    weights = body.weights[chosen]
    shaped = body.v_template[chosen] + body.shapedirs[chosen] @ betas
    return jnp.einsum("vj,jab,vb->va", weights, skeleton.rotations, shaped) + weights @ offsets
