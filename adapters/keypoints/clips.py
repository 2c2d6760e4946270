"""Which pictures are frames of one clip: neighbouring frames repeat their errors, and do not count one by one."""

import re

_FRAME = re.compile(r"(.+)[_#]\d{6}$")


def clip_of(image: str) -> str | None:
    """The clip of a picture by its name, ``NAME_000123`` or ``NAME#000123``, as readers and detectors name the frames
    of a video; None for all others.
    """
    frame = _FRAME.match(image)
    return None if frame is None else frame[1]
