"""Synthetic pictures: people of known shape, in known poses, seen by known cameras, with the faults of a detector.

Body axes are x to the subject's left, y up, z to the front; the camera looks along −z at a subject who is not turned,
so the subject's left is at larger image x. The orientation of the subject in the camera's frame is

    R = R_z(roll) R_x(pitch) R_y(yaw) R_posture R_root        (``engine.simulation.views``)

Views, projections, mirrored poses and the unit of noise are those of ``engine.simulation``, in double precision; draws
and faults are made here, one cause at a time, because benchmarks change one and keep the others. R_root is the pelvis'
own tilt, with the pose; R_posture is upright, lying on the ground or upside down; yaw turns the subject about the
vertical; a positive pitch is a camera that looks down. Weak perspective: s·(x, −y) + t. Perspective from a distance of
d metres: (x, −y)·s·d/(d − z) + t, the same to first order.

The noise of keypoint k is Gaussian with σ_k = level × person size × OKS sigma_k / 0.08, as the engine assumes it; a
bias of the detector or of a person's clothes is in the same unit, a smooth function of the side that the camera sees.

Everything is drawn from one seed through independent streams, one per cause: pictures that differ only in noise level,
say, show the same people in the same poses. The first people stay the same when more are asked for.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.spatial.transform import Rotation

from adapters.bodies.makers.pose_prior_export import HELD_OUT_CLIPS, CapturedPoses
from engine.body.keypoint_body import KeypointBody, pose_keypoints, pose_skeleton
from engine.body.pose_prior import PosePrior, sample
from engine.picture.cameras import WeakPerspective
from engine.picture.noise import NoiseModel
from engine.picture.observation import REFERENCE_STATURE_M
from engine.simulation.poses import mirror_pose
from engine.simulation.views import lying, orientation, project

LEGS = tuple(
    f"{side}_{part}" for side in ("left", "right") for part in ("knee", "ankle", "big_toe", "small_toe", "heel")
)
"""Out of the picture when it is cut off above the knees."""

# The order is part of the format: a new stream goes to the end, or every benchmark's pictures change.
_STREAMS = (
    "betas", "poses", "mirror", "yaw", "pitch", "roll", "lying", "size", "place", "noise", "clothes", "detector",
    "outliers", "gross", "missing", "labels",
)  # fmt: skip


Generators = Mapping[str, np.random.Generator]
"""One for each of the streams."""


@dataclass(frozen=True)
class PoseSet:
    """Poses to choose from."""

    body_pose: Float[np.ndarray, "poses 23 3"]
    """Radians."""
    root_orient: Float[np.ndarray, "poses 3"]
    """Tilt of the pelvis in a world with y up, radians: towards z there is no heading."""


@dataclass(frozen=True)
class SyntheticSettings:
    """What the pictures look like. Angles in degrees, as people choose them."""

    people: int = 16
    pictures: int = 8
    """Of each person."""
    seed: int = 0
    beta_deviation: float = 1.0
    """Betas ~ N(0, this²)."""
    yaw_range: tuple[float, float] = (-180.0, 180.0)
    """0 faces the camera, 90 faces the right edge of the picture, 180 is seen from behind."""
    pitch_deviation: float = 15.0
    roll_deviation: float = 5.0
    posture: Literal["upright", "lying", "upside_down"] = "upright"
    picture_size_px: tuple[int, int] = (1280, 960)
    """Width and height."""
    person_height_px: tuple[float, float] = (300.0, 700.0)
    """What a standing person of average stature would measure; log-uniform between the two."""
    distance_in_statures: float | None = None
    """Between camera and pelvis; None is weak perspective."""
    noise_level: float = 0.01
    """Standard deviation of a typical joint (OKS sigma 0.08), as a fraction of the person's size."""
    noise_unit: Literal["person_height", "bounding_box"] = "person_height"
    """``person_height`` is the engine's unit; ``bounding_box`` the height of the box around the keypoints."""
    clothes_bias_level: float = 0.0
    """Bias of each person's own, in the unit of the noise; repeats where the same side is seen."""
    detector_bias_level: float = 0.0
    """Bias that all people share."""
    outlier_rate: float = 0.0
    outlier_deviation: float = 0.2
    """How far outliers are off, as a fraction of the person's size."""
    missing_rate: float = 0.0
    hidden_keypoints: tuple[str, ...] = ()
    """Never seen; ``LEGS`` cuts the legs off."""
    swapped_label_rate: float = 0.0
    """How often left and right are swapped in a whole picture."""

    def __post_init__(self) -> None:
        if min(self.people, self.pictures) < 1:
            raise ValueError(f"{self.people} people with {self.pictures} pictures each: both must be at least 1")
        if self.distance_in_statures is not None and self.distance_in_statures < 1.5:
            raise ValueError(
                f"distance_in_statures is {self.distance_in_statures}: nearer than 1.5, limbs reach the camera"
            )


@dataclass(frozen=True)
class SyntheticPictures:
    """Pictures and the truth behind them."""

    keypoints_px: Float[np.ndarray, "people pictures keypoints 2"]
    """As a detector would give them; 0 where not seen."""
    confidence: Float[np.ndarray, "people pictures keypoints"]
    """1 seen, 0 not seen. Outliers are not marked."""
    betas: Float[np.ndarray, "people betas"]
    pose: Float[np.ndarray, "people pictures joints 3"]
    """Radians, the global orientation in the camera's frame first."""
    camera: WeakPerspective
    """Pixels per metre at the pelvis' depth, and where the body's origin is seen."""
    distance_m: Float[np.ndarray, " people"]
    """Infinite for weak perspective. The focal length in pixels is ``camera.scale`` times this."""
    true_keypoints_px: Float[np.ndarray, "people pictures keypoints 2"]
    """Without noise, bias and outliers; of hidden keypoints too."""
    keypoints_m: Float[np.ndarray, "people pictures keypoints 3"]
    """In the camera's orientation, origin at the body's."""
    joints_m: Float[np.ndarray, "people pictures joints 3"]
    person_height_px: Float[np.ndarray, "people pictures"]
    outlier: Bool[np.ndarray, "people pictures keypoints"]
    labels_swapped: Bool[np.ndarray, "people pictures"]


def held_out_poses(captured: CapturedPoses, clips: Collection[str] = HELD_OUT_CLIPS) -> PoseSet:
    """The poses of clips that the shipped prior has never seen.

    Raises:
        ValueError: the capture has none of the clips.
    """
    chosen = np.isin(captured.clips, list(clips))
    if not chosen.any():
        raise ValueError(f"none of the clips {', '.join(clips)} is among these poses")
    orient = Rotation.from_rotvec(captured.root_orient[chosen])
    # The heading is the turn about the vertical that leaves the smallest tilt (swing-twist decomposition); hanging
    # exactly upside down has none, and the small number makes it zero.
    heading = orient.as_quat() * [0, 1, 0, 1] + [0, 0, 0, 1e-12]
    tilt = Rotation.from_quat(heading).inv() * orient
    return PoseSet(captured.poses[chosen].reshape(-1, 23, 3), tilt.as_rotvec())


def sampled_poses(prior: PosePrior, count: int = 1000, seed: int = 0) -> PoseSet:
    """Poses from the prior, for machines without the motion capture; the pelvis is upright."""
    drawn = jax.vmap(lambda key: sample(prior, key))(jax.random.split(jax.random.key(seed), count))
    return PoseSet(np.asarray(drawn, np.float64), np.zeros((count, 3)))


def make_pictures(body: KeypointBody, poses: PoseSet, settings: SyntheticSettings) -> SyntheticPictures:
    """Draw people, poses, views and faults; the same seed gives the same pictures."""
    streams = dict(zip(_STREAMS, np.random.SeedSequence(settings.seed).spawn(len(_STREAMS)), strict=True))
    draw = {name: np.random.default_rng(stream) for name, stream in streams.items()}
    count = (settings.people, settings.pictures)

    betas = settings.beta_deviation * draw["betas"].standard_normal((settings.people, body.beta_count))
    body_pose, root = _choose_poses(poses, count, draw)
    views, yaw = _draw_views(settings, count, draw)
    with jax.enable_x64(True):
        turns = np.asarray(_orientations(*views, root.reshape(-1, 3)))
    pose = np.concatenate([Rotation.from_matrix(turns).as_rotvec().reshape(*count, 1, 3), body_pose], axis=2)
    flat_betas = np.repeat(betas, settings.pictures, axis=0)
    posed = _pose_all(body, jnp.asarray(flat_betas), jnp.asarray(pose.reshape(-1, *pose.shape[2:])))
    keypoints_m, joints_m = (np.asarray(points, np.float64).reshape(*count, -1, 3) for points in posed)

    smallest, largest = np.log(settings.person_height_px)
    person_height_px = np.exp(draw["size"].uniform(smallest, largest, count))
    scale = person_height_px / REFERENCE_STATURE_M
    distance_m = (
        np.inf if settings.distance_in_statures is None else settings.distance_in_statures * REFERENCE_STATURE_M
    )
    centre = np.array(settings.picture_size_px) * draw["place"].uniform(0.4, 0.6, (*count, 2))
    with jax.enable_x64(True):
        plane = np.asarray(_projections(keypoints_m.reshape(-1, *keypoints_m.shape[2:]), np.array(1 / distance_m)))
    relative_px = scale[..., None, None] * plane.reshape(*count, -1, 2)
    # The middle of the person, not the pelvis, is in the middle of the picture.
    translation = centre - 0.5 * (relative_px.min(axis=2) + relative_px.max(axis=2))
    true_px = relative_px + translation[:, :, None]

    unit_px = person_height_px if settings.noise_unit == "person_height" else np.ptp(true_px[..., 1], axis=2)
    seen_px, outlier = _disturb(body, settings, true_px, unit_px, yaw, draw)
    hidden = np.isin(body.schema.keypoint_names, settings.hidden_keypoints)
    missing = hidden | (draw["missing"].random((*count, len(hidden))) < settings.missing_rate)
    swapped = draw["labels"].random(count) < settings.swapped_label_rate
    confidence = np.where(missing, 0.0, 1.0)
    seen_px = np.where(missing[..., None], 0.0, seen_px)
    swap = list(body.schema.swap)
    return SyntheticPictures(
        keypoints_px=np.where(swapped[..., None, None], seen_px[:, :, swap], seen_px),
        confidence=np.where(swapped[..., None], confidence[:, :, swap], confidence),
        betas=betas,
        pose=pose,
        camera=WeakPerspective(jnp.asarray(scale), jnp.asarray(translation)),
        distance_m=np.full(settings.people, distance_m),
        true_keypoints_px=true_px,
        keypoints_m=keypoints_m,
        joints_m=joints_m,
        person_height_px=person_height_px,
        outlier=np.where(swapped[..., None], outlier[..., swap], outlier),
        labels_swapped=swapped,
    )


@jax.jit
def _orientations(
    roll: Float[Array, " images"],
    pitch: Float[Array, " images"],
    yaw: Float[Array, " images"],
    posture: Float[Array, "images 3 3"],
    tilt: Float[Array, "images 3"],
) -> Float[Array, "images 3 3"]:
    return jax.vmap(orientation)(roll, pitch, yaw, posture, tilt)


@jax.jit
def _projections(
    keypoints_m: Float[Array, "images keypoints 3"], inverse_distance: Float[Array, ""]
) -> Float[Array, "images keypoints 2"]:
    return jax.vmap(project, in_axes=(0, None))(keypoints_m, inverse_distance)


@jax.jit
def _lying(side: Float[Array, " images"], spin: Float[Array, " images"]) -> Float[Array, "images 3 3"]:
    return jax.vmap(lying)(side, spin)


@jax.jit
def _pose_all(
    body: KeypointBody, betas: Float[Array, "images betas"], pose: Float[Array, "images joints 3"]
) -> tuple[Float[Array, "images keypoints 3"], Float[Array, "images joints 3"]]:
    return jax.vmap(lambda b, p: (pose_keypoints(body, b, p), pose_skeleton(body, b, p).positions))(betas, pose)


def _choose_poses(
    poses: PoseSet, count: tuple[int, int], draw: Generators
) -> tuple[Float[np.ndarray, "people pictures 23 3"], Float[np.ndarray, "people pictures 3"]]:
    """Each pose once before any comes again; half of them mirrored. Also gives the pelvis' tilt."""
    available = len(poses.body_pose)
    rounds = -(-count[0] * count[1] // available)
    order = np.concatenate([draw["poses"].permutation(available) for _ in range(rounds)])
    chosen = order[: count[0] * count[1]].reshape(count)
    body_pose, root = poses.body_pose[chosen], poses.root_orient[chosen]
    mirrored, mirrored_root = mirror_pose(body_pose, root)
    flip = draw["mirror"].random(count) < 0.5
    return np.where(flip[..., None, None], mirrored, body_pose), np.where(flip[..., None], mirrored_root, root)


def _draw_views(
    settings: SyntheticSettings, count: tuple[int, int], draw: Generators
) -> tuple[tuple[np.ndarray, ...], Float[np.ndarray, "people pictures"]]:
    """Roll, pitch, yaw and posture of all pictures in a row; and the yaw of each picture, degrees."""
    yaw = draw["yaw"].uniform(*settings.yaw_range, count)
    pitch = settings.pitch_deviation * draw["pitch"].standard_normal(count)
    roll = settings.roll_deviation * draw["roll"].standard_normal(count)
    upright = np.array([1.0, 1.0, 1.0]) if settings.posture == "upright" else np.array([-1.0, -1.0, 1.0])
    posture = np.broadcast_to(np.diag(upright), (yaw.size, 3, 3))
    if settings.posture == "lying":
        # On the ground, head towards the subject's former right or left, on the back, the belly or a side.
        spin = 360 * draw["lying"].random((*count, 2)).reshape(-1, 2)
        with jax.enable_x64(True):
            posture = np.asarray(_lying(np.where(spin[:, 0] < 180, 90.0, -90.0), spin[:, 1]))
    return (roll.reshape(-1), pitch.reshape(-1), yaw.reshape(-1), posture), yaw


def _side_bias(
    yaw_degrees: Float[np.ndarray, "people pictures"], coefficients: Float[np.ndarray, "people 3 keypoints 2"]
) -> Float[np.ndarray, "people pictures keypoints 2"]:
    """A random smooth function of the side seen, unit variance per coordinate: 1, cos and sin of the yaw."""
    angle = np.radians(yaw_degrees)
    basis = np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle)], axis=-1) / np.sqrt(2)
    return np.einsum("npf,nfkc->npkc", basis, coefficients)


def _disturb(
    body: KeypointBody,
    settings: SyntheticSettings,
    true_px: Float[np.ndarray, "people pictures keypoints 2"],
    unit_px: Float[np.ndarray, "people pictures"],
    yaw: Float[np.ndarray, "people pictures"],
    draw: Generators,
) -> tuple[Float[np.ndarray, "people pictures keypoints 2"], Bool[np.ndarray, "people pictures keypoints"]]:
    """Add noise, biases and outliers; also says which keypoints are outliers."""
    people, _, keypoints, _ = true_px.shape
    relative = np.asarray(NoiseModel(1.0).sigmas(body.schema), np.float64)
    offsets = settings.noise_level * draw["noise"].standard_normal(true_px.shape)
    clothes = draw["clothes"].standard_normal((people, 3, keypoints, 2))
    detector = np.broadcast_to(draw["detector"].standard_normal((3, keypoints, 2)), clothes.shape)
    offsets += settings.clothes_bias_level * _side_bias(yaw, clothes)
    offsets += settings.detector_bias_level * _side_bias(yaw, detector)
    seen_px = true_px + unit_px[..., None, None] * relative[:, None] * offsets
    outlier = draw["outliers"].random(true_px.shape[:-1]) < settings.outlier_rate
    gross = unit_px[..., None, None] * settings.outlier_deviation * draw["gross"].standard_normal(true_px.shape)
    return np.where(outlier[..., None], seen_px + gross, seen_px), outlier
