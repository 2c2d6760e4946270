"""Folders that a command fills and may fill again. Only files that samebody wrote there are deleted.

    pictures_files/
        samebody-files.json    name and digest of every file that samebody wrote here
        000000.jpg ...

A folder is replaced (``fill_own_folder``) only if it is empty, or if each of its entries is a file that the list names,
with the content that the list records. A folder with any other entry, also another folder or a link, is refused. The
new content is written beside the folder and renamed, so that an interruption leaves the old one.

A command may also write files into a folder with other files (``own_files``). The same list then has the files that it
may overwrite.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from engine.body.files import replace_file

LIST_NAME = "samebody-files.json"
_LARGEST_LIST_BYTES = 64 << 20


class FolderList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """List of samebody's files in a folder."""

    format: str
    files: dict[str, str]
    """Name to BLAKE2 digest of the content; empty while the file is being written."""


_FORMAT = "samebody-files-1"


def check_own_folder(folder: Path, keep: Iterable[Path] = ()) -> None:
    """Check that ``folder`` may be written, or replaced.

    Args:
        keep: folders and files of the user that must not lie in it.

    Raises:
        ValueError: it is a link, holds something that samebody did not write, or equals or contains one of ``keep``.
    """
    real = os.path.realpath(folder)
    for path in keep:
        if Path(os.path.realpath(path)).is_relative_to(real):
            raise ValueError(f"{folder} would be replaced, and {path} lies in it; give another --out")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{folder} is a link or a file, not a folder of samebody; give another --out")
    if folder.is_dir():
        _own_files(folder)


def fill_own_folder(folder: Path, files: Iterable[tuple[str, bytes]], keep: Iterable[Path] = ()) -> None:
    """Write a folder with these files, and replace the one that samebody wrote before.

    Raises:
        ValueError: as for ``check_own_folder``; nothing has been changed.
    """
    check_own_folder(folder, keep)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name[:100]}.", suffix=".part"))
    try:
        written: dict[str, str] = {}
        for name, content in files:
            (new / name).write_bytes(content)
            written[name] = _digest(new / name)
        _write_list(new, written)
        _as_new_folder(new)
        # The old folder is checked again: the files may have taken minutes to make.
        if folder.is_dir():
            remove_own_folder(folder)
        os.rename(new, folder)
    except BaseException:
        # This function made the folder under a random name, so all files in it are its own.
        shutil.rmtree(new, ignore_errors=True)
        raise


def check_own_files(folder: Path, names: Iterable[str]) -> None:
    """Check that files of these names may be written into a folder; other files are ignored.

    Raises:
        ValueError: one of them exists and differs from the file that samebody wrote.
    """
    listed = _listed(folder)
    for name in (*names, LIST_NAME):
        file = folder / name
        if not os.path.lexists(file):
            continue
        plain = not file.is_symlink() and file.is_file()
        own = bool(listed) if name == LIST_NAME else plain and listed.get(name) in ("", _digest(file))
        if not own:
            raise ValueError(
                f"{file} would be overwritten, and samebody did not write it, or it was changed since; move it, or "
                "give another --out"
            )


@contextmanager
def own_files(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """A block that writes files of these names into a folder; files that exist afterwards are listed as samebody's.

    If the block is interrupted, they may be written again.

    Raises:
        ValueError: as for ``check_own_files``; nothing has been changed.
    """
    names = list(names)
    check_own_files(folder, names)
    folder.mkdir(parents=True, exist_ok=True)
    _write_list(folder, _listed(folder) | dict.fromkeys(names, ""))
    yield
    written = {name: _digest(folder / name) for name in names if (folder / name).is_file()}
    others = {name: digest for name, digest in _listed(folder).items() if name not in names}
    _write_list(folder, others | written)


def remove_own_folder(folder: Path) -> None:
    """Delete a folder that samebody filled, if it holds no other files.

    Raises:
        ValueError: it holds other files; nothing has been deleted.
    """
    for name in _own_files(folder):
        (folder / name).unlink()
    folder.rmdir()


def _own_files(folder: Path) -> list[str]:
    """Names of all files in a folder of samebody; the list comes last, so that an interrupted removal can continue."""
    entries = sorted(entry.name for entry in os.scandir(folder))
    if not entries:
        return []
    refused = ValueError(f"{folder} holds files that samebody did not write; give another --out, or move them")
    listed = _listed(folder)
    own = [name for name in entries if name != LIST_NAME]
    for name in own:
        file = folder / name
        if name not in listed or file.is_symlink() or not file.is_file() or _digest(file) != listed[name]:
            raise refused
    if len(own) == len(entries):
        raise refused
    return [*own, LIST_NAME]


def _listed(folder: Path) -> dict[str, str]:
    """Names and digests of the list in a folder; empty if there is no readable list."""
    path = folder / LIST_NAME
    try:
        if path.is_symlink() or path.stat().st_size > _LARGEST_LIST_BYTES:
            return {}
        listed = msgspec.json.decode(path.read_bytes(), type=FolderList)
    except (OSError, msgspec.DecodeError):
        return {}
    return listed.files if listed.format == _FORMAT else {}


def _write_list(folder: Path, files: dict[str, str]) -> None:
    content = msgspec.json.encode(FolderList(_FORMAT, files), order="sorted")

    def write(stream: IO[bytes]) -> None:
        stream.write(content)

    replace_file(folder / LIST_NAME, write)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _as_new_folder(folder: Path) -> None:
    """Give a private folder of mkdtemp the permissions of an ordinary new one."""
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(folder, 0o777 & ~umask)
