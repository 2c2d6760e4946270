"""Widths of masks: against shapes of known width, under mirror and resize, at borders and beside other people."""

import numpy as np
import pytest

from adapters.keypoints.outlines.measure import measure_outline
from engine.body.schemas import COCO_17
from engine.picture.outline import PLACES, mirrored_outline, outline_rays
from tests.adapters.keypoints.outlines.drawn_people import RADII_PX, SIZE, drawn, standing

SEEN = np.ones(17, bool)
PARTS = np.array([place.part.removeprefix("left_").removeprefix("right_") for place in PLACES])
LEFT = np.array([place.part.startswith("left_") for place in PLACES])
_PIXEL = 0.75
"""A border that is drawn without grey values is off by up to this many pixels after interpolation."""


@pytest.fixture(scope="module")
def widths() -> np.ndarray:
    return measure_outline(drawn(standing()), standing(), SEEN, COCO_17)


def test_limbs_have_their_radius_on_both_sides(widths: np.ndarray) -> None:
    for part in ("forearm", "shin"):
        assert np.abs(widths[PARTS == part] - RADII_PX[part]).max() < _PIXEL
    # The upper ends of upper arm and thigh lie within the trunk; on the other side only the limb is seen.
    lower = np.array([place.fraction > 0.5 for place in PLACES])
    assert np.abs(widths[(PARTS == "thigh") & lower] - RADII_PX["thigh"]).max() < _PIXEL


def test_places_without_keypoints_or_outside_of_the_mask_are_not_seen(widths: np.ndarray) -> None:
    # COCO has no keypoints for the top of the head.
    assert np.isnan(widths[[place.start == ("neck", "neck") for place in PLACES]]).all()
    seen = SEEN.copy()
    seen[COCO_17.keypoint_names.index("left_wrist")] = False
    fewer = measure_outline(drawn(standing()), standing(), seen, COCO_17)
    gone = (PARTS == "forearm") & LEFT
    assert np.isnan(fewer[gone]).all()
    # The greatest length is an estimate from all limbs, and the length of a step follows it.
    np.testing.assert_allclose(fewer[~gone], widths[~gone], rtol=0, atol=_PIXEL)
    elsewhere = measure_outline(drawn(standing()), standing() + np.float32(1000), SEEN, COCO_17)
    assert np.isnan(elsewhere).all()
    nobody = measure_outline(drawn(standing()), standing(), np.zeros(17, bool), COCO_17)
    assert np.isnan(nobody).all()


def test_a_mirrored_picture_gives_the_mirrored_outline() -> None:
    # Nothing about this person is symmetric.
    points = (standing() + np.random.default_rng(3).normal(0, 4, (17, 2))).astype(np.float32)
    mask = drawn(points)
    own = measure_outline(mask, points, SEEN, COCO_17)
    turned = points[list(COCO_17.swap)] * np.array([-1, 1], np.float32) + np.array([SIZE[1] - 1, 0], np.float32)
    other = measure_outline(np.ascontiguousarray(mask[:, ::-1]), turned, SEEN, COCO_17)
    assert np.isfinite(own).sum() > 60
    np.testing.assert_allclose(other, mirrored_outline(own), rtol=0, atol=1e-2)


@pytest.mark.parametrize("times", [2, 5])
def test_a_larger_picture_gives_larger_widths(times: int, widths: np.ndarray) -> None:
    large = np.kron(drawn(standing()), np.ones((times, times), np.uint8))
    found = measure_outline(large, standing() * times + np.float32((times - 1) / 2), SEEN, COCO_17)
    assert np.array_equal(np.isnan(found), np.isnan(widths))
    known = np.isfinite(widths)
    assert np.abs(found[known] / times - widths[known]).max() < 1.0


def test_a_soft_border_is_placed_between_pixels() -> None:
    # The border runs at x = 300.3 with a ramp of four pixels.
    x = np.arange(SIZE[1])
    row = np.clip((300.3 - x) / 4 + 0.5, 0, 1) * 255
    mask = np.broadcast_to(np.rint(row).astype(np.uint8), SIZE)
    found = measure_outline(np.ascontiguousarray(mask), standing(), SEEN, COCO_17)
    waist = next(k for k, place in enumerate(PLACES) if place.part == "trunk" and place.fraction == 0.5)
    rays = outline_rays(standing(), SEEN, COCO_17)
    right = 0 if rays.directions[waist, 0] > 0 else 1
    assert abs(found[waist, right] - (300.3 - rays.origins[waist, 0])) < 0.02


def test_the_picture_s_border_is_not_the_person_s(widths: np.ndarray) -> None:
    # The left border of the picture cuts the arm and the leg on the person's right side.
    cut = 220
    points = standing() - np.array([cut, 0], np.float32)
    found = measure_outline(np.ascontiguousarray(drawn(standing())[:, cut:]), points, SEEN, COCO_17)
    rays = outline_rays(standing(), SEEN, COCO_17)
    ends = rays.origins[:, None] + widths[..., None] * np.stack([rays.directions, -rays.directions], axis=1)
    beyond = (ends[..., 0] < cut) | (rays.origins[:, None, 0] < cut)
    known = np.isfinite(widths)
    assert (beyond & known).sum() > 10
    assert np.isnan(found[beyond & known]).all()
    inside = ~beyond & known & (ends[..., 0] > cut + 2)
    np.testing.assert_allclose(found[inside], widths[inside], rtol=0, atol=1e-4)


def test_where_another_person_touches_nothing_is_seen(widths: np.ndarray) -> None:
    # Another person stands so close that the arms overlap, in front on one side.
    other = drawn(standing(shift=(256 + 150, 16))) > 0
    own = drawn(standing()) * ~other
    found = measure_outline(own, standing(), SEEN, COCO_17, other)
    alone = measure_outline(own, standing(), SEEN, COCO_17)
    lost = np.isfinite(alone) & np.isnan(found)
    assert lost.sum() > 0
    kept = np.isfinite(found)
    # The width of a limb that is not hidden is right; the hidden ones would have been wrong.
    np.testing.assert_array_equal(found[kept], alone[kept])
    assert np.abs(found[kept] - widths[kept]).max() < 1e-3
    assert np.nanmax(np.abs(alone[lost] - widths[lost])) > 3


def test_a_ray_gives_up_at_the_greatest_length() -> None:
    found = measure_outline(np.full((2000, 2000), 255, np.uint8), standing((1000, 1000)), SEEN, COCO_17)
    rays = outline_rays(standing((1000, 1000)), SEEN, COCO_17)
    assert np.allclose(found[rays.usable], rays.longest)
