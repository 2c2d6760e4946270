"""Finds pictures that are frames of one clip: neighbouring frames repeat their errors and are not independent."""

import re

_FRAME = re.compile(r"(.+)[_#]\d{6}$")


def clip_of(image: str) -> str | None:
    """The clip of a picture by its name, ``NAME_000123`` or ``NAME#000123``, which readers and detectors give to the
    frames of a video; None for all others.
    """
    frame = _FRAME.match(image)
    return None if frame is None else frame[1]
