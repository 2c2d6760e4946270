"""Translates keypoint names of programs and annotators to the names of samebody.

Names are compared without case, separators and the place of the side: ``Left Shoulder``, ``l_shoulder``,
``shoulder-left``, ``LShoulder`` and ``Right-ankle`` are known names. A few parts have several names in use. Names that
match nothing keep their spelling: they are carried along, and no body models them.
"""

import re
from collections.abc import Sequence
from functools import cache

from engine.body.schemas import SCHEMAS

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SIDES = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}
_SYNONYMS = {
    "midhip": "hip",
    "hipcenter": "hip",
    "hipcentre": "hip",
    "hipscenter": "hip",
    "pelvis": "hip",
    "headtop": "head",
    "tophead": "head",
    "topofhead": "head",
    "toebig": "bigtoe",
    "toesmall": "smalltoe",
    "littletoe": "smalltoe",
}

_Key = tuple[str, str]


def known_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names that samebody uses for the same points; unknown names stay as they are."""
    known = _known()
    return tuple(name if name in known.values() else known.get(_key(name), name) for name in names)


def is_known(name: str) -> bool:
    """True if a known schema has a keypoint of that name."""
    return name in _known().values()


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names for a message: the first few."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


@cache
def _known() -> dict[_Key, str]:
    return {_key(name): name for schema in SCHEMAS.values() for name in schema.keypoint_names}


def _key(name: str) -> _Key:
    """The side and the part, lower case and without separators."""
    words = [word.lower() for word in _WORD.findall(name)]
    side = next((_SIDES[word] for word in words if word in _SIDES), "")
    part = "".join(word for word in words if word not in _SIDES)
    return side, _SYNONYMS.get(part, part)
