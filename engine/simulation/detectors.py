"""Simulated detectors: true keypoints in, detected keypoints out.

Noise of keypoint k is Gaussian with σ_k = level × OKS sigma_k / 0.08 in person heights, over its ``exactness`` w_k (the
square root of a confidence), as the engine assumes it. The assumed level may be wrong. Further errors are systematic
offsets fixed to the bones, gross errors, rounding, swapped labels and invented keypoints at the border.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from engine.body.schema_tables import COCO_FEET
from engine.body.schemas import BODY_25, COCO_17, HALPE_26, KeypointSchema
from engine.picture.noise import NoiseModel
from engine.picture.observation import REFERENCE_STATURE_M
from engine.simulation.settings import DetectorSettings, VisibilitySettings

_SCHEMAS: dict[str, tuple[str, ...]] = {
    "coco17": COCO_17.keypoint_names,
    "halpe26": HALPE_26.keypoint_names,
    "body25": BODY_25.keypoint_names,
    "feet23": (*COCO_17.keypoint_names, *COCO_FEET),
}
_LIMBS = (
    ("left_elbow", "left_wrist"), ("right_elbow", "right_wrist"),
    ("left_knee", "left_ankle", "left_big_toe", "left_small_toe", "left_heel"),
    ("right_knee", "right_ankle", "right_big_toe", "right_small_toe", "right_heel"),
)  # fmt: skip
_HEAD = ("nose", "left_eye", "right_eye", "left_ear", "right_ear", "head")


class Detected(NamedTuple):
    """Keypoints as a detector gives them."""

    points: Float[Array, "keypoints 2"]
    """Metres at the pelvis' depth; an arbitrary number if not seen."""
    exactness: Float[Array, " keypoints"]
    """Square root of the confidence, 0 if not seen; readers of keypoints know it."""
    level: Float[Array, ""]
    """The assumed noise level, person heights."""


def _named(schema: KeypointSchema, names: tuple[str, ...]) -> np.ndarray:
    return np.isin(schema.keypoint_names, names)


class Visible(NamedTuple):
    """What a picture shows of a person."""

    seen: Bool[Array, " keypoints"]
    border: Float[Array, "3"]
    """Normal of the picture's border, pointing outwards, and its distance from the pelvis; infinite without one."""


def draw_seen(
    schema: KeypointSchema, settings: VisibilitySettings, points: Float[Array, "keypoints 2"], key: Array
) -> Visible:
    """Draw which keypoints are seen, and the border that cuts off others."""
    keys = jax.random.split(key, 8)
    names, rates = zip(*settings.schema_rates, strict=True)
    members = np.stack([_named(schema, _SCHEMAS[name]) for name in names])
    seen = jnp.asarray(members)[jax.random.categorical(keys[0], jnp.log(jnp.asarray(rates)))]

    # A border at a random place along a random side of the picture.
    side = jax.random.randint(keys[1], (), 0, 8)
    direction = jnp.array([[0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [0, -1], [1, 0], [-1, 0]], points.dtype)[side]
    along = points @ direction
    low, high = jnp.min(along), jnp.max(along)
    border = low + (high - low) * jax.random.uniform(keys[2], minval=0.35, maxval=1.0)
    within = along <= border

    limbs = np.stack([_named(schema, limb) for limb in _LIMBS])
    lost = jax.random.bernoulli(keys[3], settings.limb_rate, (len(limbs),))
    kept = ~jnp.any(lost[:, None] & limbs, axis=0)
    kept &= ~jax.random.bernoulli(keys[4], settings.missing_rate, kept.shape)
    faceless = jax.random.bernoulli(keys[7], 0.2)
    kept &= ~(faceless & jnp.asarray(_named(schema, _HEAD)))

    cut = jax.random.bernoulli(keys[5], settings.cut_rate)
    partly = jnp.where(cut, within, kept)
    complete = jax.random.bernoulli(keys[6], settings.complete_rate)
    distance = jnp.where(cut & ~complete, border, jnp.inf)
    return Visible(seen & (complete | partly), jnp.concatenate([direction, distance[None]]))


def draw_levels(settings: DetectorSettings, key: Array) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The actual and the assumed noise level, person heights."""
    keys = jax.random.split(key, 3)
    low, high = (np.log(level) for level in settings.level)
    common = np.log(settings.common_level)
    place = jax.random.uniform(keys[0])
    rising = (common - low) / (high - low)
    # Inverse of the triangular distribution's cumulative function.
    below = low + jnp.sqrt(place * (high - low) * (common - low))
    above = high - jnp.sqrt((1 - place) * (high - low) * (high - common))
    actual = jnp.where(place < rising, below, above)
    off = settings.misjudged * jax.random.normal(keys[1])
    return jnp.exp(actual), jnp.exp(actual + jnp.where(jax.random.bernoulli(keys[2]), off, 0.0))


def detect(
    schema: KeypointSchema,
    settings: DetectorSettings,
    points: Float[Array, "keypoints 2"],
    bones: Float[Array, "keypoints 2 3"],
    seen: Bool[Array, " keypoints"],
    detector_key: Array,
    key: Array,
) -> Detected:
    """Keypoints with the faults of a detector.

    Args:
        points: true keypoints, metres at the pelvis' depth.
        bones: projection of an offset in the frame of each keypoint's bone, for systematic offsets.
        detector_key: key of the quantities that pictures of one detector share: noise level, exactness, offsets.
        key: key of the quantities that each picture has for itself.
    """
    shared, keys = iter(jax.random.split(detector_key, 5)), iter(jax.random.split(key, 15))
    unit = REFERENCE_STATURE_M
    count = len(schema)
    relative = NoiseModel(1.0).sigmas(schema)

    level, assumed = draw_levels(settings, next(shared))
    known = jax.random.bernoulli(next(shared), settings.own_confidence_rate)
    own = jax.random.uniform(next(shared), (count,), minval=0.35, maxval=1.2)
    exactness = jnp.where(known, own, 1.0)
    noisy = points + unit * level * (relative / exactness)[:, None] * jax.random.normal(next(keys), (count, 2))

    habit = jax.random.bernoulli(next(shared), settings.habit_rate)
    offsets = settings.habit_level * relative[:, None] * jax.random.normal(next(shared), (count, 3))
    swap = np.array(schema.swap)
    # Left and right have mirrored offsets; a part in the middle has no sideways offset.
    mirrored = offsets[swap] * jnp.array([-1.0, 1.0, 1.0], offsets.dtype)
    first = np.arange(count) < swap
    offsets = jnp.where(first[:, None], mirrored, jnp.where((np.arange(count) == swap)[:, None],
                                                            0.5 * (offsets + mirrored), offsets))  # fmt: skip
    noisy = noisy + jnp.where(habit, unit, 0.0) * jnp.einsum("kab,kb->ka", bones, offsets)

    gross = jax.random.bernoulli(next(keys), settings.tail_rate)
    gross = gross & jax.random.bernoulli(next(keys), settings.gross_rate, (count,))
    noisy = noisy + jnp.where(gross, settings.gross_size * unit, 0.0)[:, None] * jax.random.normal(
        next(keys), (count, 2)
    )

    # Invented keypoints of hidden parts lie low, near the middle of the seen keypoints.
    invents = jax.random.bernoulli(next(keys), settings.foreign_rate)
    middle = jnp.sum(jnp.where(seen[:, None], points, 0.0), axis=0) / jnp.maximum(jnp.sum(seen), 1)
    invented = middle + 0.25 * unit * jax.random.normal(next(keys), (count, 2))
    fake = invents & ~seen & jax.random.bernoulli(next(keys), 0.3, (count,))
    noisy = jnp.where(fake[:, None], invented, noisy)
    seen = seen | fake

    small = jax.random.bernoulli(next(keys), settings.rounded_rate)
    smallest, largest = (np.log(size) for size in settings.small_height_px)
    pixel = unit / jnp.exp(jax.random.uniform(next(keys), minval=smallest, maxval=largest))
    place = jax.random.uniform(next(keys), (2,))
    noisy = jnp.where(small, pixel * (jnp.round(noisy / pixel + place) - place), noisy)

    swapped = jax.random.bernoulli(next(keys), settings.swapped_rate)
    which = jax.random.randint(next(keys), (), 0, 3)
    arms = np.array([any(part in name for part in ("shoulder", "elbow", "wrist")) for name in schema.keypoint_names])
    legs = np.array(
        [any(part in name for part in ("hip", "knee", "ankle", "toe", "heel")) for name in schema.keypoint_names]
    )
    turns = swapped & jnp.where(which == 0, jnp.asarray(arms), jnp.where(which == 1, jnp.asarray(legs), arms | legs))
    noisy = jnp.where(turns[:, None], noisy[swap], noisy)
    seen = jnp.where(turns, seen[swap], seen)
    exactness = jnp.where(turns, exactness[swap], exactness)
    return Detected(noisy, jnp.where(seen, exactness, 0.0), assumed)
