"""Finds the files for the paths that a user gives, and names the pictures in them.

A folder stands for every ``.json`` file in it and below it, sorted by path, or for every ``.txt`` file (labels of YOLO)
if there is no ``.json``; hidden files and folders are left out and links to folders are not followed. Other formats
are named one by one: results and shape files often lie beside the keypoints. A file that is given twice is read once.

A file's name is its path below the folder that was given, without suffix (``anna``, ``day2/anna``). Files given in
several places that would get the same name get as many of their parent folders as it takes to tell them apart.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapters.keypoints.containers.folders import files_below
from adapters.keypoints.readers.file_rules import FILE_RULES, ReadingOptions

SUFFIXES = (".json", ".npz", ".parquet", ".csv", ".txt")
_IN_FOLDERS = (".json", ".txt")
"""Suffixes that are read in a folder: the first one that it holds."""
_DEMO_PREFIX = "results_"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LONGEST_MESSAGE = 1000


class BrokenFile(ValueError):
    """One file cannot be read; the others can. The message names the file and the place in it, on one line.

    Messages quote contents of the file; line breaks and terminal sequences become blanks.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_CONTROL.sub(" ", message)[:_LONGEST_MESSAGE])


@dataclass(frozen=True)
class SourceFile:
    """One file to be read."""

    path: str
    name: str
    """The picture or video it describes, if the file itself does not name it."""
    demo_name: str
    """``name`` without the ``results_`` that MMPose's demo scripts put before the picture's name."""
    options: ReadingOptions = FILE_RULES


@dataclass(frozen=True)
class _Found:
    path: str
    real: str
    """The same file's only path; links to folders are resolved."""
    name: str
    """The path below the folder that was given, with suffix."""


def find_files(paths: Sequence[str | os.PathLike[str]], options: ReadingOptions = FILE_RULES) -> tuple[SourceFile, ...]:
    """The files that ``paths`` stand for, in the order of ``paths`` and sorted within folders.

    Args:
        options: the rules for reading them.

    Raises:
        ValueError: nothing is given, a file is missing, a folder has no ``.json`` files, or a suffix is not supported.
    """
    found: dict[str, _Found] = {}
    for path in paths:
        given = os.fspath(path)
        if os.path.isdir(given):
            names = next(filter(None, (files_below(given, suffix) for suffix in _IN_FOLDERS)), [])
            if not names:
                raise ValueError(
                    f"{given}: no {' or '.join(_IN_FOLDERS)} file in or below this folder; give .parquet, .npz and "
                    ".csv by name; keypoints of photographs come from samebody detect, or --detector where there is one"
                )
        elif not given.lower().endswith(SUFFIXES) and not os.path.exists(given):
            raise ValueError(f"{given}: no such file or folder")
        elif not given.lower().endswith(SUFFIXES):
            raise ValueError(
                f"{given}: not a keypoint file; samebody reads {', '.join(SUFFIXES)} and "
                "folders of .json (docs/keypoint-files.md); photographs need --detector"
            )
        elif not os.path.isfile(given):
            raise ValueError(f"{given}: {'not a regular file' if os.path.exists(given) else 'no such file'}")
        else:
            names = [os.path.basename(given)]
        folder = given if os.path.isdir(given) else os.path.dirname(given)
        real_folder = os.path.realpath(folder)
        for name in names:
            real = os.path.join(real_folder, name)
            found.setdefault(real, _Found(os.path.join(folder, name), real, name))
    if not found:
        raise ValueError("no keypoint files given")
    return tuple(replace(source, options=options) for source in _named(list(found.values())))


def _named(found: list[_Found]) -> tuple[SourceFile, ...]:
    stem_count = Counter(_stem(file.real) for file in found)
    # Files that differ only in the suffix keep it.
    strip = [_stem if stem_count[_stem(file.real)] == 1 else str for file in found]
    names = [cut(file.name) for cut, file in zip(strip, found, strict=True)]
    while clashing := {name for name, count in Counter(names).items() if count > 1}:
        for k, file in enumerate(found):
            if names[k] in clashing:
                whole = strip[k](file.real).split(os.sep)
                names[k] = os.sep.join(whole[-names[k].count(os.sep) - 2 :])
    names = [_printable(name) for name in names]
    short = [_without_demo_prefix(name) for name in names]
    claims = Counter(names) + Counter(short)
    return tuple(
        # A picture's name that two files have does not tell them apart.
        SourceFile(file.path, name, demo_name if claims[demo_name] == 1 else name)
        for file, name, demo_name in zip(found, names, short, strict=True)
    )


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]


def _without_demo_prefix(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return folder + slash + (last.removeprefix(_DEMO_PREFIX) or last)


def _printable(name: str) -> str:
    """The path with / between folders on every system. Tables need valid text; file systems allow other names."""
    return os.fsencode(name.replace(os.sep, "/")).decode("utf-8", "backslashreplace")
