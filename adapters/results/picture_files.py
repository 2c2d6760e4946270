"""Files of pictures that a result names, found below one folder by path or by name, with or without suffix."""

import os
from collections.abc import Sequence
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")


def find_pictures(
    folder: str | os.PathLike[str],
    names: Sequence[str],
    option: str = "--images",
    leave_out: Path | None = None,
) -> list[Path | None]:
    """The file of each named picture; None if no file or several files match.

    Links that lead out of the folder are left out: pictures are shown, copied and sent, and a folder from somebody else
    must not select other files of this machine.

    Args:
        option: command line option of the folder, for the error.
        leave_out: a folder that is not searched.

    Raises:
        ValueError: there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"no folder {folder}; {option} takes the folder that holds the pictures")
    real_root = os.path.realpath(root)
    hidden = None if leave_out is None else os.path.realpath(leave_out)
    by_path: dict[str, Path | None] = {}
    by_name: dict[str, Path | None] = {}
    for parent, folders, files in os.walk(root):
        kept = (name for name in sorted(folders) if not name.startswith("."))
        folders[:] = [name for name in kept if hidden is None or os.path.realpath(Path(parent, name)) != hidden]
        for name in sorted(files):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() not in SUFFIXES or name.startswith("."):
                continue
            path = Path(parent, name)
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(real_root):
                continue
            below = path.relative_to(root).as_posix()
            for keys, table in (((below, below[: len(below) - len(suffix)]), by_path), ((name, stem), by_name)):
                for key in keys:
                    table[key] = path if key not in table or table[key] == path else None
    found = []
    for name in names:
        plain = name.replace("\\", "/")
        last = plain.rpartition("/")[2]
        path = by_path.get(plain) or by_name.get(last) or by_name.get(os.path.splitext(last)[0])
        found.append(path if path is not None and _agree(plain, path.relative_to(root).as_posix()) else None)
    return found


def _agree(name: str, below: str) -> bool:
    """True if the folders of a name and of a file agree from the end, over the length of the shorter one."""
    folders, others = (text.strip("/").split("/")[:-1] for text in (name, below))
    shorter = min(len(folders), len(others))
    return shorter == 0 or folders[-shorter:] == others[-shorter:]
