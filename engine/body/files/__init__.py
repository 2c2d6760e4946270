"""Writing files whole or not at all."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_temporaries: set[str] = set()


@contextmanager
def whole_file(path: str | os.PathLike[str], temporary_folder: Path | None = None) -> Iterator[IO[bytes]]:
    """A stream into a temporary file beside ``path``, renamed into place when the block ends well.

    A reader sees the old file or the new one. An exception in the block, Ctrl-C included, leaves the old one and
    nothing else; a kill may leave the temporary file.

    Args:
        temporary_folder: another place on the same disk for the temporary file, ``.<name>.<random>.part``.

    Raises:
        ValueError: ``path`` is a folder, or its folder does not exist.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise ValueError(f"cannot write {target}: there is no folder {target.parent}; make it first")
    if target.is_dir():
        raise ValueError(f"cannot write {target}: it is a folder; give the name of a file")
    descriptor, temporary = tempfile.mkstemp(
        dir=temporary_folder or target.parent, prefix=f".{target.name[:100]}.", suffix=".part"
    )
    _temporaries.add(temporary)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes private files; the result gets the permissions that an ordinary new file would have.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    finally:
        _temporaries.discard(temporary)


def remove_temporaries() -> None:
    """Delete the temporary files that ``whole_file`` is writing, for a process that is about to end."""
    for temporary in list(_temporaries):
        Path(temporary).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Force a rename to the disk, on systems and disks that support it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: str | os.PathLike[str], write: Callable[[IO[bytes]], None]) -> None:
    """Let ``write`` fill a file that replaces ``path`` when it is whole; see ``whole_file``."""
    with whole_file(path) as stream:
        write(stream)
