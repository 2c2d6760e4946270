"""Applies the report's marks to files: they are moved or copied, never overwritten, never deleted.

A plan is made first and shows every file with its target or the reason why it stays. A picture keeps its path below the
folder of pictures. Its caption, a .txt or .caption file of the same name, goes along. To move a file, a hard link is
made in the target, and then the first name is removed. If the file system has no hard links, or the target is on
another one, a complete copy replaces the link. The system call itself refuses a name that exists, so nothing is
overwritten even if another program writes there at the same time.
"""

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from adapters.results.picture_files import find_pictures
from adapters.results.vocabulary import MARKS

MARK_FORMAT = "samebody-marks-1"
_CAPTIONS = (".txt", ".caption")
_LARGEST_FILE_BYTES = 256 << 20


class MarkFileError(ValueError):
    """A file does not hold marks; the message has the file, the reason and the remedy."""


class MarkedPicture(msgspec.Struct, frozen=True):
    """A decision about one person in one picture."""

    image: str
    mark: str
    instance: int | None = None


class _MarkFile(msgspec.Struct, frozen=True):
    format: str
    marks: list[MarkedPicture]


@dataclass(frozen=True)
class Step:
    """One file and where it goes."""

    source: Path
    target: Path
    caption: bool = False


@dataclass(frozen=True)
class Plan:
    """The files to move or copy, and the pictures that stay."""

    steps: tuple[Step, ...]
    left: tuple[tuple[str, str], ...]
    """Pictures that stay, and why."""

    @property
    def pictures(self) -> int:
        return sum(not step.caption for step in self.steps)


def read_marks(path: str | os.PathLike[str]) -> list[MarkedPicture]:
    """The marks that the report saved, or a CSV with the columns image and mark; rows without a mark are left out.

    Raises:
        MarkFileError: the file is missing, damaged, or not a file of marks.
    """
    try:
        if os.path.getsize(path) > _LARGEST_FILE_BYTES:
            raise MarkFileError(f"{path} has more than {_LARGEST_FILE_BYTES >> 20} MB; no file of marks is so large")
        text = Path(path).read_text("utf-8-sig")
    except FileNotFoundError:
        raise MarkFileError(f"no file {path}; save one in the report with: save …, save marks.csv") from None
    except (OSError, UnicodeDecodeError) as error:
        raise MarkFileError(f"{path} cannot be read as text ({error}); save the marks in the report again") from error
    marks = _from_json(path, text) if text.lstrip().startswith("{") else _from_csv(path, text)
    unknown = sorted({one.mark for one in marks} - {"", *MARKS})
    if unknown:
        raise MarkFileError(f"{path}: {unknown[0]!r} is not a mark; marks are {', '.join(MARKS)}")
    return [one for one in marks if one.mark]


def _from_json(path: str | os.PathLike[str], text: str) -> list[MarkedPicture]:
    try:
        read = msgspec.json.decode(text, type=_MarkFile)
    except msgspec.MsgspecError as error:
        raise MarkFileError(f"{path}: {error}; save the marks in the report again") from error
    if read.format != MARK_FORMAT:
        raise MarkFileError(
            f"{path}: format {read.format!r} is not {MARK_FORMAT!r}; save the marks in the report again"
        )
    return read.marks


def _from_csv(path: str | os.PathLike[str], text: str) -> list[MarkedPicture]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if not {"image", "mark"} <= set(rows.fieldnames or ()):
        raise MarkFileError(f"{path}: the first line must name the columns image and mark")
    try:
        return [MarkedPicture(row["image"], row["mark"] or "") for row in rows if row["image"]]
    except csv.Error as error:
        raise MarkFileError(f"{path}, line {rows.line_num}: {error}") from error


def plan_marks(marks: Sequence[MarkedPicture], wanted: str, pictures: Path, target: Path) -> Plan:
    """The plan for the pictures with one mark.

    Args:
        wanted: the mark.
        pictures: the folder that holds the pictures.
        target: the folder they go to; it is not searched for pictures.

    Raises:
        ValueError: the folder of pictures does not exist, or it is the target.
    """
    if os.path.realpath(pictures) == os.path.realpath(target):
        raise ValueError(f"the pictures already lie in {target}; give another folder")
    by_image: dict[str, set[str]] = {}
    for one in marks:
        by_image.setdefault(one.image, set()).add(one.mark)
    names = [image for image, found in by_image.items() if wanted in found]
    paths = find_pictures(pictures, names, "--pictures", leave_out=target)
    steps: list[Step] = []
    left: list[tuple[str, str]] = []
    taken: set[Path] = set()
    for name, path in zip(names, paths, strict=True):
        others = sorted(by_image[name] - {wanted})
        if others:
            left.append((name, f"its people are marked differently: {wanted} and {', '.join(others)}"))
        elif path is None:
            left.append((name, "no such picture, or several of that name"))
        elif path.is_symlink():
            left.append((name, "it is a link"))
        elif path in taken:
            left.append((name, "it is the same file as another name"))
        else:
            taken.add(path)
            goal = target / path.relative_to(pictures)
            if os.path.lexists(goal):
                left.append((name, f"{goal} exists already"))
            else:
                steps += [Step(path, goal), *_captions(path, goal)]
    return Plan(tuple(steps), tuple(left))


def _captions(picture: Path, goal: Path) -> Iterable[Step]:
    for suffix in _CAPTIONS:
        caption = picture.with_suffix(suffix)
        if caption.is_file() and not caption.is_symlink() and not os.path.lexists(goal.with_suffix(suffix)):
            yield Step(caption, goal.with_suffix(suffix), caption=True)


def carry_out(plan: Plan, move: bool) -> int:
    """Move or copy the files of a plan; returns the number of files.

    Raises:
        OSError: a file cannot be moved; a note has the number of files that were moved.
    """
    done = 0
    try:
        for step in plan.steps:
            step.target.parent.mkdir(parents=True, exist_ok=True)
            if not (move and _linked(step)):
                _copied(step)
            if move:
                step.source.unlink()
            done += 1
    except OSError as error:
        error.add_note(f"{done} of {len(plan.steps)} files are done; the same command goes on with the others")
        raise
    return done


def _linked(step: Step) -> bool:
    """Link the target to the file; False if the file system cannot.

    Raises:
        FileExistsError: the target exists.
    """
    try:
        os.link(step.source, step.target, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        return False
    return True


def _copied(step: Step) -> None:
    """A complete copy under the target's name, or none.

    Raises:
        FileExistsError: the target exists.
    """
    descriptor, name = tempfile.mkstemp(dir=step.target.parent, prefix=".samebody-")
    os.close(descriptor)
    temporary = Path(name)
    try:
        shutil.copy2(step.source, temporary)
        try:
            os.link(temporary, step.target)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):
            # Without links, a call that fails for an existing name reserves the name first.
            os.close(os.open(step.target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.replace(temporary, step.target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
