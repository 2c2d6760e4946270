"""Clothes and hair of simulated people: how much thicker they make each part, skirts, and wraps.

A wrap is cloth that hangs straight over several parts: in the picture it covers their convex hull, and a little more.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from engine.simulation.settings import ClothesSettings
from engine.simulation.surface import PARTS, SKIRT_LEVELS, Surface

_UPPER = np.isin(PARTS, ("neck", "chest", "belly", "upper_arm", "forearm"))
_LEGS = np.isin(PARTS, ("pelvis", "thigh", "shin"))
_COAT = np.isin(PARTS, ("chest", "belly", "pelvis", "upper_arm", "forearm"))
_SHOES = np.isin(PARTS, ("foot",))
_NECK = PARTS.index("neck")
_WRAPS = np.array(
    [
        np.isin(PARTS, parts)
        for parts in (
            ("chest", "belly", "pelvis"), ("chest", "belly", "pelvis", "thigh"), ("pelvis", "thigh"),
            ("chest", "belly", "upper_arm"),
        )
    ],
    np.float32,
)  # fmt: skip
"""Parts under wide tops, dresses, straight skirts and capes."""
_THIGH = PARTS.index("thigh")
_LONGEST_WAVE = 6.0
"""Radians per metre; the shortest waves of the thickness have three times as many."""


class Clothes(NamedTuple):
    """What one person wears in one picture. Thickness in metres."""

    declared: Float[Array, ""]
    """Standard deviation of the half-normal thickness, if it is known; else NaN."""
    thickness: Float[Array, "sides parts"]
    """On the body's right and left."""
    waves: Float[Array, "3"]
    """Radians per metre."""
    phase: Float[Array, ""]
    ripple: Float[Array, ""]
    hair: Float[Array, ""]
    long_hair: Float[Array, ""]
    hem: Float[Array, ""]
    """In the units of ``SKIRT_LEVELS``; negative without a skirt."""
    flare: Float[Array, ""]
    """Distance of the hem from the legs."""
    wrapped: Float[Array, " parts"]
    """1 for parts under a wrap, else 0; thighs down to the hem."""
    ease: Float[Array, ""]
    """Distance between a wrap and what it touches."""


def draw_clothes(settings: ClothesSettings, person_key: Array, key: Array) -> Clothes:
    """Clothes of one picture: the person's usual ones, or others.

    Args:
        person_key: the same in all pictures of a person.
        key: of the picture.
    """
    usual_key, habit_key, hair_key = jax.random.split(person_key, 3)
    usual, other = _draw(settings, usual_key), _draw(settings, key)
    repeats = jax.random.bernoulli(habit_key, settings.repeat_rate)
    chosen = jax.tree.map(lambda a, b: jnp.where(repeats, a, b), usual, other)
    # Hair seldom changes.
    changes = jax.random.bernoulli(hair_key, 0.2)
    return chosen._replace(
        hair=jnp.where(changes, other.hair, usual.hair), long_hair=jnp.where(changes, other.long_hair, usual.long_hair)
    )


def _draw(settings: ClothesSettings, key: Array) -> Clothes:
    keys = iter(jax.random.split(key, 18))
    levels, rates = (jnp.asarray(column) for column in zip(*settings.kinds, strict=True))
    kinds = jax.random.categorical(next(keys), jnp.log(rates), shape=(2,))
    differs = jax.random.bernoulli(next(keys), settings.other_kind_rate)
    upper, legs = levels[kinds[0]], levels[jnp.where(differs, kinds[1], kinds[0])]
    level = upper * _UPPER + legs * _LEGS + settings.shoes * _SHOES
    thickness = level * jnp.abs(jax.random.normal(next(keys), (len(PARTS),)))
    coat = jax.random.bernoulli(next(keys), settings.coat_rate)
    low, high = settings.coat_thickness
    thickness += jnp.where(coat, 1.0, 0.0) * _COAT * jax.random.uniform(next(keys), minval=low, maxval=high)
    uneven = 0.5 * settings.asymmetry * jax.random.normal(next(keys), (len(PARTS),))
    skirt = coat | jax.random.bernoulli(next(keys), settings.skirt_rate)
    hem = jax.random.uniform(next(keys), minval=SKIRT_LEVELS[0], maxval=SKIRT_LEVELS[-1] + 0.1)
    long = jax.random.bernoulli(next(keys), settings.long_hair_rate)
    hair = settings.hair * jnp.abs(jax.random.normal(next(keys), (2,)))
    wrap = jax.random.bernoulli(next(keys), settings.wrap_rate)
    wrapped = jnp.where(wrap, jnp.asarray(_WRAPS)[jax.random.randint(next(keys), (), 0, len(_WRAPS))], 0.0)
    declared = jax.random.bernoulli(next(keys), settings.declared_rate) & (upper == legs) & ~skirt & ~wrap
    return Clothes(
        declared=jnp.where(declared, upper, jnp.nan),
        thickness=thickness * jnp.exp(jnp.stack([uneven, -uneven])),
        waves=jax.random.uniform(next(keys), (3,), minval=-3 * _LONGEST_WAVE, maxval=3 * _LONGEST_WAVE),
        phase=jax.random.uniform(next(keys), maxval=2 * np.pi),
        ripple=jax.random.uniform(next(keys), maxval=settings.ripple),
        hair=hair[0],
        long_hair=jnp.where(long, 1.5 * hair[1], 0.0),
        hem=jnp.where(skirt | (wrapped[_THIGH] > 0), hem, -1.0),
        flare=settings.flare * jnp.abs(jax.random.normal(next(keys))) * skirt * jnp.where(coat, 0.5, 1.0),
        wrapped=wrapped,
        ease=settings.ease * jnp.abs(jax.random.normal(next(keys))),
    )


def thickness_of(surface: Surface, clothes: Clothes, rest: Float[Array, "vertices 3"]) -> Float[Array, " vertices"]:
    """How far clothes and hair stand off each vertex, metres.

    Args:
        rest: the body's vertices in rest pose.
    """
    right, left = clothes.thickness @ jnp.asarray(surface.parts).T
    side = jnp.asarray(surface.left)
    wave = 1 + clothes.ripple * jnp.cos(rest @ clothes.waves + clothes.phase)
    behind = surface.parts[:, _NECK] * (jnp.asarray(surface.normals)[:, 2] < 0.3)
    return (right + side * (left - right)) * wave + clothes.hair * surface.scalp + clothes.long_hair * behind


def skirt_vertices(
    surface: Surface, clothes: Clothes, dressed: Float[Array, "vertices 3"], normals: Float[Array, "vertices 3"]
) -> Float[Array, "skirt 3"]:
    """Left ring, right ring and the cloth between them; without a skirt, the rings lie on the legs."""
    levels = jnp.asarray(SKIRT_LEVELS)
    worn: Bool[Array, " levels"] = levels <= clothes.hem
    stands_off = jnp.where(worn, clothes.flare * levels / jnp.maximum(clothes.hem, SKIRT_LEVELS[0]), 0.0)
    left, right = dressed[surface.rings] + stands_off[:, None, None] * normals[surface.rings]
    across = jnp.where(worn[:, None, None], right, left)
    return jnp.concatenate([left.reshape(-1, 3), right.reshape(-1, 3), across.reshape(-1, 3)])


def under_wrap(surface: Surface, clothes: Clothes) -> Bool[Array, " vertices"]:
    """Whether a wrap covers each of the body's vertices, then of the skirt's. Of the legs, it covers the rings."""
    worn = (jnp.asarray(SKIRT_LEVELS) <= clothes.hem) & (clothes.wrapped[_THIGH] > 0)
    own = jnp.asarray(surface.parts) @ clothes.wrapped.at[_THIGH].set(0.0) > 0.5
    directions = surface.rings.shape[-1]
    return jnp.concatenate([own, jnp.tile(jnp.repeat(worn, directions), 3)])
