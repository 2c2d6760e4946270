"""Polygons and run lengths of COCO: pycocotools as the oracle, and broken ones. Needs the extra mmpose."""

import numpy as np
import pytest

from adapters.keypoints.outlines.coco_masks import mask_of_segmentation, polygon_mask
from adapters.keypoints.outlines.mask_arrays import BadMask

tools = pytest.importorskip("pycocotools.mask", reason="pycocotools comes with the extra mmpose")

# Its arrays know nothing of the copy argument of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize("seed", range(8))
def test_run_lengths_are_those_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(3, 200, 2))
    drawn = np.asfortranarray((rng.random((height, width)) < 0.3).astype(np.uint8))
    drawn[height // 2, width // 2] = 1
    compressed = tools.encode(drawn)
    text = {"size": [height, width], "counts": compressed["counts"].decode()}
    assert np.array_equal(mask_of_segmentation(text, (width, height)), drawn * 255)
    flat = drawn.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *ends, len(flat)]).tolist()
    runs = [0, *runs] if flat[0] else runs
    assert np.array_equal(mask_of_segmentation({"size": [height, width], "counts": runs}, None), drawn * 255)


@pytest.mark.parametrize("seed", range(8))
def test_polygons_are_those_of_pycocotools_but_for_their_border(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 30))
    radii = rng.uniform(40, 120, 30)
    corners = np.stack([150 + radii * np.cos(angles), 140 + radii * np.sin(angles)], axis=1)
    own = mask_of_segmentation([corners.ravel().tolist()], (320, 300)) > 0
    theirs = tools.decode(tools.merge(tools.frPyObjects([corners.ravel().tolist()], 300, 320))) > 0
    around = np.linalg.norm(np.diff(corners, axis=0, append=corners[:1]), axis=1).sum()
    # Theirs includes pixels that the border only touches: at most half of the border's length.
    assert (own ^ theirs).sum() < 0.5 * around
    corner_area = 0.5 * np.abs(
        np.sum(corners[:, 0] * np.roll(corners[:, 1], -1) - corners[:, 1] * np.roll(corners[:, 0], -1))
    )
    assert abs(own.sum() - corner_area) < 0.1 * around


def test_a_square_covers_its_pixels() -> None:
    square = np.array([[2.0, 1], [5, 1], [5, 3], [2, 3]])
    mask = polygon_mask([square], 6, 8) > 0
    expected = np.zeros((6, 8), bool)
    expected[1:3, 2:5] = True
    assert np.array_equal(mask, expected)
    # Polygons are united; the parts outside of the picture are cut off.
    both = polygon_mask([square, square + np.array([-4, 2])], 6, 8) > 0
    expected[3:5, 0:1] = True
    assert np.array_equal(both, expected)


def test_polygons_without_a_size_end_inside_of_the_picture() -> None:
    mask = mask_of_segmentation([[10, 10, 20.5, 10, 20.5, 30, 10, 30]], None)
    assert mask.shape == (32, 23)
    assert not mask[-1].any()
    assert not mask[:, -1].any()


@pytest.mark.parametrize(
    "segmentation",
    [
        [],
        None,
        "x",
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, "x", 4, 5, 6]],
        [[[1, 2], [3]]],
        [[1, 2, float("nan"), 4, 5, 6]],
        [[1, 2, 10**400, 4, 5, 6]],
        [[900, 900, 901, 900, 901, 901]],
        {"size": [10, 10]},
        {"counts": [100]},
        {"size": [10, 10], "counts": [100]},
        {"size": [10, 10], "counts": [5, 5]},
        {"size": [10, 10], "counts": [-5, 105]},
        {"size": [10, 10], "counts": [True, 99]},
        {"size": [10, 10], "counts": "\x00\x01"},
        {"size": [10, 10], "counts": "ooooooooooooooooooo"},
        {"size": [10, 10], "counts": "é"},
        {"size": [-10, 10], "counts": [5, 5]},
        {"size": [10**9, 10**9], "counts": [0, 10**18]},
        {"size": [20, 10], "counts": [0, 200]},
    ],
)
def test_broken_segmentations_have_a_reason(segmentation: object) -> None:
    with pytest.raises(BadMask):
        mask_of_segmentation(segmentation, (10, 10))


def test_a_polygon_with_too_many_crossings_is_refused_before_memory_is_used() -> None:
    zigzag = np.stack([np.arange(6000) % 7, np.where(np.arange(6000) % 2, 0.0, 9000.0)], axis=1)
    with pytest.raises(BadMask, match="too many"):
        polygon_mask([zigzag], 9000, 100)
