"""Pictures of real people and trials on them: which pictures are compared with which.

The files are those of the folder ``people`` that ``benchmarks.real_people`` is given: Market-1501 (pedestrians, six
cameras) and DeepFashion in-shop (one shoot shows one model). People are split once, by person: those with an even
index are for development and for calibrations, those with an odd index for the figures.

A draw gives every person two sides, A and B, of pictures that share no camera (no shot), because pictures of one
camera are near-duplicates. Every A is compared with every B.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int

from engine.body.schemas import COCO_17

LIMB_POINTS = tuple(
    COCO_17.keypoint_names.index(f"{side}_{joint}")
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
_ATTEMPTS = 8
"""Random orders of a person's cameras that are tried until both sides have enough pictures."""


@dataclass(frozen=True)
class RealPictures:
    """Pictures of known people, keypoints only."""

    name: str
    keypoints: Float32[np.ndarray, "images keypoints 2"]
    """0 where not seen."""
    confidence: Float32[np.ndarray, "images keypoints"]
    """1 or 0."""
    person: Int[np.ndarray, " images"]
    """From 0."""
    owner: Int[np.ndarray, " images"]
    """Pictures of one owner are never taken for different people (DeepFashion: the item)."""
    camera: Int[np.ndarray, " images"]
    view: np.ndarray
    """``front``, ``back``, ``side`` ..., or empty."""

    @property
    def for_development(self) -> Bool[np.ndarray, " images"]:
        """The half of the people that is for development; the others are for the figures."""
        return self.owner % 2 == 0

    @property
    def seen(self) -> Int[np.ndarray, " images"]:
        """How many keypoints are seen."""
        return np.count_nonzero(self.confidence, axis=1)

    @property
    def whole(self) -> Bool[np.ndarray, " images"]:
        """All twelve points of the limbs are seen."""
        return np.all(self.confidence[:, LIMB_POINTS], axis=1)


def load_market(folder: Path) -> RealPictures:
    with np.load(folder / "market_train.npz", allow_pickle=False) as stored:
        person = _numbered(stored["person"])
        return _pictures("Market-1501", stored["keypoints"], person, person, stored["camera"], None)


def load_deepfashion(folder: Path) -> RealPictures:
    with np.load(folder / "deepfashion_dev.npz", allow_pickle=False) as stored:
        person, owner = _numbered(stored["shoot"]), _numbered(stored["item"])
        return _pictures("DeepFashion", stored["keypoints"], person, owner, stored["shot"], stored["view"])


class Trials(NamedTuple):
    """Sides of one draw, by row number."""

    a: Int[np.ndarray, "people pictures_a"]
    b: Int[np.ndarray, "people pictures_b"]
    comparable: Bool[np.ndarray, "people people"]
    """Whether A of one and B of another share no camera and are sure to be of different people, or are of one."""


def draw_trials(
    pictures: RealPictures,
    rows_a: Int[np.ndarray, " rows_a"],
    rows_b: Int[np.ndarray, " rows_b"],
    sizes: tuple[int, int],
    random: np.random.Generator,
) -> Trials:
    """One draw of both sides of every person who has enough pictures.

    Args:
        rows_a, rows_b: which pictures the sides may be drawn from.
        sizes: how many pictures A and B have.
    """
    by_person_a, by_person_b = (_by_person(pictures, rows) for rows in (rows_a, rows_b))
    sides = [
        side
        for person in sorted(by_person_a.keys() & by_person_b.keys())
        if (side := _sides(pictures.camera, by_person_a[person], by_person_b[person], sizes, random)) is not None
    ]
    a, b = (np.array([side[i] for side in sides], int).reshape(len(sides), sizes[i]) for i in (0, 1))
    cameras_a, cameras_b = pictures.camera[a], pictures.camera[b]
    shared = (cameras_a[:, None, :, None] == cameras_b[None, :, None, :]).any(axis=(2, 3))
    different = pictures.owner[a[:, 0]][:, None] != pictures.owner[b[:, 0]][None]
    return Trials(a, b, (different & ~shared) | np.eye(len(a), dtype=bool))


def _pictures(
    name: str, keypoints: np.ndarray, person: np.ndarray, owner: np.ndarray, camera: np.ndarray, view: np.ndarray | None
) -> RealPictures:
    seen = np.all(np.isfinite(keypoints), axis=2)
    return RealPictures(
        name=name,
        keypoints=np.where(seen[..., None], keypoints, 0).astype(np.float32),
        confidence=seen.astype(np.float32),
        person=person,
        owner=owner,
        camera=camera.astype(int),
        view=np.full(len(person), "") if view is None else view,
    )


def _numbered(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


def _by_person(pictures: RealPictures, rows: np.ndarray) -> dict[int, np.ndarray]:
    order = rows[np.argsort(pictures.person[rows], kind="stable")]
    people, starts = np.unique(pictures.person[order], return_index=True)
    return dict(zip(people.tolist(), np.split(order, starts[1:]), strict=True))


def _sides(
    camera: np.ndarray, rows_a: np.ndarray, rows_b: np.ndarray, sizes: tuple[int, int], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Pictures of one person whose cameras differ between the sides, or None."""
    cameras = np.unique(camera[np.concatenate([rows_a, rows_b])])
    for _ in range(_ATTEMPTS if len(cameras) > 1 else 0):
        own = random.permutation(cameras)[: random.integers(1, len(cameras))]
        left, right = rows_a[np.isin(camera[rows_a], own)], rows_b[~np.isin(camera[rows_b], own)]
        if len(left) >= sizes[0] and len(right) >= sizes[1]:
            return random.choice(left, sizes[0], replace=False), random.choice(right, sizes[1], replace=False)
    return None
