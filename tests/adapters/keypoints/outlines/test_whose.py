"""Which mask belongs to whom, and what other masks mean."""

import numpy as np
import pytest

from adapters.keypoints.outlines.mask_arrays import BadMask
from adapters.keypoints.outlines.measure import measure_outline
from adapters.keypoints.outlines.whose import outlines_of_people
from engine.body.schemas import COCO_17
from tests.adapters.keypoints.outlines.drawn_people import drawn, standing

SIZE = (512, 900)
LEFT, RIGHT = standing((200, 16)), standing((650, 16))
SEEN = np.ones((2, 17), np.float32)
ALONE = [measure_outline(drawn(points, SIZE), points, SEEN[0] > 0, COCO_17) for points in (LEFT, RIGHT)]


def test_masks_find_their_people_in_any_order() -> None:
    masks = [drawn(points, SIZE) for points in (RIGHT, LEFT)]
    found, reasons = outlines_of_people(masks, np.stack([LEFT, RIGHT]), SEEN, COCO_17)
    assert reasons == [None, None]
    np.testing.assert_array_equal(found, np.stack(ALONE))


def test_one_mask_of_two_people_is_cut_apart() -> None:
    both = np.maximum(drawn(LEFT, SIZE), drawn(RIGHT, SIZE))
    found, reasons = outlines_of_people([both], np.stack([LEFT, RIGHT]), SEEN, COCO_17)
    assert reasons == [None, None]
    np.testing.assert_array_equal(found, np.stack(ALONE))


def test_one_mask_of_two_people_who_touch_is_not_used() -> None:
    near = standing((380, 16))
    both = np.maximum(drawn(LEFT, SIZE), drawn(near, SIZE))
    both[300, 200:380] = 255
    found, reasons = outlines_of_people([both], np.stack([LEFT, near]), SEEN, COCO_17)
    assert reasons == ["its mask covers several people"] * 2
    assert np.isnan(found).all()


def test_people_who_overlap_lose_the_hidden_parts_only() -> None:
    near = standing((350, 16))
    front = drawn(near, SIZE)
    behind = drawn(LEFT, SIZE) * (front == 0)
    found, _ = outlines_of_people([behind, front], np.stack([LEFT, near]), SEEN, COCO_17)
    for row, whole in zip(found, (ALONE[0], measure_outline(front, near, SEEN[0] > 0, COCO_17)), strict=True):
        seen = np.isfinite(row)
        assert 20 < seen.sum() < np.isfinite(whole).sum()
        np.testing.assert_allclose(row[seen], whole[seen], rtol=0, atol=1e-3)


def test_a_shirt_and_the_background_are_not_other_people() -> None:
    own = drawn(LEFT, SIZE)
    shirt = own.copy()
    shirt[240:] = 0
    background = 255 - own
    everything = np.full(SIZE, 255, np.uint8)
    found, _ = outlines_of_people([everything, shirt, own], LEFT[None], SEEN[:1], COCO_17)
    np.testing.assert_array_equal(found[0], ALONE[0])
    # A mask of what is behind touches the person everywhere: nothing is known to be the person's own border.
    hidden, _ = outlines_of_people([own, background], LEFT[None], SEEN[:1], COCO_17)
    assert np.isnan(hidden).all()


def test_who_has_no_mask_has_a_reason() -> None:
    found, reasons = outlines_of_people([drawn(LEFT, SIZE)], np.stack([LEFT, RIGHT]), SEEN, COCO_17)
    assert reasons == [None, "no mask holds most of its keypoints"]
    np.testing.assert_array_equal(found[0], ALONE[0])
    assert np.isnan(found[1]).all()


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(BadMask, match="beyond"):
        outlines_of_people([drawn(LEFT, SIZE)], 3 * LEFT[None], SEEN[:1], COCO_17)
    with pytest.raises(BadMask, match="different sizes"):
        outlines_of_people([drawn(LEFT, SIZE), drawn(LEFT, (512, 512))], LEFT[None], SEEN[:1], COCO_17)
    nothing, reasons = outlines_of_people([], LEFT[None], SEEN[:1], COCO_17)
    assert np.isnan(nothing).all()
    assert reasons == [None]
