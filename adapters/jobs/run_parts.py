"""Parts of a long run: a killed run is resumed from the parts beside its output.

    scores.parquet.parts/
        lock                 held while a run is at work, so that no other writes the same output
        run.json             facts about the run: input, shape, body, options, versions
        part-000000.arrow    result rows of the first pictures, in order; further parts follow
        *.part               files being written; they are ignored

A part is written to a temporary file, forced to disk and renamed, so every part is whole. Pictures in parts are not
scored again. The output is written from the parts and the new rows, so it is the same file as that of an uninterrupted
run. A run shorter than one part leaves only its output.

Only the same run may continue parts: everything that may change a number is compared with ``run.json``. Input files are
the same if their names, sizes and times of last change are.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import filelock
import jax
import msgspec
import numpy as np
import pyarrow as pa

from adapters.keypoints.readers import KeypointSource
from adapters.keypoints.readers.file_schema import schema_to_text
from adapters.keypoints.table_source import TableSource
from engine import VERSION
from engine.body.files import replace_file
from engine.body.model import BodyModel
from engine.scores import Mode

PICTURES_PER_PART: dict[Mode, int] = {"rest": 1 << 20, "free": 4096}
"""Most work that a kill may lose: a second in rest pose, half a minute and more with free poses."""

_FORMAT = "samebody-run-1"
_PART = re.compile(r"part-(\d{6,})\.arrow")
_OWN = re.compile(r"lock|run\.json|part-\d{6,}\.arrow|\..+\.part")
"""Names of files in the folder of parts."""
_PICTURES_KEY = b"samebody.pictures"


class UnfinishedRunError(ValueError):
    """Another run writes this output, or has left parts of a different run; the message says what to do."""


class RunFolder:
    """The parts of one run. ``open_run`` makes it."""

    def __init__(self, folder: Path, made_of: Mapping[str, str], columns: pa.Schema, pictures_per_part: int) -> None:
        self.folder = folder
        self.pictures_done = 0
        """Number of pictures in parts."""
        self._made_of = {"format": _FORMAT, **made_of}
        self._columns = columns
        self._pictures_per_part = pictures_per_part
        self._parts = self._count_parts()
        self._pending: list[tuple[pa.RecordBatch, int]] = []

    @property
    def has_parts(self) -> bool:
        return self._parts > 0

    def restore(self) -> None:
        """Take up the parts of an earlier run.

        Raises:
            UnfinishedRunError: it was another run, or its parts are damaged.
        """
        remedy = f"or delete the folder {self.folder} to begin anew"
        try:
            stored = msgspec.json.decode(self._header.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError) as error:
            raise UnfinishedRunError(f"{self._header} cannot be read ({error}); mend it {remedy}") from error
        changed = [name for name, value in self._made_of.items() if stored.get(name) != value]
        if changed:
            raise UnfinishedRunError(
                f"the unfinished run was made with another {', '.join(changed)}: give the same again, {remedy}"
            )
        try:
            self.pictures_done = sum(pictures for _, pictures in self.stored())
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise UnfinishedRunError(f"a part of the unfinished run is damaged ({error}); mend it {remedy}") from error

    def stored(self) -> Iterator[tuple[pa.RecordBatch, int]]:
        """The batches of all parts in order, each with its number of pictures."""
        for number in range(self._parts):
            # Parts are not mapped into memory: pages of a mapped file count as memory in use.
            with pa.OSFile(str(self._path(number))) as file, pa.ipc.open_file(file) as reader:
                if not reader.schema.equals(self._columns):
                    raise ValueError(f"{self._path(number).name} has other columns")
                for i in range(reader.num_record_batches):
                    batch = reader.get_batch_with_custom_metadata(i)
                    yield batch.batch, int(batch.custom_metadata[_PICTURES_KEY])

    def add(self, batch: pa.RecordBatch, pictures: int) -> None:
        """Keep the rows of the next pictures; they are safe when their part is full.

        Raises:
            OSError: the disk is full, or has gone.
        """
        self._pending.append((batch, pictures))
        count = sum(pictures for _, pictures in self._pending)
        if count < self._pictures_per_part:
            return
        if not self._parts:
            header = msgspec.json.format(msgspec.json.encode(self._made_of), indent=1)
            replace_file(self._header, lambda stream: _write_all(stream, header))
        replace_file(self._path(self._parts), self._write_pending)
        self._pending = []
        self._parts += 1
        self.pictures_done += count

    def clear(self) -> None:
        """Remove the parts."""
        for number in reversed(range(self._parts)):
            self._path(number).unlink(missing_ok=True)
        self._header.unlink(missing_ok=True)
        self._parts = self.pictures_done = 0
        self.remove_fragments()

    def remove_fragments(self) -> None:
        """Remove files that a killed run was writing."""
        for path in self.folder.glob(".*.part"):
            path.unlink(missing_ok=True)

    @property
    def _header(self) -> Path:
        return self.folder / "run.json"

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.arrow"

    def _count_parts(self) -> int:
        found = {int(match[1]) for path in self.folder.iterdir() if (match := _PART.fullmatch(path.name))}
        # A gap means that a part was removed; later parts are scored again.
        return next(number for number in range(len(found) + 1) if number not in found)

    def _write_pending(self, stream: IO[bytes]) -> None:
        with pa.ipc.new_file(stream, self._columns) as writer:
            for batch, pictures in self._pending:
                writer.write_batch(batch, {_PICTURES_KEY: str(pictures).encode()})


@contextmanager
def open_run(
    out: str | os.PathLike[str],
    made_of: Mapping[str, str],
    columns: pa.Schema,
    pictures_per_part: int,
    resume: bool,
) -> Iterator[RunFolder]:
    """The parts beside an output; removed when the block ends well, kept for ``resume`` when it does not.

    Args:
        made_of: facts about the run, see ``fingerprint``.
        columns: columns of the batches that are kept.
        resume: continue the parts of an earlier run, if there are any.

    Raises:
        UnfinishedRunError: another run is at work, there are parts and ``resume`` is False, or they are of another run.
        ValueError: there is no such folder.
    """
    target = Path(out)
    if not target.parent.is_dir():
        raise ValueError(f"cannot write {target}: there is no folder {target.parent}; make it first")
    folder = target.with_name(f"{target.name}.parts")
    _check_own(folder)
    with _locked(folder, target):
        run = RunFolder(folder, made_of, columns, pictures_per_part)
        run.remove_fragments()
        if run.has_parts and not resume:
            raise UnfinishedRunError(
                f"an unfinished run for {target} lies in {folder}: go on with --resume, or delete that folder to begin "
                "anew"
            )
        if run.has_parts:
            run.restore()
        try:
            yield run
        except BaseException as failure:
            if run.has_parts:
                failure.add_note(f"{run.pictures_done:,} pictures are done; the same command with --resume goes on.")
            run.remove_fragments()
            raise
        run.clear()


def _check_own(folder: Path) -> None:
    """Check that a folder holds parts only, because files with the names of parts may be deleted.

    Raises:
        UnfinishedRunError: the folder holds other files, or parts without a description of their run.
    """
    if not os.path.lexists(folder):
        return
    refused = f"{folder} holds files that samebody did not write; give another --out, or move them"
    if folder.is_symlink() or not folder.is_dir():
        raise UnfinishedRunError(refused)
    entries = list(os.scandir(folder))
    plain = all(entry.is_file(follow_symlinks=False) and _OWN.fullmatch(entry.name) for entry in entries)
    empty_lock = all(entry.stat().st_size == 0 for entry in entries if entry.name == "lock")
    # Every run starts with a lock, which stays beside the parts.
    if not plain or not empty_lock or (entries and all(entry.name != "lock" for entry in entries)):
        raise UnfinishedRunError(refused)


@contextmanager
def _locked(folder: Path, target: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    path = folder / "lock"
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise UnfinishedRunError(
            f"another samebody is writing {target} at this moment; wait for it, or give another --out"
        ) from None
    try:
        yield
    finally:
        if {entry.name for entry in folder.iterdir()} <= {path.name}:
            with suppress(OSError):  # another file has just appeared, or the system keeps locked files
                path.unlink()
                folder.rmdir()
        lock.release()


def fingerprint(
    source: KeypointSource | TableSource, body: BodyModel, shapes: Sequence[str], options: Sequence[str]
) -> dict[str, str]:
    """Everything that may change a number in the output, by its name in messages.

    Args:
        shapes: digests of the shapes.
        options: all other facts, as texts.
    """
    device = jax.devices()[0]
    return {
        "input": _digest(_input_facts(source)),
        "keypoint schema": source.schema.name + " " + _digest([schema_to_text(source.schema)]),
        "body": body.fingerprint,
        "shape": _digest(shapes),
        "options": _digest(options),
        "samebody version": VERSION,
        "jax version or device": f"{jax.__version__} {device.platform} {device.device_kind}",
    }


def _input_facts(source: KeypointSource | TableSource) -> Iterator[object]:
    if isinstance(source, TableSource):
        yield source.digest(), source.options
        return
    for file in source.files:
        facts = os.stat(file.path)
        yield file.name, facts.st_size, facts.st_mtime_ns, source.options


def _digest(values: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for value in values:
        content = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:32]


def _write_all(stream: IO[bytes], content: bytes) -> None:
    stream.write(content)
