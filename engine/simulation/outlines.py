"""Outlines of simulated people: the dressed body's silhouette along the rays of its detected keypoints.

The widths have the errors of segmenters: noise that neighbours share in part, a mean error outwards, parts that are
missing, holes, objects before the person or carried by it. A width that would not be seen in use is NaN.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine.body.model import full_precision
from engine.body.schemas import KeypointSchema
from engine.picture.observation import REFERENCE_STATURE_M
from engine.picture.outline import OutlineRays, outline_rays
from engine.picture.outline_places import PLACES
from engine.simulation.clothes import Clothes, draw_clothes, skirt_vertices, thickness_of, under_wrap
from engine.simulation.settings import OutlineSettings
from engine.simulation.silhouette import extents, silhouette_widths
from engine.simulation.surface import Surface
from engine.simulation.views import project

_SEGMENTS, _SEGMENT_OF_PLACE = np.unique([place.part for place in PLACES], return_inverse=True)
_AT_AN_END = np.array(
    [place.fraction > 0.7 and place.part.endswith(("forearm", "shin")) for place in PLACES]
)  # fmt: skip


class Scene(NamedTuple):
    """A posed body before the camera, and what the detector gave."""

    betas: Float[Array, "*images betas"]
    pose_features: Float[Array, "*images pose_features"]
    """Empty for a body without pose blendshapes."""
    rotations: Float[Array, "*images joints 3 3"]
    offsets: Float[Array, "*images joints 3"]
    """Position of each joint minus its turned rest position, metres."""
    inverse_distance: Float[Array, "*images"]
    points: Float[Array, "*images keypoints 2"]
    """Detected keypoints, metres at the pelvis' depth."""
    confidence: Float[Array, "*images keypoints"]
    border: Float[Array, "*images 3"]
    """Normal of the picture's border, pointing outwards, and its distance from the pelvis; infinite without one."""


class SimulatedOutline(NamedTuple):
    """An outline, and what is known of the clothes."""

    widths: Float[Array, "*images places 2"]
    """Metres at the pelvis' depth (``engine.picture.outline``); NaN if not seen."""
    clothes: Float[Array, "*images"]
    """Standard deviation of the half-normal thickness of clothes, metres; NaN if unknown."""


class Keys(NamedTuple):
    """Keys of one picture, of its person and of its detector."""

    picture: Array
    person: Array
    detector: Array


def simulate_outlines(
    surface: Surface, settings: OutlineSettings, schema: KeypointSchema, scenes: Scene, keys: Keys
) -> SimulatedOutline:
    """Outlines of many pictures; the same keys give the same outlines."""
    seen = scenes.confidence > 0
    rays = outline_rays(scenes.points, seen, schema)
    clothes_keys, shift_keys, fault_keys = jnp.moveaxis(jax.vmap(partial(jax.random.split, num=3))(keys.picture), 1, 0)
    clothes = jax.vmap(partial(draw_clothes, settings.clothes))(keys.person, clothes_keys)
    vertices = jax.vmap(partial(_picture_of, surface))(scenes, clothes)
    # The triangles' corners, with pictures as the last axis.
    rows = jnp.transpose(vertices, (1, 2, 0))
    corners = jnp.stack([jnp.swapaxes(rows[surface.faces[:, corner]], 0, 1) for corner in range(3)])
    wrapped = jax.vmap(partial(under_wrap, surface))(clothes)
    hulls = jax.vmap(extents)(vertices, wrapped) + clothes.ease[:, None]
    shift = jax.vmap(lambda key: jax.random.uniform(key, (len(PLACES),)))(shift_keys)
    origins, directions = (jnp.transpose(array, (2, 1, 0)) for array in (rays.origins, rays.directions))
    widths = jnp.transpose(
        silhouette_widths(corners, origins, directions, jnp.asarray(rays.longest), shift.T, hulls.T), (2, 1, 0)
    )
    faulty = jax.vmap(partial(_with_faults, settings))(widths, rays, scenes.border, keys.detector, fault_keys)
    return SimulatedOutline(faulty, clothes.declared)


@full_precision
def _picture_of(surface: Surface, scene: Scene, clothes: Clothes) -> Float[Array, "vertices 2"]:
    """The dressed body's vertices in the picture, then the skirt's."""
    rest = jnp.asarray(surface.vertices) + (jnp.asarray(surface.shapedirs) @ scene.betas).reshape(-1, 3)
    if surface.posedirs.shape[-1]:
        rest = rest + (jnp.asarray(surface.posedirs) @ scene.pose_features).reshape(-1, 3)
    weights = jnp.asarray(surface.weights)
    blended = (weights @ scene.rotations.reshape(-1, 9)).reshape(-1, 3, 3)
    bare = jnp.sum(blended * rest[:, None], axis=-1) + weights @ scene.offsets
    normals = jnp.sum(blended * jnp.asarray(surface.normals)[:, None], axis=-1)
    dressed = bare + thickness_of(surface, clothes, rest)[:, None] * normals
    return project(
        jnp.concatenate([dressed, skirt_vertices(surface, clothes, dressed, normals)]), scene.inverse_distance
    )


def _with_faults(
    settings: OutlineSettings,
    widths: Float[Array, "places 2"],
    rays: OutlineRays,
    border: Float[Array, "3"],
    detector_key: Array,
    key: Array,
) -> Float[Array, "places 2"]:
    shared, keys = iter(jax.random.split(detector_key, 2)), iter(jax.random.split(key, 16))
    unit = REFERENCE_STATURE_M
    segments, place_count = len(_SEGMENTS), len(PLACES)
    low, high = (np.log(level) for level in settings.noise)
    level = unit * jnp.exp(jax.random.uniform(next(shared), minval=low, maxval=high))
    dilation = unit * settings.dilation * jax.random.normal(next(shared))

    directions = jnp.stack([rays.directions, -jnp.asarray(rays.directions)], axis=1)
    origins = jnp.asarray(rays.origins)[:, None]
    middle = jnp.mean(origins, axis=(0, 1)) + 0.25 * unit * jax.random.normal(next(keys), (2,))
    radius = unit * jax.random.uniform(next(keys), minval=settings.occluder_size[0], maxval=settings.occluder_size[1])
    enters, leaves = _through_disc(origins, directions, middle, radius)
    hidden = jax.random.bernoulli(next(keys), settings.occluder_rate)
    widths = jnp.where(hidden & (enters < 0) & (leaves > 0), jnp.nan, widths)
    widths = jnp.where(hidden & (enters >= 0), jnp.minimum(widths, enters), widths)
    carried = ~hidden & jax.random.bernoulli(next(keys), settings.carried_rate)
    widths = jnp.where(carried & (enters <= widths) & (leaves > widths), leaves, widths)

    common = jax.random.normal(next(keys), (segments, 2))[_SEGMENT_OF_PLACE]
    own = jax.random.normal(next(keys), (place_count, 2))
    noise = np.sqrt(settings.common_share) * common + np.sqrt(1 - settings.common_share) * own
    widths = jnp.maximum(widths + dilation + level * noise, 0.0)
    cut = jax.random.bernoulli(next(keys), settings.hole_rate, (place_count, 2))
    widths = jnp.where(cut, widths * jax.random.uniform(next(keys), (place_count, 2)), widths)

    lost = jax.random.bernoulli(next(keys), settings.lost_part_rate, (segments,))[_SEGMENT_OF_PLACE]
    ends = jax.random.bernoulli(next(keys), settings.lost_end_rate) & _AT_AN_END
    widths = jnp.where((lost | ends | ~jnp.asarray(rays.usable))[:, None], jnp.nan, widths)
    widths = jnp.minimum(widths, rays.longest)
    # A ray that leaves the picture before the mask is not seen.
    reach = (origins + widths[..., None] * directions) @ border[:2]
    return jnp.where(reach > border[2], jnp.nan, widths)


def _through_disc(
    origins: Float[Array, "places 1 2"],
    directions: Float[Array, "places 2 2"],
    middle: Float[Array, "2"],
    radius: Float[Array, ""],
) -> tuple[Float[Array, "places 2"], Float[Array, "places 2"]]:
    """Where rays enter and leave a disc; infinite and −1 if they miss it."""
    away = middle - origins
    along = jnp.sum(away * directions, axis=-1)
    squared = radius**2 - (jnp.sum(away**2, axis=-1) - along**2)
    half = jnp.sqrt(jnp.maximum(squared, 0.0))
    meets = (squared > 0) & (along + half > 0)
    return jnp.where(meets, along - half, jnp.inf), jnp.where(meets, along + half, -1.0)
