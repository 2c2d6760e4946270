"""Bodies and poses from the anny package, in SMPL's axes and with SMPL's 24 joints.

Anny (Brégier et al., "Human mesh modeling for Anny body", arXiv 2511.03589) has a rig of 104 bones, z up, and rests in
an A-pose with bent elbows. Here every body stands in a T-pose, in metres, x to its left, y up, z to its front, and a
joint of SMPL's stands for the group of bones that ``JOINT_BONES`` names.

A pose turns all bones of a joint's group alike: with world rotation G_j of the joint, a bone whose orientation in the
T-pose is D_b gets G_j D_b, its head following its parent.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from engine.body.schema_tables import SMPL_24

INSTALL_COMMAND = 'pip install "torch==2.13.0" "anny==0.6.2" scipy'

PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)

LOCAL_CHANGES = (
    "measure-upperarm-length-incr",
    "measure-lowerarm-length-incr",
    "measure-upperleg-height-incr",
    "measure-lowerleg-height-incr",
    "measure-napetowaist-dist-incr",
    "measure-waisttohip-dist-incr",
    "measure-shoulder-dist-incr",
    "measure-neck-height-incr",
    "measure-neck-circ-incr",
    "measure-bust-circ-incr",
    "measure-underbust-circ-incr",
    "measure-waist-circ-incr",
    "measure-hips-circ-incr",
    "measure-thigh-circ-incr",
    "measure-knee-circ-incr",
    "measure-calf-circ-incr",
    "measure-ankle-circ-incr",
    "measure-upperarm-circ-incr",
    "measure-wrist-circ-incr",
)
"""Anny's body measures that are varied in addition to the phenotype: lengths and girths, but no faces."""

_MEAN_DRAWS = 8192
_TO_SMPL_AXES = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
_FINGERS = tuple(f"finger{finger}-{bone}" for finger in range(2, 6) for bone in range(1, 4))
_TOES = ("toe1-1", "toe1-2", *(f"toe{toe}-{bone}" for toe in range(2, 6) for bone in range(1, 4)))
_WRIST = ("wrist", *(f"metacarpal{k}" for k in range(1, 5)), *(f"finger1-{bone}" for bone in range(1, 4)))
_SIDED = {
    "hip": ("upperleg01", "upperleg02"),
    "knee": ("lowerleg01", "lowerleg02"),
    "ankle": ("foot",),
    "foot": _TOES,
    "collar": ("clavicle", "shoulder01"),
    "shoulder": ("upperarm01", "upperarm02"),
    "elbow": ("lowerarm01", "lowerarm02"),
    "wrist": _WRIST,
    "hand": _FINGERS,
}
_MIDDLE = {
    "pelvis": ("root", "pelvis.L", "pelvis.R", "spine05", "spine04"),
    "spine1": ("spine03",),
    "spine2": ("spine02",),
    "spine3": ("spine01",),
    "neck": ("neck01", "neck02", "neck03"),
    "head": ("head", "eye.L", "eye.R"),
}
JOINT_BONES: dict[str, tuple[str, ...]] = {
    **_MIDDLE,
    **{
        f"{side}_{part}": tuple(f"{bone}.{side[0].upper()}" for bone in bones)
        for side in ("left", "right")
        for part, bones in _SIDED.items()
    },
}
"""The bones that turn with each joint; their skinning weights are summed for it. The thumb stays with the wrist: the
hand joint lies at the knuckles of the other fingers."""

BEND_RAD = {
    "pelvis": 0.0, "spine1": 0.15, "spine2": 0.15, "spine3": 0.15, "neck": 0.2, "head": 0.2,
    "hip": 0.5, "knee": 0.6, "ankle": 0.2, "foot": 0.0,
    "collar": 0.1, "shoulder": 0.7, "elbow": 0.7, "wrist": 0.2, "hand": 0.0,
}  # fmt: skip
"""Standard deviation of each component of a joint's rotation vector in ``bent_poses``, left and right alike."""


def _head_bones(joint: str) -> tuple[str, ...]:
    """The joint's place is the mean of these bones' heads: the group's first, or the knuckles for hands and feet."""
    bones = JOINT_BONES[joint]
    if joint.endswith(("_hand", "_foot")):
        return tuple(bone for bone in bones if bone.split(".")[0].endswith("-1"))
    return bones[:1]


@dataclass(frozen=True)
class Population:
    """A distribution of bodies: anny's phenotypes, calibrated on WHO growth data, with additional local changes."""

    age_years: tuple[float, float]
    spread: float = 0.8
    """Phenotypes are pulled towards their mean by this factor; 1 leaves them as drawn, extremes included."""
    local_spread: float = 0.2
    """Standard deviation of each of ``LOCAL_CHANGES``."""


ADULTS = Population(age_years=(18.0, 80.0))
CHILDREN = Population(age_years=(4.0, 12.0))


class AnnyBodies(NamedTuple):
    """Bodies in one pose, the root bone at the origin, in metres."""

    vertices: Float[np.ndarray, "bodies vertices 3"]
    joints: Float[np.ndarray, "bodies joints 3"]


@dataclass(frozen=True)
class BodyParameters:
    """Anny's parameters, one row per body."""

    phenotypes: Float[np.ndarray, "bodies phenotypes"]
    """Phenotypes in the order of the model's labels, each mostly 0..1."""
    local_changes: Float[np.ndarray, "bodies local_changes"]
    """Local changes in the order of the model's labels."""

    def __len__(self) -> int:
        return len(self.phenotypes)


class AnnyModel:
    """Anny with the 24 joints on top. Building it takes minutes the first time; anny keeps 0.8 GB in ANNY_CACHE_DIR.

    Raises:
        ImportError: anny or torch is missing; the message names the command that installs them.
    """

    def __init__(self) -> None:
        try:
            import anny  # pyright: ignore[reportMissingImports]
            import torch
        except ImportError as error:
            raise ImportError(f"making the embedded body needs anny and torch ({error}): {INSTALL_COMMAND}") from error
        self._anny: Any = anny
        self._torch: Any = torch
        # anny removes labels from the list that it is given.
        self._model: Any = anny.Anny(topology="anny", local_changes=list(LOCAL_CHANGES))
        self.version = str(anny.__version__)
        self._bones = {label: b for b, label in enumerate(self._model.bone_labels)}
        grouped = {bone: j for j, joint in enumerate(SMPL_24) for bone in JOINT_BONES[joint]}
        self._joint_of_bone = np.array([grouped[label] for label in self._model.bone_labels])

    @property
    def faces(self) -> Int[np.ndarray, "faces 3"]:
        return np.asarray(self._model.faces.numpy(), np.int32)

    @property
    def template(self) -> Float[np.ndarray, "vertices 3"]:
        """Anny's template in its A-pose. It is exactly symmetric, so it determines the mirror pairs of vertices."""
        return self._model.template_vertices.numpy() @ _TO_SMPL_AXES.T

    def skinning_weights(self) -> Float[np.ndarray, "vertices joints"]:
        """Anny's weights summed over the bones of each joint."""
        indices = self._model.vertex_bone_indices.numpy()
        weights = np.zeros((len(indices), len(SMPL_24)))
        rows = np.arange(len(indices))
        for column, bone_weights in zip(indices.T, self._model.vertex_bone_weights.numpy().T, strict=True):
            np.add.at(weights, (rows, self._joint_of_bone[column]), bone_weights)
        return weights

    def keypoint_weights(self) -> tuple[tuple[str, ...], Float[np.ndarray, "keypoints vertices"]]:
        """anny's own keypoints, COCO-17 and six points of the feet, as dense weightings of vertices."""
        regressor = self._anny.KeypointsRegressor.coco(self._model)
        return tuple(regressor.labels), regressor.regression_weights.numpy()

    def sample(self, population: Population, count: int, seed: int) -> BodyParameters:
        """``count`` bodies of a population, determined by the seed."""
        torch = self._torch
        from anny.shape_distribution import SimpleShapeDistribution  # pyright: ignore[reportMissingImports]

        low, high = (torch.tensor(age, dtype=self._model.dtype) for age in population.age_years)
        ages = torch.distributions.Uniform(low, high)
        distribution = SimpleShapeDistribution(self._model, morphological_age_distribution=ages)

        def draw(count: int, seed: int) -> np.ndarray:
            torch.manual_seed(seed)
            _, drawn = distribution.sample(count)
            return np.stack([drawn[label].numpy() for label in self._model.phenotype_labels], axis=1)

        with torch.random.fork_rng(devices=[]):
            # The mean is that of the distribution, not of the few requested bodies.
            mean = draw(_MEAN_DRAWS, 0).mean(axis=0)
            phenotypes = draw(count, seed)
            local = (
                torch.randn(count, len(self._model.local_change_labels), dtype=self._model.dtype)
                * population.local_spread
            )
        return BodyParameters(mean + population.spread * (phenotypes - mean), local.numpy())

    def t_pose(self, parameters: BodyParameters) -> AnnyBodies:
        """The bodies in T-pose: arms level and straight along x, all other bones in anny's reference pose."""
        return self.posed(parameters, None)

    def posed(
        self, parameters: BodyParameters, poses: Float[np.ndarray, "bodies joints 3"] | None, chunk: int = 64
    ) -> AnnyBodies:
        """The bodies with every joint turned from the T-pose: rotation vectors relative to the parent, in radians."""
        joint_rotations = None if poses is None else _world_rotations(poses)
        parts = []
        for start in range(0, len(parameters), chunk):
            part = slice(start, start + chunk)
            turned = None if joint_rotations is None else joint_rotations[part]
            parts.append(self._posed(parameters.phenotypes[part], parameters.local_changes[part], turned))
        return AnnyBodies(np.concatenate([p.vertices for p in parts]), np.concatenate([p.joints for p in parts]))

    def _posed(self, phenotypes: np.ndarray, local: np.ndarray, joint_rotations: np.ndarray | None) -> AnnyBodies:
        torch = self._torch
        arguments = {
            "phenotype_kwargs": torch.as_tensor(phenotypes),
            "local_changes_kwargs": torch.as_tensor(local),
        }
        with torch.no_grad():
            reference = self._model(**arguments)["bone_poses"].numpy()
            orientations = self._t_pose_orientations(reference)
            if joint_rotations is not None:
                in_anny_axes = _TO_SMPL_AXES.T @ joint_rotations @ _TO_SMPL_AXES
                orientations = in_anny_axes[:, self._joint_of_bone] @ orientations
            poses = np.tile(np.eye(4), (*orientations.shape[:2], 1, 1))
            poses[..., :3, :3] = orientations
            output = self._model(torch.as_tensor(poses), pose_parameterization="world-orient", **arguments)
        heads = output["bone_poses"].numpy()[..., :3, 3]
        joints = np.stack([heads[:, self._columns(_head_bones(joint))].mean(axis=1) for joint in SMPL_24], axis=1)
        origin = joints[:, :1].copy()
        return AnnyBodies((output["vertices"].numpy() - origin) @ _TO_SMPL_AXES.T, (joints - origin) @ _TO_SMPL_AXES.T)

    def _columns(self, bones: tuple[str, ...]) -> list[int]:
        return [self._bones[bone] for bone in bones]

    def _t_pose_orientations(self, reference: np.ndarray) -> Float[np.ndarray, "bodies bones 3 3"]:
        """World orientations of all bones in T-pose: each arm segment turned by the least rotation that levels it.

        A segment takes its parent's rotation first, so that the elbow straightens in its own plane.
        """
        orientations = reference[..., :3, :3].copy()
        heads = reference[..., :3, 3]
        for side, sign in (("left", 1.0), ("right", -1.0)):
            along = np.array([sign, 0.0, 0.0])
            turned = np.broadcast_to(np.eye(3), (len(reference), 3, 3))
            chain = [f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "hand")]
            for joint, following in pairwise(chain):
                start = heads[:, self._columns(_head_bones(joint))].mean(axis=1)
                end = heads[:, self._columns(_head_bones(following))].mean(axis=1)
                direction = np.einsum("bij,bj->bi", turned, end - start)
                turned = _least_rotation(direction, along) @ turned
                groups = JOINT_BONES[joint] + (JOINT_BONES[following] if following.endswith("_hand") else ())
                columns = self._columns(groups)
                orientations[:, columns] = turned[:, None] @ orientations[:, columns]
        return orientations


def bent_poses(count: int, seed: int) -> Float[np.ndarray, "bodies joints 3"]:
    """Random poses to measure with: rotation vectors, normal with ``BEND_RAD`` for each joint, the root upright."""
    spread = np.array([BEND_RAD[joint.split("_")[-1]] for joint in SMPL_24])
    return np.random.default_rng(seed).normal(size=(count, len(SMPL_24), 3)) * spread[:, None]


def _world_rotations(poses: Float[np.ndarray, "bodies joints 3"]) -> Float[np.ndarray, "bodies joints 3 3"]:
    world = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(*poses.shape, 3)
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            world[:, joint] = world[:, parent] @ world[:, joint]
    return world


def _least_rotation(
    vectors: Float[np.ndarray, "bodies 3"], target: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "bodies 3 3"]:
    """The smallest rotation that turns each vector onto the unit vector ``target`` (never opposite to it here)."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = units @ target
    if cosine.min() < math.cos(math.radians(170)):
        raise ValueError("an arm points away from its own side; the T-pose is not defined for this body")
    axis = np.cross(units, target)
    skew = np.zeros((len(units), 3, 3))
    skew[:, 0, 1], skew[:, 0, 2], skew[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    skew -= np.transpose(skew, (0, 2, 1))
    return np.eye(3) + skew + skew @ skew / (1 + cosine)[:, None, None]
