"""Masks of people made of capsules, so that the width of every limb is known."""

import numpy as np

from engine.body.schemas import COCO_17

RADII_PX = {"upper_arm": 12.0, "forearm": 9.0, "thigh": 20.0, "shin": 13.0, "trunk": 42.0, "neck": 14.0, "head": 26.0}
_STANDING = {
    "nose": (0, 10), "eye": (3, 8), "ear": (7, 10), "shoulder": (24, 30), "elbow": (38, 58), "wrist": (50, 82),
    "hip": (10, 80), "knee": (14, 120), "ankle": (17, 160),
}  # fmt: skip
_LIMBS = {
    "upper_arm": ("shoulder", "elbow"), "forearm": ("elbow", "wrist"), "thigh": ("hip", "knee"),
    "shin": ("knee", "ankle"),
}  # fmt: skip
SIZE = (512, 512)


def standing(shift: tuple[float, float] = (256, 16), scale: float = 2.8) -> np.ndarray:
    """Keypoints of COCO, symmetric about x = 0 before the shift, the person's left side at greater x."""
    points = []
    for name in COCO_17.keypoint_names:
        side, _, part = name.partition("_")
        x, y = _STANDING[part if side in ("left", "right") else name]
        points.append([-x if side == "right" else x, y])
    return np.array(points, np.float32) * scale + np.array(shift, np.float32)


def drawn(points: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    """The mask of a person: capsules around limbs, trunk and neck, and a disc for the head."""
    place = dict(zip(COCO_17.keypoint_names, points.astype(float), strict=True))
    inside = np.zeros(size, bool)
    for part, ends in _LIMBS.items():
        for side in ("left", "right"):
            inside |= _capsule(*(place[f"{side}_{end}"] for end in ends), RADII_PX[part], size)
    middles = [(place[f"left_{end}"] + place[f"right_{end}"]) / 2 for end in ("shoulder", "hip")]
    inside |= _capsule(*middles, RADII_PX["trunk"], size)
    ears = (place["left_ear"] + place["right_ear"]) / 2
    inside |= _capsule(middles[0], ears, RADII_PX["neck"], size) | _capsule(
        ears, ears + np.array([0, 1]), RADII_PX["head"], size
    )
    return inside.astype(np.uint8) * np.uint8(255)


def _capsule(start: np.ndarray, end: np.ndarray, radius: float, size: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    along = end - start
    t = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along), 0, 1)
    return np.hypot(x - start[0] - t * along[0], y - start[1] - t * along[1]) <= radius
