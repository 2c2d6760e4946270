"""Which files are meant by the paths that a user gives, and how the pictures in them are called.

A folder stands for every ``.json`` file in it and below it, sorted by path; hidden files and folders are left out and
links to folders are not followed. Other formats are named one by one: results and shape files often lie beside the
keypoints. A file that is given twice is read once.

A file's name is its path below the folder that was given, without suffix (``anna``, ``day2/anna``). Files given in
several places that would get the same name get as many of their parent folders as it takes to tell them apart.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".json", ".npz", ".parquet")
_DEMO_PREFIX = "results_"


class BrokenFile(ValueError):
    """One file cannot be read; the others can. The message names the file and the place in it."""


@dataclass(frozen=True)
class SourceFile:
    """One file to be read."""

    path: Path
    name: str
    """The picture or video it describes, where the file itself does not say."""
    demo_name: str
    """``name`` without the ``results_`` that MMPose's demo scripts put before the picture's name."""


def find_files(paths: Sequence[str | os.PathLike[str]]) -> tuple[SourceFile, ...]:
    """The files that ``paths`` stand for, in the order of ``paths`` and sorted within folders.

    Raises:
        ValueError: nothing given, no such file, a folder without ``.json`` files, or a suffix that nobody reads here.
    """
    found: dict[str, tuple[Path, tuple[str, ...]]] = {}
    for given in map(Path, paths):
        if given.is_dir():
            below = _json_below(given)
            if not below:
                raise ValueError(f"{given}: no .json file in or below this folder (give .parquet and .npz by name)")
            for path in below:
                found.setdefault(os.path.realpath(path), (path, path.relative_to(given).with_suffix("").parts))
        elif given.suffix.lower() not in SUFFIXES:
            raise ValueError(f"{given}: not a keypoint file; samebody reads {', '.join(SUFFIXES)} and folders of .json")
        elif not given.is_file():
            raise ValueError(f"{given}: no such file" if not given.exists() else f"{given}: not a regular file")
        else:
            found.setdefault(os.path.realpath(given), (given, (given.stem,)))
    if not found:
        raise ValueError("no keypoint files given")
    return _named(list(found.items()))


def _json_below(folder: Path) -> list[Path]:
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if name.lower().endswith(".json") and not name.startswith(".")]
    return sorted(found, key=lambda path: path.parts)


def _named(found: list[tuple[str, tuple[Path, tuple[str, ...]]]]) -> tuple[SourceFile, ...]:
    same_stem = Counter(Path(real).with_suffix("") for real, _ in found)
    whole, parts = [], []
    for real, (path, name) in found:
        bare = Path(real).with_suffix("")
        unique = same_stem[bare] == 1
        whole.append(bare.parts if unique else Path(real).parts)
        parts.append(name if unique else (*name[:-1], path.name))
    while clashing := {name for name, count in Counter(parts).items() if count > 1}:
        parts = [w[-len(p) - 1 :] if p in clashing else p for p, w in zip(parts, whole, strict=True)]
    names = [_printable("/".join(p)) for p in parts]
    short = [_printable("/".join((*p[:-1], p[-1].removeprefix(_DEMO_PREFIX) or p[-1]))) for p in parts]
    claims = Counter(names) + Counter(short)
    return tuple(
        # A picture's name that two files claim would not tell them apart.
        SourceFile(path, name, demo_name if claims[demo_name] == 1 else name)
        for (_, (path, _)), name, demo_name in zip(found, names, short, strict=True)
    )


def _printable(name: str) -> str:
    """File systems allow names that are no text; tables do not."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
