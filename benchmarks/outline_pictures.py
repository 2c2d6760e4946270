"""Known people in known clothes: masks drawn from the full mesh, reduced to widths by the code that users run.

``dressed_people``: the network was trained on a coarse mesh, ten shape components and clothes of ``engine.simulation``.
Here are the full mesh, all shape components of a body, and clothes of other laws: each part's thickness is drawn anew
for every picture. Dresses that training does not know cover several parts over ordinary clothes; in the picture they
are the convex hull of these parts, and of a hem, which is a circle around the knees. The boundary is displaced by a
smooth random field.

``simulated_people``: people in the simulation's own loose clothes, skirts and coats, with its segmenters' errors; only
the body and the poses are not those of the training.

The body may be another one than the network's (``python -m adapters.bodies.makers.anny_export --seed``); ``girths``
compare shapes of different bodies.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull

from adapters.keypoints.outlines.measure import measure_outline
from benchmarks.synthetic import PoseSet, SyntheticPictures, SyntheticSettings, make_pictures
from engine.body.keypoint_body import reduce_body
from engine.body.model import BodyModel, pose_body
from engine.body.schemas import COCO_17
from engine.picture.outline_places import PLACES
from engine.simulation.pictures import make_simulator, simulate_sets
from engine.simulation.poses import make_pool
from engine.simulation.settings import (
    ClothesSettings,
    DetectorSettings,
    OutlineSettings,
    PoseSettings,
    SimulationSettings,
    ViewSettings,
    VisibilitySettings,
)
from engine.simulation.surface import make_surface

PICTURES = 8
NOISE = 0.01
"""Of keypoints, in heights of the box around the person."""
_SEED = 15
HEIGHT_PX = 512.0
_SIZE_PX = (1100, 1100)
_WAVES = 24
WAVE_LENGTHS = (0.05, 0.3)
"""Of the boundary noise, person heights; logarithms are uniform."""
_CHUNK = 25
_HEM_POINTS = 48
_STEP_PX = 0.9
"""Distance between points of a face."""
_PARTS = ((0, 3), (6, 9, 13, 14), (1,), (2,), (4,), (5,), (16,), (17,), (18,), (19,))
"""Joints of the parts with one thickness each; hands, feet and the head are bare."""


@dataclass(frozen=True)
class Dress:
    """Clothes of one row of the results."""

    name: str
    thickness_m: float
    """Standard deviation of the half-normal thickness of a part."""
    tube: tuple[int, ...] = ()
    """Joints of the parts that a skirt or a coat wraps."""
    hem_m: tuple[float, float] | None = None
    """Least and greatest radius of a hem around the knees, uniform."""


DRESSES = (
    Dress("none", 0.0),
    Dress("tight, 3 mm", 0.003),
    Dress("ordinary, 15 mm", 0.015),
    Dress("tube around the legs", 0.015, tube=(1, 2)),
    Dress("tube around trunk and thighs", 0.015, tube=(0, 1, 2, 3, 6, 9)),
    Dress("long dress", 0.015, tube=(0, 1, 2, 3, 4, 5, 6, 9)),
    Dress("flared skirt", 0.015, tube=(0, 1, 2, 3), hem_m=(0.15, 0.4)),
    Dress("wide top", 0.015, tube=(3, 6, 9, 13, 14, 16, 17)),
)
_NO_TUBE = ClothesSettings(
    kinds=((0.015, 1.0),), other_kind_rate=0.0, skirt_rate=0.0, coat_rate=0.0, wrap_rate=0.0
)  # fmt: skip
SIMULATED = {
    "loose, 30 mm": replace(_NO_TUBE, kinds=((0.03, 1.0),)),
    "skirts of the simulation": replace(_NO_TUBE, skirt_rate=1.0),
    "coats of the simulation": replace(_NO_TUBE, coat_rate=1.0),
    "wraps of the simulation": replace(_NO_TUBE, wrap_rate=1.0),
}
BOUNDARY_NOISE = 0.005
"""Person heights."""


class Dressed(NamedTuple):
    """Pictures of known people, person by person."""

    keypoints_px: Float[np.ndarray, "images keypoints 2"]
    confidence: Float[np.ndarray, "images keypoints"]
    outlines_px: dict[str, Float[np.ndarray, "images places 2"]]
    """By name of dress."""
    betas: Float[np.ndarray, "people betas"]
    """Of ``body``."""
    body: BodyModel


def drawn_pictures(poses: PoseSet, people: int, body: BodyModel) -> SyntheticPictures:
    """The pictures of ``dressed_people`` but for their outlines."""
    settings = SyntheticSettings(
        people=people, pictures=PICTURES, seed=_SEED, noise_level=NOISE, noise_unit="bounding_box",
        picture_size_px=_SIZE_PX, person_height_px=(HEIGHT_PX, HEIGHT_PX * 1.001),
    )  # fmt: skip
    return make_pictures(reduce_body(body, COCO_17), poses, settings)


def dressed_people(poses: PoseSet, people: int, body: BodyModel, cache: Path | None = None) -> Dressed:
    """Draw the pictures; a cache file keeps the widths, which take a tenth of a second of one core each.

    Args:
        body: the people's; all of its shape components vary.
        cache: an .npz of a run with the same people, body and poses.
    """
    drawn = drawn_pictures(poses, people, body)
    keypoints = drawn.keypoints_px.reshape(people * PICTURES, -1, 2)
    confidence = drawn.confidence.reshape(people * PICTURES, -1)
    outlines: dict[str, np.ndarray] = {}
    if cache is not None and cache.exists():
        with np.load(cache, allow_pickle=False) as stored:
            if np.array_equal(stored["keypoints_px"], keypoints):
                outlines = {name: stored[name] for name in stored.files if name != "keypoints_px"}
    for dress in DRESSES:
        if dress.name not in outlines:
            outlines[dress.name] = _outlines(body, drawn, dress)
            if cache is not None:
                np.savez(cache, keypoints_px=keypoints, **outlines)  # pyright: ignore[reportArgumentType]
    return Dressed(keypoints, confidence, outlines, drawn.betas, body)


def simulated_people(poses: PoseSet, people: int, body: BodyModel, level: float, clothes: ClothesSettings) -> Dressed:
    """People whom ``engine.simulation`` draws, fully seen and with keypoint noise alone."""
    pool = make_pool(poses.body_pose, poses.root_orient)
    simulator = make_simulator(reduce_body(body, COCO_17), pool, make_surface(body))
    settings = SimulationSettings(
        pose=PoseSettings(jitter=0.0, blend_rate=0.0, exchange_rate=0.0, sideways_leg_rate=0.0),
        view=ViewSettings(perspective_rate=0.0),
        detector=DetectorSettings(
            level=(0.999 * level, 1.001 * level), common_level=level, misjudged=0.0, own_confidence_rate=0.0,
            habit_rate=0.0, tail_rate=0.0, rounded_rate=0.0, swapped_rate=0.0, foreign_rate=0.0,
        ),
        visibility=VisibilitySettings(schema_rates=(("coco17", 1.0),), complete_rate=1.0),
        outline=OutlineSettings(share=1.0, clothes=clothes, noise=(0.999 * BOUNDARY_NOISE, 1.001 * BOUNDARY_NOISE)),
    )  # fmt: skip
    draw = jax.jit(lambda key: simulate_sets(simulator, settings, key, (1, people, PICTURES)))
    drawn = jax.tree.map(lambda array: np.asarray(array).reshape(-1, *array.shape[3:]), draw(jax.random.key(_SEED)))
    assert drawn.outline is not None
    return Dressed(
        HEIGHT_PX * drawn.keypoints,
        drawn.confidence,
        {"": HEIGHT_PX * drawn.outline.widths},
        drawn.betas[::PICTURES],
        body,
    )


def _outlines(body: BodyModel, drawn: SyntheticPictures, dress: Dress) -> Float[np.ndarray, "images places 2"]:
    count = drawn.pose.shape[0] * PICTURES
    betas = np.repeat(drawn.betas, PICTURES, axis=0)
    pose = drawn.pose.reshape(count, -1, 3)
    scale = np.asarray(drawn.camera.scale).reshape(count)
    translation = np.asarray(drawn.camera.translation).reshape(count, 2)
    keypoints = drawn.keypoints_px.reshape(count, -1, 2)
    generator = np.random.default_rng([_SEED, int(1e6 * dress.thickness_m), len(dress.tube)])
    thickness = _outwards(body) * dress.thickness_m * np.abs(generator.normal(size=(count, len(_PARTS))))
    run = jax.jit(jax.vmap(partial(_dressed_vertices, body)))
    faces = np.asarray(body.faces)
    joint_of_vertex = np.argmax(np.asarray(body.weights), axis=1)
    widths = np.full((count, len(PLACES), 2), np.nan, np.float32)
    for start in range(0, count, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, count))
        padded = np.resize(rows, _CHUNK)
        posed = run(*(jnp.asarray(a[padded], jnp.float32) for a in (betas, pose, thickness)))
        vertices, joints = (np.asarray(points) for points in posed)
        for place, row in enumerate(rows):
            hem = np.zeros((0, 3)) if dress.hem_m is None else _hem(joints[place], generator.uniform(*dress.hem_m))
            image = np.concatenate([vertices[place], hem])[:, :2] * scale[row] * [1, -1] + translation[row]
            image = image + BOUNDARY_NOISE * HEIGHT_PX * _smooth_field(generator, image / HEIGHT_PX)
            wrapped = np.concatenate([np.isin(joint_of_vertex, dress.tube), np.ones(len(hem), bool)])
            mask = _mask(image, faces, image[wrapped] if dress.tube else None)
            widths[row] = measure_outline(mask, keypoints[row], np.ones(len(COCO_17), bool), COCO_17)
    return widths


def _dressed_vertices(
    body: BodyModel,
    betas: Float[Array, " betas"],
    pose: Float[Array, "joints 3"],
    thickness: Float[Array, " parts"],
) -> tuple[Float[Array, "vertices 3"], Float[Array, "joints 3"]]:
    posed = pose_body(body, betas, pose)
    vertices = posed.vertices
    corners = vertices[body.faces]
    across = jnp.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = jnp.zeros_like(vertices)
    for corner in range(3):
        normals = normals.at[body.faces[:, corner]].add(across)
    normals = normals / jnp.maximum(jnp.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    parts = body.weights @ clothes_parts(body.joint_count)
    return vertices + (parts @ thickness)[:, None] * normals, posed.joints


def clothes_parts(joint_count: int) -> Float[np.ndarray, "joints parts"]:
    """1 where a joint belongs to a part with one thickness of clothes."""
    members = np.zeros((joint_count, len(_PARTS)), np.float32)
    for part, joints in enumerate(_PARTS):
        members[list(joints), part] = 1.0
    return members


def _hem(joints: Float[np.ndarray, "joints 3"], radius_m: float) -> Float[np.ndarray, "points 3"]:
    """A circle around the middle of the knees, across the line from the pelvis to it."""
    middle = joints[[4, 5]].mean(axis=0)
    first, second = np.linalg.svd((middle - joints[0])[None])[2][1:]
    angles = np.linspace(0, 2 * np.pi, _HEM_POINTS, endpoint=False)
    return middle + radius_m * (np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * second)


def _outwards(body: BodyModel) -> float:
    """1 if the body's faces are turned outwards, else −1: the sign of the enclosed volume."""
    first, second, third = (np.asarray(body.v_template)[np.asarray(body.faces)[:, corner]] for corner in range(3))
    return float(np.sign(np.sum(first * np.cross(second, third))))


def _smooth_field(
    generator: np.random.Generator, places: Float[np.ndarray, "points 2"]
) -> Float[np.ndarray, "points 2"]:
    """A random field of unit variance with waves of ``WAVE_LENGTHS``."""
    lengths = np.exp(generator.uniform(np.log(WAVE_LENGTHS[0]), np.log(WAVE_LENGTHS[1]), _WAVES))
    angles, phases = generator.uniform(0, 2 * np.pi, (2, _WAVES))
    waves = 2 * np.pi / lengths * np.stack([np.cos(angles), np.sin(angles)])
    amplitudes = generator.normal(size=(_WAVES, 2)) * np.sqrt(2 / _WAVES)
    # Single precision suffices for pixels and takes a quarter of the time.
    angles_at = (places @ waves + phases).astype(np.float32)
    return np.cos(angles_at) @ amplitudes.astype(np.float32)


def _mask(
    image: Float[np.ndarray, "vertices 2"], faces: np.ndarray, hull: Float[np.ndarray, "points 2"] | None
) -> UInt8[np.ndarray, "height width"]:
    """The silhouette of a closed mesh: points of its faces, closer together than pixels.

    Either half of the faces, those turned towards the camera or away from it, covers the silhouette.
    """
    picture = Image.new("L", _SIZE_PX)
    if hull is not None:
        ImageDraw.Draw(picture).polygon(hull[ConvexHull(hull).vertices].reshape(-1).tolist(), fill=255)
    mask = np.array(picture)
    corners = image[faces]
    edges = corners[:, 1:] - corners[:, :1]
    half = edges[:, 0, 0] * edges[:, 1, 1] > edges[:, 0, 1] * edges[:, 1, 0]
    corners = corners[half]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(axis=1)
    steps = np.ceil(longest / _STEP_PX).astype(int)
    for count in np.unique(steps):
        first, second = np.divmod(np.arange((count + 1) ** 2), count + 1)
        inside = first + second <= count
        shares = np.stack([first, second, count - first - second], axis=-1)[inside] / max(count, 1)
        points = np.rint(np.tensordot(corners[steps == count], shares, axes=(1, 1))).astype(np.int32)
        x, y = np.clip(np.moveaxis(points, 1, 0).reshape(2, -1), 0, np.array(_SIZE_PX, np.int32)[:, None] - 1)
        mask[y, x] = 255
    return mask
