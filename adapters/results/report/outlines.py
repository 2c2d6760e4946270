"""Outlines on the page: where their rays end in the picture, and the parts that differ from the fitted body.

The body is the reference person's, posed and placed by the fit to the picture's keypoints and outline; its silhouette
is measured along the same rays (``engine.posed.outline_check``). The words help the eye: clothes make parts wider, and
the scores come from the network, which knows of clothes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int

from adapters.results.report.fits import Fits, SeenKeypoints
from engine.body.model import BodyModel, pose_body
from engine.body.schemas import KeypointSchema
from engine.picture.outline import OutlineRays, outline_rays
from engine.picture.outline_places import PLACES, SIDES
from engine.posed.outline_check import mesh_widths, part_differences

_LEAST_DIFFERENCE = 0.04
"""Smaller differences lie within the accuracy of masks and fits."""
_MOST_PARTS = 4
_TILE_SIZE = 16


@dataclass(frozen=True)
class OutlineDrawings:
    """The drawn data of outlines."""

    ends_px: Float[np.ndarray, "rows ends 2"]
    """Ends of all rays, in pixels of the picture; NaN if not seen."""
    words: Mapping[int, str]
    """By row, the parts that differ from the reference body, in words."""


def draw_outlines(
    seen: SeenKeypoints, schema: KeypointSchema, fits: Fits, body: BodyModel | None, betas: Sequence[np.ndarray]
) -> OutlineDrawings | None:
    """The outlines of all rows; None if there are none.

    Args:
        schema: of the keypoints.
        body: the body that was fitted; None if there are no fits.
        betas: shapes of the people, by the numbers in ``Fits.person``.
    """
    if seen.outline_px is None:
        return None
    rows = np.flatnonzero(np.isfinite(seen.outline_px).any(axis=(1, 2)))
    ends = np.full((len(seen.found), len(PLACES) * SIDES, 2), np.nan)
    points, known = seen.keypoints_px[rows].astype(np.float64), seen.confidence[rows] > 0
    rays = outline_rays(points, known, schema)
    sides = np.stack([rays.directions, -rays.directions], axis=2)
    places = rays.origins[:, :, None] + seen.outline_px[rows][..., None] * sides
    ends[rows] = np.where(rays.usable[..., None, None], places, np.nan).reshape(len(rows), -1, 2)
    drawn = np.flatnonzero(fits.drawn[rows])
    if body is None or not len(drawn):
        return OutlineDrawings(ends, {})
    found = _differences(seen, fits, body, np.stack(list(betas)), rows[drawn], OutlineRays(*(r[drawn] for r in rays)))
    return OutlineDrawings(ends, {int(row): _words(parts) for row, parts in zip(rows[drawn], found, strict=True)})


def _differences(
    seen: SeenKeypoints,
    fits: Fits,
    body: BodyModel,
    betas: Float[np.ndarray, "people betas"],
    rows: Int[np.ndarray, " some"],
    rays: OutlineRays,
) -> list[dict[str, float]]:
    """Differences of the parts of each row from the body of its person."""
    assert seen.outline_px is not None
    pose = jax.jit(jax.vmap(lambda shape, pose: pose_body(body, shape, pose).vertices[:, :2]))
    found = []
    faces = np.asarray(body.faces)
    for start in range(0, len(rows), _TILE_SIZE):
        at = rows[np.minimum(np.arange(start, start + _TILE_SIZE), len(rows) - 1)]
        vertices = np.asarray(
            pose(betas[fits.person[at]].astype(np.float32), fits.reference_pose[at].astype(np.float32))
        )
        for k in range(start, min(start + _TILE_SIZE, len(rows))):
            row = int(rows[k])
            scale, *origin = fits.reference_camera[row]
            # The picture's y axis points down.
            vertices_px = vertices[k - start] * [scale, -scale] + origin
            own = OutlineRays(*(part[k] for part in rays))
            model = mesh_widths(vertices_px, faces, own)
            found.append(part_differences(seen.outline_px[row], model, float(own.longest)))
    return found


def _words(parts: Mapping[str, float]) -> str:
    """``waist 8 % wider, thighs 5 % narrower``, the largest differences first."""
    clear = sorted(
        (name for name in parts if abs(parts[name]) >= _LEAST_DIFFERENCE), key=lambda name: -abs(parts[name])
    )
    words = [
        f"{name} {100 * abs(parts[name]):.0f} % {'wider' if parts[name] > 0 else 'narrower'}"
        for name in clear[:_MOST_PARTS]
    ]
    if words:
        return f"In the outline, {', '.join(words)} than the reference body in this pose; clothes make parts wider."
    return "The outline has the widths of the reference body in this pose." if parts else ""
