"""Finds body models in a folder by their names, and describes models that samebody does not read.

SMPL is unpacked in many ways: models/smpl/SMPL_NEUTRAL.pkl, SMPL_python_v.1.1.0/smpl/models/basicmodel_..., SMPLify's
smplify_public/code/models. Folders are therefore searched some levels deep; no file is opened.
"""

import os
import re
from pathlib import Path

_DEEPEST = 5
_MOST_FOLDERS = 2000
_FILE_NAME = re.compile(
    r"(smpl_(?P<long>neutral|male|female)|basicmodel_(?P<short>neutral|n|m|f)_lbs_\d+_207_0_v[\d.]+)\.(pkl|npz)",
    re.IGNORECASE,
)
_FIRST_VERSION = re.compile(r"basicmodel_[mf]_lbs_.*_v1\.0\.0\.pkl", re.IGNORECASE)
_OTHERS = (
    (re.compile(r"smplx_.*\.(npz|pkl)", re.IGNORECASE), "SMPL-X, another model with hands and face"),
    (re.compile(r"smplh_.*\.(npz|pkl)|.*smplh.*\.npz", re.IGNORECASE), "SMPL+H, another model with hands"),
    (re.compile(r"mano_.*\.pkl", re.IGNORECASE), "MANO, a hand"),
    (re.compile(r"flame.*\.pkl|generic_model\.pkl", re.IGNORECASE), "FLAME, a head"),
    (
        re.compile(r"processed_basicmodel_.*|.*basicmodel.*(cocoplus|h36m).*", re.IGNORECASE),
        "made from SMPL by another program; take the file that it was made from",
    ),
    (re.compile(r".*smpl.*\.zip|.*mpips.*\.zip", re.IGNORECASE), "an archive; unpack it first"),
)
_MOST_LISTED = 8


def gender_of(file_name: str) -> str | None:
    """The gender in an official file name; None for names of other kinds."""
    match = _FILE_NAME.fullmatch(file_name)
    if match is None:
        return None
    gender = (match["long"] or match["short"]).lower()
    return {"n": "neutral", "m": "male", "f": "female"}.get(gender, gender)


def model_like_files(folder: Path) -> list[Path]:
    """Files with names of body models, nearest first; in one folder the highest version first."""
    found: list[Path] = []
    waiting = [folder]
    for depth in range(_DEEPEST + 1):
        below: list[Path] = []
        for place in waiting:
            files, folders = _entries(place)
            found += sorted(files, key=lambda file: (file.name.lower(), file.name), reverse=True)
            below += sorted(folders)
        waiting = below[:_MOST_FOLDERS] if depth < _DEEPEST else []
    return found


def what_was_seen(folder: Path, found: list[Path], gender: str) -> str:
    """The end of a message, with the files that were found instead and their kinds."""
    listed = [f"{file.relative_to(folder)}{_remark(file.name)}" for file in found[:_MOST_LISTED]]
    more = f" and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
    seen = f". It has {', '.join(listed)}{more}" if listed else ""
    if gender == "neutral" and any(_FIRST_VERSION.fullmatch(file.name) for file in found):
        seen += ". SMPL's version 1.0.0 has no neutral model: it comes with version 1.1.0"
    return seen


def _remark(name: str) -> str:
    if gender_of(name) is not None:
        return ""
    return next((f" ({what})" for pattern, what in _OTHERS if pattern.fullmatch(name)), "")


def _entries(place: Path) -> tuple[list[Path], list[Path]]:
    files, folders = [], []
    try:
        for entry in os.scandir(place):
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif gender_of(entry.name) or _remark(entry.name):
                files.append(Path(entry.path))
    except PermissionError:
        pass
    return files, folders
