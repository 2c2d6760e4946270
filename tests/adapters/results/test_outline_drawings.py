"""Outlines on the page: ends of rays, and words about the parts that differ from the fitted body."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from adapters.results.report.fits import Fits, SeenKeypoints, seen_only
from adapters.results.report.outlines import draw_outlines
from adapters.results.report.page_data import ArrayBlock, add_outlines
from engine.body.model import BodyModel, pose_body, posed_keypoints
from engine.body.schemas import COCO_17
from engine.picture.outline import outline_rays
from engine.picture.outline_places import PLACES
from engine.posed.outline_check import mesh_widths

CAMERA = (250.0, 300.0, 350.0)
ROWS = 3
WIDER = 1.2


@pytest.fixture(scope="module")
def case(anny: BodyModel) -> tuple[SeenKeypoints, Fits, list[np.ndarray]]:
    """Two pictures of the body, the second with a wider waist; the third row has no outline."""
    pose = np.zeros((anny.joint_count, 3), np.float32)
    pose[16], pose[17] = (0, 0, -0.6), (0, 0, 0.6)
    posed = pose_body(anny, jnp.zeros(anny.beta_count), jnp.asarray(pose))
    columns = [anny.keypoint_names.index(name) for name in COCO_17.keypoint_names]
    scale, *origin = CAMERA
    vertices, points = (
        np.asarray(values)[:, :2] * [scale, -scale] + origin
        for values in (posed.vertices, posed_keypoints(anny, posed)[np.array(columns)])
    )
    rays = outline_rays(points, np.ones(17, bool), COCO_17)
    widths = mesh_widths(vertices, np.asarray(anny.faces), rays)
    outlines = np.stack([widths, widths, np.full_like(widths, np.nan)]).astype(np.float32)
    waist = [k for k, place in enumerate(PLACES) if place.part == "trunk" and 0.45 <= place.fraction <= 0.8]
    outlines[1, waist] *= WIDER
    keypoints = np.repeat(points[None], ROWS, axis=0).astype(np.float32)
    seen = SeenKeypoints(np.ones(ROWS, bool), keypoints, np.ones((ROWS, 17), np.float32), outlines)
    fits = replace(
        seen_only(seen),
        drawn=np.ones(ROWS, bool),
        reference_pose=np.repeat(pose[None], ROWS, axis=0),
        reference_camera=np.repeat(np.array([CAMERA]), ROWS, axis=0),
    )
    return seen, fits, [np.zeros(anny.beta_count, np.float32)]


def test_the_parts_that_differ_are_named(case: tuple[SeenKeypoints, Fits, list[np.ndarray]], anny: BodyModel) -> None:
    seen, fits, betas = case
    found = draw_outlines(seen, COCO_17, fits, anny, betas)
    assert found is not None
    assert set(found.words) == {0, 1}
    assert "%" not in found.words[0]
    assert "waist 20 % wider" in found.words[1]
    assert "thighs" not in found.words[1]


def test_rays_end_where_the_width_is(case: tuple[SeenKeypoints, Fits, list[np.ndarray]]) -> None:
    seen, fits, _ = case
    found = draw_outlines(seen, COCO_17, replace(fits, drawn=np.zeros(ROWS, bool)), None, ())
    assert found is not None
    assert not found.words
    assert np.isnan(found.ends_px[2]).all()
    rays = outline_rays(seen.keypoints_px[0].astype(float), np.ones(17, bool), COCO_17)
    ends = found.ends_px[0].reshape(len(PLACES), 2, 2)
    assert seen.outline_px is not None
    known = np.isfinite(seen.outline_px[0]) & rays.usable[:, None]
    distance = np.linalg.norm(ends - rays.origins[:, None], axis=-1)
    np.testing.assert_allclose(distance[known], seen.outline_px[0][known], rtol=1e-5)
    # Both sides lie opposite of each other.
    both = known.all(axis=1)
    across = ends[both, 0] - ends[both, 1]
    np.testing.assert_allclose(np.linalg.norm(across, axis=-1), seen.outline_px[0][both].sum(axis=1), rtol=1e-5)


def test_without_masks_the_page_holds_no_outlines(case: tuple[SeenKeypoints, Fits, list[np.ndarray]]) -> None:
    seen, fits, betas = case
    assert draw_outlines(replace(seen, outline_px=None), COCO_17, fits, None, betas) is None
    block = ArrayBlock()
    assert add_outlines(block, None, []) == {}
    assert not block.entries
