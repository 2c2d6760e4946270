"""Drawing of one person in one picture, in pixels of the upright picture, from a row of ``Fits``."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from adapters.results.plots.silhouette import silhouette
from adapters.results.report.drawings import Drawings
from adapters.results.report.thumbnails import Box, person_box
from engine.body.model import BodyModel, pose_body


@dataclass(frozen=True)
class DrawnPerson:
    """One person in one picture."""

    keypoints_px: Float[np.ndarray, "keypoints 2"]
    confidence: Float[np.ndarray, " keypoints"]
    """0 for keypoints that were not seen; they are not drawn."""
    residuals_px: Float[np.ndarray, "keypoints 2"]
    """Seen minus modelled keypoints at the reference shape."""
    joints_px: Float[np.ndarray, "joints 2"]
    """Joints of the fitted reference body; empty if there is no such body."""
    bones: tuple[tuple[int, int], ...]
    outline_px: tuple[Float[np.ndarray, "corners 2"], ...]
    """Closed lines around the fitted reference body."""

    def frame(self, proportion: float) -> Box:
        """Box around the person and the body with a margin, with this ratio of height to width."""
        seen = self.confidence > 0
        points = [self.keypoints_px[seen], *self.outline_px]
        every = np.concatenate(points) if any(map(len, points)) else np.zeros((1, 2))
        around = person_box(self.keypoints_px, seen) or (0.0, 0.0, 1.0, 1.0)
        low = np.minimum(around[:2], every.min(axis=0))
        high = np.maximum(around[2:], every.max(axis=0))
        width, height = (high - low).tolist()
        half = np.array([max(width, height / proportion), max(height, width * proportion)]) / 2
        middle = (low + high) / 2
        return (*(middle - half).tolist(), *(middle + half).tolist())  # pyright: ignore[reportReturnType]


def drawn_person(drawings: Drawings, row: int, reference_betas: Float[np.ndarray, " betas"] | None) -> DrawnPerson:
    """The drawing of a row, with its reference body if there is one.

    Args:
        reference_betas: the shape that the row was compared with.
    """
    fits = drawings.fits
    joints, outline, bones = np.zeros((0, 2)), [], ()
    if drawings.body is not None and reference_betas is not None and fits.drawn[row]:
        joints, outline = _projected(
            drawings.body, reference_betas, fits.reference_pose[row], fits.reference_camera[row]
        )
        bones = tuple((parent, joint) for joint, parent in enumerate(drawings.parents) if parent >= 0)
    return DrawnPerson(
        keypoints_px=np.asarray(fits.keypoints_px[row], float),
        confidence=np.asarray(fits.confidence[row], float),
        residuals_px=np.asarray(fits.residuals_px[row], float),
        joints_px=joints,
        bones=bones,
        outline_px=tuple(outline),
    )


_pose = jax.jit(pose_body)


def posed_mesh(
    body: BodyModel, betas: Float[np.ndarray, " betas"], pose: Float[np.ndarray, "joints 3"]
) -> tuple[Float[np.ndarray, "vertices 3"], Float[np.ndarray, "joints 3"]]:
    """Vertices and joints in metres."""
    count = len(betas)
    kept = body if body.beta_count == count else body.with_betas(count)
    posed = _pose(kept, jnp.asarray(betas, jnp.float32), jnp.asarray(pose, jnp.float32))
    return np.asarray(posed.vertices, float), np.asarray(posed.joints, float)


def _projected(
    body: BodyModel, betas: np.ndarray, pose: np.ndarray, camera: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    vertices, joints = posed_mesh(body, betas, pose)
    scale, place = camera[0], camera[1:]

    def seen(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
        return place + scale * points[:, :2] * [1, -1]

    faces: Int[np.ndarray, "faces 3"] = np.asarray(body.faces)
    return seen(joints), silhouette(seen(vertices), faces)
