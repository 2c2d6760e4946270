"""Files below a folder."""

import os


def files_below(folder: str | os.PathLike[str], suffixes: str | tuple[str, ...]) -> list[str]:
    """Paths below ``folder`` of the files with one of the suffixes, sorted part by part; hidden ones are left out.

    Args:
        suffixes: lower case; those of files may have any.
    """
    names = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(parent, folder)
        prefix = "" if below == os.curdir else below + os.sep
        names += [prefix + name for name in files if name.lower().endswith(suffixes) and not name.startswith(".")]
    return sorted(names, key=lambda name: name.split(os.sep))
