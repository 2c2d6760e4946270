"""The outline benchmark's own geometry: masks, boundary noise, girths."""

import numpy as np

from benchmarks.outline_pictures import _mask, _smooth_field
from benchmarks.outlines import girths
from engine.body.model import BodyModel


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
