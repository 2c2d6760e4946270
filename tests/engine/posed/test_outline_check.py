"""The silhouette of a mesh along rays: against solids of known width, and against a mask drawn from the same mesh."""

import jax.numpy as jnp
import numpy as np
import pytest

from adapters.keypoints.outlines.coco_masks import polygon_mask
from adapters.keypoints.outlines.measure import measure_outline
from engine.body.model import BodyModel, pose_body, posed_keypoints
from engine.body.schemas import COCO_17
from engine.picture.outline import outline_rays
from engine.picture.outline_places import PLACES
from engine.posed.outline_check import mesh_widths, part_differences

SCALE_PX = 250.0


@pytest.fixture(scope="module")
def standing(anny: BodyModel) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and keypoints of a body with arms and legs apart, in pixels."""
    pose = np.zeros((anny.joint_count, 3), np.float32)
    pose[1], pose[2] = (0, 0, 0.15), (0, 0, -0.15)
    pose[16], pose[17] = (0, 0, -0.6), (0, 0, 0.6)
    posed = pose_body(anny, jnp.zeros(anny.beta_count), jnp.asarray(pose))
    keypoints = np.asarray(posed_keypoints(anny, posed))
    columns = [anny.keypoint_names.index(name) for name in COCO_17.keypoint_names]

    def in_picture(points: np.ndarray) -> np.ndarray:
        return np.asarray(points)[:, :2] * [SCALE_PX, -SCALE_PX] + [300, 350]

    return in_picture(np.asarray(posed.vertices)), in_picture(keypoints[columns])


def test_widths_are_those_of_the_drawn_mesh(anny: BodyModel, standing: tuple[np.ndarray, np.ndarray]) -> None:
    vertices, points = standing
    seen = np.ones(17, bool)
    found = mesh_widths(vertices, np.asarray(anny.faces), outline_rays(points, seen, COCO_17))
    mask = polygon_mask([vertices[face] for face in np.asarray(anny.faces)], 700, 600)
    measured = measure_outline(mask, points, seen, COCO_17)
    both = np.isfinite(found) & np.isfinite(measured)
    assert both.sum() > 70
    assert np.isfinite(found).sum() - both.sum() < 4
    # A picture of pixels is off by up to half of one; rays that graze the mesh may end elsewhere.
    apart = np.abs(found[both] - measured[both])
    assert np.median(apart) < 0.5
    assert np.quantile(apart, 0.95) < 2.0


def test_a_square_has_its_distances() -> None:
    corners = np.array([[-30.0, -100], [50, -100], [50, 200], [-30, 200]]) + 300
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    points = np.full((17, 2), np.nan)
    for name, place in {"left_hip": (300, 300), "left_knee": (300, 400), "left_ankle": (300, 480)}.items():
        points[COCO_17.keypoint_names.index(name)] = place
    rays = outline_rays(points, np.isfinite(points[:, 0]), COCO_17)
    found = mesh_widths(corners, faces, rays._replace(longest=np.float64(1000)))
    thigh = [k for k, place in enumerate(PLACES) if place.part == "left_thigh"]
    for row, direction in zip(found[thigh], rays.directions[thigh], strict=True):
        assert np.allclose(row, [50, 30] if direction[0] > 0 else [30, 50])
    # Behind a gap there is nothing.
    far = np.concatenate([corners, corners + np.array([100, 0])])
    again = mesh_widths(far, np.concatenate([faces, faces + 4]), rays._replace(longest=np.float64(1000)))
    np.testing.assert_array_equal(again, found)
    assert np.allclose(mesh_widths(far, np.concatenate([faces, faces + 4]), rays)[thigh].max(), min(50, rays.longest))


def test_differences_name_the_parts() -> None:
    model = np.full((len(PLACES), 2), 20.0)
    outline = model.copy()
    waist = [k for k, place in enumerate(PLACES) if place.part == "trunk" and 0.45 <= place.fraction <= 0.8]
    outline[waist] *= 1.1
    # An arm at the side of the hips: the ray gave up behind it.
    hips = [k for k, place in enumerate(PLACES) if place.part == "trunk" and place.fraction > 0.8]
    outline[hips] = 100.0
    shins = [k for k, place in enumerate(PLACES) if place.part.endswith("shin")]
    outline[shins] = np.nan
    found = part_differences(outline, model, 100.0)
    assert set(found) == {"chest", "waist", "upper arms", "forearms", "thighs"}
    assert found["waist"] == pytest.approx(0.1)
    assert found["thighs"] == pytest.approx(0.0)
