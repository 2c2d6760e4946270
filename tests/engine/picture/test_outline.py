"""Places and rays of outlines: which keypoints they need, and what resizing, shifting and mirroring do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.body.schemas import BLAZEPOSE_33, COCO_17, HALPE_26, KeypointSchema
from engine.picture.outline import LONGEST_SHARE, MIRRORED_PLACES, PLACES, mirrored_outline, outline_rays

STANDING = {
    "nose": (0, 10), "eye": (3, 8), "ear": (7, 10), "shoulder": (17, 30), "elbow": (20, 60), "wrist": (25, 84),
    "hip": (10, 80), "knee": (11, 120), "ankle": (12, 160), "head": (0, 0), "neck": (0, 30), "hip_middle": (0, 80),
}  # fmt: skip


def standing(schema: KeypointSchema) -> tuple[np.ndarray, np.ndarray]:
    """A person who faces the camera, symmetric about x = 0; the left side is at positive x."""
    points, seen = np.zeros((len(schema), 2)), np.zeros(len(schema), bool)
    for k, name in enumerate(schema.keypoint_names):
        side, _, part = name.partition("_")
        key = part if side in ("left", "right") else {"hip": "hip_middle"}.get(name, name)
        if key in STANDING:
            points[k] = np.array(STANDING[key]) * [-1 if side == "right" else 1, 1]
            seen[k] = True
    return points, seen


@pytest.fixture
def disturbed() -> tuple[np.ndarray, np.ndarray]:
    """Uneven points, some unseen, in 1/1024 so that shifts are exact."""
    points, seen = standing(HALPE_26)
    points = points + np.random.default_rng(0).integers(-2048, 2048, points.shape) / 1024
    seen[[3, 9, 14]] = False
    return points, seen


def test_mirroring_places_twice_changes_nothing() -> None:
    assert np.array_equal(MIRRORED_PLACES[MIRRORED_PLACES], np.arange(len(PLACES)))
    for place, partner in enumerate(MIRRORED_PLACES):
        other = PLACES[place].part.replace("left", "?").replace("right", "left").replace("?", "right")
        assert PLACES[partner].part == other
        assert PLACES[partner].fraction == PLACES[place].fraction


@pytest.mark.parametrize("schema", [COCO_17, HALPE_26, BLAZEPOSE_33], ids=lambda schema: schema.name)
def test_rays_of_a_standing_person(schema: KeypointSchema) -> None:
    rays = outline_rays(*standing(schema), schema)
    for place, origin, direction, usable in zip(PLACES, *rays[:3], strict=True):
        needed = set(place.start + place.end) <= set(schema.keypoint_names)
        assert usable == needed
        assert needed or place.part == "head"  # every schema has trunk, neck and limbs
        if not needed:
            continue
        start, end = (np.mean([_point(schema, name) for name in pair], axis=0) for pair in (place.start, place.end))
        assert np.allclose(origin, start + place.fraction * (end - start))
        assert np.isclose(direction @ (end - start), 0)
        assert np.isclose(np.linalg.norm(direction), 1)
    # The limbs ask for 151 (forearm) to 174 (trunk); a person of 171 has 42.8 at most.
    assert 0.8 < rays.longest / (LONGEST_SHARE * 170) < 1.05


def _point(schema: KeypointSchema, name: str) -> np.ndarray:
    return standing(schema)[0][schema.keypoint_names.index(name)]


def test_missing_keypoints_make_their_places_unusable() -> None:
    points, seen = standing(COCO_17)
    lost = COCO_17.keypoint_names.index("left_shoulder")
    points[lost], seen[lost] = np.nan, False
    rays = outline_rays(points, seen, COCO_17)
    usable = {place.part for place, is_usable in zip(PLACES, rays.usable, strict=True) if is_usable}
    assert usable == {"left_forearm", "right_upper_arm", "right_forearm", "left_thigh", "right_thigh", "left_shin",
                      "right_shin"}  # fmt: skip
    assert np.isfinite(rays.origins).all()
    nothing = outline_rays(np.full((17, 2), np.nan), np.zeros(17, bool), COCO_17)
    assert not nothing.usable.any()
    assert nothing.longest == 0


def test_a_segment_towards_the_camera_is_unusable() -> None:
    points, seen = standing(COCO_17)
    elbow, wrist = (COCO_17.keypoint_names.index(f"left_{joint}") for joint in ("elbow", "wrist"))
    points[wrist] = points[elbow] + [0.5, 0.5]
    rays = outline_rays(points, seen, COCO_17)
    parts = np.array([place.part for place in PLACES])
    assert not rays.usable[parts == "left_forearm"].any()
    assert rays.usable[parts == "left_upper_arm"].all()


def test_resizing_and_shifting_move_the_rays_along(disturbed: tuple[np.ndarray, np.ndarray]) -> None:
    points, seen = disturbed
    own = outline_rays(points, seen, HALPE_26)
    moved = outline_rays(4 * points + [300, -70], seen, HALPE_26)
    assert np.array_equal(moved.usable, own.usable)
    assert np.array_equal(moved.directions, own.directions)
    assert moved.longest == 4 * own.longest
    expected = np.where(own.usable[:, None], 4 * own.origins + [300, -70], 0)
    assert np.allclose(moved.origins, expected, rtol=0, atol=1e-9)


def test_a_mirror_exchanges_places_and_sides(disturbed: tuple[np.ndarray, np.ndarray]) -> None:
    points, seen = disturbed
    own = outline_rays(points, seen, HALPE_26)
    swap = list(HALPE_26.swap)
    other = outline_rays(points[swap] * [-1, 1], seen[swap], HALPE_26)
    assert np.array_equal(other.usable, own.usable[MIRRORED_PLACES])
    assert np.array_equal(other.origins, own.origins[MIRRORED_PLACES] * [-1, 1])
    assert np.array_equal(other.directions, -own.directions[MIRRORED_PLACES] * [-1, 1])
    assert other.longest == own.longest
    widths = np.random.default_rng(1).random((5, len(PLACES), 2))
    assert np.array_equal(mirrored_outline(mirrored_outline(widths)), widths)
    assert np.array_equal(mirrored_outline(widths)[:, 0], widths[:, 0, ::-1])


def test_devices_and_batches_agree_with_numpy(disturbed: tuple[np.ndarray, np.ndarray]) -> None:
    points, seen = disturbed
    single = points.astype(np.float32)
    own = outline_rays(single, seen, HALPE_26)
    on_device = jax.jit(lambda p, s: outline_rays(p, s, HALPE_26))(jnp.asarray(single), jnp.asarray(seen))
    batched = outline_rays(np.stack([single, single + 8]), np.stack([seen, seen]), HALPE_26)
    for a, b, c in zip(own, on_device, batched, strict=True):
        assert a.dtype == b.dtype
        assert np.allclose(a, b, rtol=1e-6, atol=1e-5)
        assert np.array_equal(a, c[0])
