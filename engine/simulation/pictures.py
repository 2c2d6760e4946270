"""Simulated pictures of simulated people, one from each key.

A keypoint depends on few joints: only the (keypoint, joint) pairs with a weight, its *parts*, are computed
(``engine.body.keypoint_body`` has the formula).
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from engine.batching import AnyArray
from engine.body.keypoint_body import KeypointBody
from engine.body.model import forward_kinematics, full_precision, pose_features
from engine.body.rotations import rotation_matrix
from engine.simulation.detectors import detect, draw_seen
from engine.simulation.outlines import Keys, Scene, SimulatedOutline, simulate_outlines
from engine.simulation.poses import PosePool, draw_pose
from engine.simulation.settings import SimulationSettings
from engine.simulation.surface import Surface
from engine.simulation.views import draw_inverse_distance, draw_orientation, project


class SimulatedPicture(NamedTuple):
    """Detected keypoints, and the truth behind them."""

    keypoints: Float[Array, "*images keypoints 2"]
    """Metres at the pelvis' depth, from the pelvis; y down."""
    confidence: Float[Array, "*images keypoints"]
    """0 if not seen."""
    level: Float[Array, "*images"]
    """The assumed noise level, person heights."""
    betas: Float[Array, "*images betas"]
    depths: Float[Array, "*images keypoints"]
    """Depth towards the camera, metres from the pelvis."""
    outline: SimulatedOutline | None = None
    """None if outlines are not simulated."""


class Simulator(eqx.Module):
    """A body and poses, laid out for drawing many pictures. ``make_simulator`` makes it."""

    body: KeypointBody
    pool: PosePool
    part_offsets: Float[AnyArray, "parts 3"]
    part_shapedirs: Float[AnyArray, "coordinates betas"]
    """Rows are the parts' x, y, z one after another."""
    part_posedirs: Float[AnyArray, "coordinates pose_features"]
    part_masses: Float[AnyArray, " parts"]
    part_sums: Float[AnyArray, "keypoints parts"]
    """1 if a part belongs to a keypoint, else 0."""
    surface: Surface | None
    """None if outlines are not simulated."""
    part_joints: tuple[int, ...] = eqx.field(static=True)
    bone_joints: tuple[int, ...] = eqx.field(static=True)
    """The joint that carries most of each keypoint."""


def make_simulator(body: KeypointBody, pool: PosePool, surface: Surface | None = None) -> Simulator:
    """Lay out a body and poses.

    Args:
        surface: of the same body, for outlines.
    """
    masses, offsets = np.asarray(body.masses), np.asarray(body.offsets)
    shapedirs, posedirs = np.asarray(body.offset_shapedirs), np.asarray(body.offset_posedirs)
    carried = np.abs(masses) + np.abs(offsets).sum(-1) + np.abs(shapedirs).sum((2, 3)) + np.abs(posedirs).sum((2, 3))
    keypoints, joints = np.nonzero(carried)
    return Simulator(
        body=body,
        pool=pool,
        part_offsets=offsets[keypoints, joints],
        part_shapedirs=shapedirs[keypoints, joints].reshape(3 * len(joints), -1),
        part_posedirs=posedirs[keypoints, joints].reshape(3 * len(joints), -1),
        part_masses=masses[keypoints, joints],
        part_sums=(np.arange(len(masses))[:, None] == keypoints).astype(np.float32),
        surface=surface,
        part_joints=tuple(int(joint) for joint in joints),
        bone_joints=tuple(int(joint) for joint in np.argmax(masses, axis=1)),
    )


@full_precision
def _simulate_picture(
    simulator: Simulator, settings: SimulationSettings, betas: Float[Array, " betas"], detector_key: Array, key: Array
) -> tuple[SimulatedPicture, Scene]:
    """One picture of one person without its outline; the same keys give the same picture."""
    body = simulator.body
    pose_key, view_key, lens_key, seen_key, picture_key = jax.random.split(key, 5)
    pose, tilt = draw_pose(simulator.pool, settings.pose, pose_key)
    local = jnp.concatenate([draw_orientation(settings.view, tilt, view_key)[None], jax.vmap(rotation_matrix)(pose)])
    rest_joints = body.joints + body.joint_shapedirs @ betas
    skeleton = forward_kinematics(local, rest_joints, body.parents)
    moved = jnp.asarray(simulator.part_shapedirs) @ betas
    if simulator.part_posedirs.shape[-1]:
        moved = moved + jnp.asarray(simulator.part_posedirs) @ pose_features(local)
    joints = np.array(simulator.part_joints)
    offsets = simulator.part_offsets + moved.reshape(-1, 3)
    turned = jnp.sum(skeleton.rotations[joints] * offsets[:, None], axis=-1)
    parts = turned + jnp.asarray(simulator.part_masses)[:, None] * skeleton.positions[joints]
    points = jnp.asarray(simulator.part_sums) @ parts

    inverse_distance = draw_inverse_distance(settings.view, lens_key)
    seen_at = project(points, inverse_distance)
    visible = draw_seen(body.schema, settings.visibility, seen_at, seen_key)
    bones = skeleton.rotations[np.array(simulator.bone_joints), :2] * jnp.array([1.0, -1.0])[:, None]
    found = detect(body.schema, settings.detector, seen_at, bones, visible.seen, detector_key, picture_key)
    scene = Scene(
        betas=betas,
        pose_features=pose_features(local),
        rotations=skeleton.rotations,
        offsets=skeleton.positions - jnp.sum(skeleton.rotations * rest_joints[:, None], axis=-1),
        inverse_distance=inverse_distance,
        points=found.points,
        confidence=found.exactness**2,
        border=visible.border,
    )
    return SimulatedPicture(found.points, found.exactness**2, found.level, betas, points[:, 2]), scene


def simulate_sets(
    simulator: Simulator, settings: SimulationSettings, key: Array, sizes: tuple[int, int, int]
) -> SimulatedPicture:
    """Pictures of several people by several detectors; the same key gives the same pictures.

    Args:
        sizes: numbers of detectors, people of each detector and pictures of each person; the result's leading axes.
            The first detectors, by the share in the settings, come with outlines if the simulator has a surface.
    """
    detectors, people, pictures = sizes
    shape_key, detector_key, picture_key = jax.random.split(key, 3)
    betas = jax.random.normal(shape_key, (detectors * people, simulator.body.beta_count))
    detector_keys = jnp.repeat(jax.random.split(detector_key, detectors), people * pictures, axis=0)
    picture_keys = jax.random.split(picture_key, detectors * people * pictures)
    # The batch is flat: three nested ones do not compile.
    found, scenes = jax.vmap(partial(_simulate_picture, simulator, settings))(
        jnp.repeat(betas, pictures, axis=0), detector_keys, picture_keys
    )
    if simulator.surface is not None:
        first = round(settings.outline.share * detectors) * people * pictures
        person_keys = jnp.repeat(jax.random.split(jax.random.fold_in(key, 1), detectors * people), pictures, axis=0)
        own = Keys(*(jax.vmap(partial(jax.random.fold_in, data=1))(keys[:first])
                     for keys in (picture_keys, person_keys, detector_keys)))  # fmt: skip
        shown = jax.tree.map(lambda array: array[:first], scenes)
        outlines = simulate_outlines(simulator.surface, settings.outline, simulator.body.schema, shown, own)
        absent = jax.tree.map(lambda array: jnp.full((len(picture_keys) - first, *array.shape[1:]), jnp.nan), outlines)
        found = found._replace(outline=jax.tree.map(lambda *parts: jnp.concatenate(parts), outlines, absent))
    return jax.tree.map(lambda array: array.reshape(*sizes, *array.shape[1:]), found)


def simulate(simulator: Simulator, settings: SimulationSettings, key: Array, count: int) -> SimulatedPicture:
    """``count`` pictures, each of another person by another detector; the same key gives the same pictures."""
    return jax.tree.map(lambda array: array[:, 0, 0], simulate_sets(simulator, settings, key, (count, 1, 1)))
