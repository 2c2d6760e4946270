"""A check that no command overwrites its inputs."""

import os
from collections.abc import Iterable
from pathlib import Path

_READ_IN_FOLDERS = (".json", ".txt", ".png")
"""Suffixes of outputs that are also read from a given folder: keypoints, labels, photographs."""


def keep_inputs(out: Path | None, inputs: Iterable[str | os.PathLike[str] | None]) -> None:
    """Refuse an output that is one of the inputs, or a file of keypoints or a photograph in a folder that is read.

    Raises:
        ValueError: the output is an input; the message names both.
    """
    if out is None or not out.exists():
        return
    for path in inputs:
        if path is None or not os.path.exists(path):
            continue
        read = (
            os.path.isdir(path)
            and out.suffix.lower() in _READ_IN_FOLDERS
            and out.resolve().is_relative_to(Path(path).resolve())
        )
        if read or os.path.samefile(out, path):
            raise ValueError(f"{out} would be overwritten, and is an input itself ({path}); give another --out")
