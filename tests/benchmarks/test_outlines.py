"""The outline benchmark's own geometry: masks, boundary noise, girths."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from adapters.keypoints.outlines.measure import measure_outline
from benchmarks.outline_bound import KNOWN, Known, _about_shape, _log_bayes_factors, field_correlation, sensitivities
from benchmarks.outline_pictures import DRESSES, _hem, _mask, _smooth_field, drawn_pictures, dressed_people
from benchmarks.outline_rim import find_rim, mesh_edges
from benchmarks.outlines import _girth_errors, girths
from benchmarks.synthetic import PoseSet, SyntheticPictures
from engine.body.embedded import load_embedded_body
from engine.body.model import BodyModel, pose_body
from engine.body.schemas import COCO_17
from engine.evidence.shape_evidence import Evidence, log_bayes_factor
from engine.picture.outline import outline_rays


def test_a_mask_covers_a_closed_mesh_and_a_hull() -> None:
    corners = np.array([[10, 20], [60.4, 20], [60.4, 90.3], [10, 90.3]])
    # A flat box: the front and, turned the other way, the back.
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 2, 1], [0, 3, 2]])
    mask = _mask(corners, faces, None)
    rows, columns = np.nonzero(mask)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (10, 60, 20, 90)
    assert mask[20:91, 10:61].all()
    hull = _mask(corners, faces, np.array([[100.0, 100], [140, 100], [120, 130], [120, 110]]))
    assert hull[105, 120] == 255
    assert hull[129, 100] == 0


def test_boundary_noise_has_unit_variance_and_is_smooth() -> None:
    generator = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.linspace(0, 2, 40), np.linspace(0, 2, 40)), axis=-1).reshape(-1, 2)
    fields = np.stack([_smooth_field(generator, grid) for _ in range(200)])
    assert np.isclose(fields.std(), 1, atol=0.05)
    again = np.random.default_rng(0)
    moved = np.stack([_smooth_field(again, grid + 0.002) for _ in range(200)])
    assert np.abs(moved - fields).mean() < 0.1


def test_girths_are_those_of_a_person(anny: BodyModel) -> None:
    waist, hip, thigh = girths(anny, np.zeros(10))
    assert 0.35 < waist < 0.65
    assert 0.45 < hip < 0.75
    assert 0.25 < thigh < 0.4


def test_a_hem_is_a_circle_around_the_knees_across_the_legs() -> None:
    joints = np.zeros((24, 3))
    joints[4], joints[5] = [0.1, -0.5, 0.1], [-0.1, -0.5, -0.1]
    hem = _hem(joints, 0.3)
    assert np.allclose(hem[:, 1], -0.5)
    assert np.allclose(np.linalg.norm(hem - [0, -0.5, 0], axis=1), 0.3)


@pytest.fixture(scope="module")
def standing() -> tuple[PoseSet, SyntheticPictures, BodyModel]:
    """Eight pictures of one person with the arms away from the trunk."""
    body = load_embedded_body()
    pose = np.zeros((1, 23, 3))
    pose[0, 15:17, 2] = [-0.8, 0.8]
    poses = PoseSet(pose, np.zeros((1, 3)))
    return poses, drawn_pictures(poses, 1, body), body


def test_girths_of_the_truth_are_those_of_the_pictured_body(monkeypatch: pytest.MonkeyPatch, standing: Any) -> None:
    monkeypatch.setattr("benchmarks.outline_pictures.DRESSES", DRESSES[:1])
    poses, _, body = standing
    slim = dressed_people(poses, 1, body)
    broad_body = eqx.tree_at(lambda b: b.v_template, body, body.v_template * jnp.array([1.0, 1.0, 1.2]))
    sure = Evidence(1e4 * np.eye(10)[None].repeat(8, axis=0), 1e4 * slim.betas.repeat(8, axis=0))
    assert max(_girth_errors(sure, slim)) < 0.5
    assert min(_girth_errors(sure, slim._replace(body=broad_body))) > 3


def test_rays_meet_the_rim_where_masks_end(standing: Any) -> None:
    _, drawn, body = standing
    image, points = _image_of(body, drawn, drawn.betas[0])
    rim = find_rim(image, np.asarray(body.faces), mesh_edges(np.asarray(body.faces)), points)
    mask = _mask(image, np.asarray(body.faces), None)
    measured = measure_outline(mask, points, np.ones(17, bool), COCO_17).T.reshape(-1)
    both = rim.seen & np.isfinite(measured)
    assert both.sum() > 60
    found = np.linalg.norm(
        rim.point - np.tile(outline_rays(points, np.ones(17, bool), COCO_17).origins, (2, 1)), axis=1
    )
    assert np.mean(np.abs(found - measured)[both] < 1.5) > 0.95


def test_widths_move_as_their_derivatives_tell(standing: Any) -> None:
    _, drawn, body = standing
    (sensitivity, *_) = sensitivities(body, drawn)
    step = 0.02
    ends = []
    for sign in (1, -1):
        image, points = _image_of(body, drawn, drawn.betas[0] + sign * step * np.eye(10)[1])
        ends.append(find_rim(image, np.asarray(body.faces), mesh_edges(np.asarray(body.faces)), points))
    both = ends[0].seen & ends[1].seen
    both &= np.isin(np.arange(len(both)), sensitivity.ray)
    moved = (ends[0].point - ends[1].point)[sensitivity.ray] / (2 * step)
    # Points move along their rays, on which g has the component 1.
    growth = np.sum(moved * sensitivity.gain, axis=1)
    kept = both[sensitivity.ray]
    error = np.abs(growth - sensitivity.widths[:, 1])[kept]
    assert kept.sum() > 60
    assert np.median(error) < 0.05 * np.std(sensitivity.widths[:, 1]) + 0.02
    assert np.mean(error < 1.0) > 0.95


def test_the_field_of_the_boundary_has_the_correlation_of_the_bound() -> None:
    generator = np.random.default_rng(1)
    places = np.array([[0.3, 0.2], [0.33, 0.2], [0.3, 0.3]])
    fields = np.stack([_smooth_field(generator, places) for _ in range(4000)])[..., 0]
    measured = np.corrcoef(fields.T)[0, 1:]
    assert np.allclose(measured, field_correlation(np.array([0.03, 0.1])), atol=0.06)


def test_bayes_factors_of_the_bound_are_those_of_evidence() -> None:
    draw = np.random.default_rng(2)
    factor = draw.normal(size=(3, 4, 4))
    evidence = Evidence(factor @ factor.transpose(0, 2, 1), draw.normal(size=(3, 4)))
    (found,) = _log_bayes_factors(evidence, evidence, np.array([1]), np.array([2]))
    first, second = (Evidence(*(part[row].astype(np.float32) for part in evidence)) for row in (1, 2))
    assert np.isclose(found, log_bayes_factor(first, second), atol=1e-4)


def _image_of(body: BodyModel, drawn: SyntheticPictures, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vertices of the first picture's person with another shape, and its keypoints as drawn."""
    vertices = np.asarray(pose_body(body, jnp.asarray(betas), jnp.asarray(drawn.pose[0, 0])).vertices)
    scale, place = np.asarray(drawn.camera.scale)[0, 0], np.asarray(drawn.camera.translation)[0, 0]
    return scale * vertices[:, :2] * [1, -1] + place, drawn.true_keypoints_px[0, 0]


def test_unknown_pose_camera_and_components_cost_information() -> None:
    factor = np.random.default_rng(3).normal(size=(60, 10 + 72 + 3))
    matrix, four = factor.T @ factor, Known("pose and camera; four components", 0.0, 0.0, 0.0, components=4)
    everything, *_, camera_and_pose, some = (_about_shape(matrix, known, 10) for known in (*KNOWN[:-1], four))
    assert np.allclose(everything, matrix[:10, :10])
    assert np.linalg.eigvalsh(everything - camera_and_pose).min() > -1e-9
    # Marginalising the rest of the components equals cutting the covariance to the first ones.
    prior = np.diag([0.0] * 4 + [1.0] * 6)
    pose_known = _about_shape(matrix, KNOWN[0], 10)
    assert np.allclose(np.linalg.inv(some), np.linalg.inv(pose_known + prior)[:4, :4])
