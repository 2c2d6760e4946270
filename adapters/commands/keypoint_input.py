"""Reading a command's keypoints, with the options that all such commands share.

Unreadable rows are always reported on stderr, because a run that lost half of its pictures must not look complete.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.commands.choices import CLOTHES, MIN_SCORE
from adapters.commands.display import row_progress, say

if TYPE_CHECKING:
    from adapters.jobs.fit import Person
    from adapters.keypoints.readers import KeypointSource, ReadingOptions
    from adapters.keypoints.reading_report import ReadingReport
    from adapters.keypoints.table import KeypointTable
    from adapters.keypoints.table_source import TableSource
    from engine.picture.clothes import Clothes


_FIRST_LOOK_ROWS = 256


@dataclass(frozen=True)
class Reading:
    """How a command reads keypoints."""

    options: ReadingOptions
    masks: Path | None = None
    """A folder of masks, which give outlines."""


_clothes = click.option(
    "--clothes",
    type=click.Choice(CLOTHES),
    default=CLOTHES[0],
    show_default=True,
    help="Clothes of everybody in these pictures, if you know them: tight lies on the skin (sports clothes), ordinary "
    "stands off by about a centimetre, loose by two or more. Not for skirts and coats. It acts on people with an "
    "outline (docs/outlines.md).",
)


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that are common to all commands that read keypoints and compute from them; the command gets them as
    ``reading``."""
    return _clothes(file_options(command))


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``reading_options`` of a command that only copies keypoints."""

    @functools.wraps(command)
    def wrapped(
        *args: Any,
        min_score: float,
        image_size: str | None,
        force: bool,
        masks: Path | None,
        no_outlines: bool,
        clothes: Clothes = "unknown",
        **others: Any,
    ) -> Any:
        from adapters.keypoints.readers import ReadingOptions
        from adapters.keypoints.readers.file_rules import parse_image_size

        if masks is not None and no_outlines:
            raise ValueError("--masks and --no-outlines exclude each other; give one of them")
        if clothes != "unknown" and no_outlines:
            raise ValueError("--clothes acts on outlines, and --no-outlines leaves them out; give one of them")
        size = None if image_size is None else parse_image_size(image_size)
        options = ReadingOptions(min_score, size, judge=not force, outlines=not no_outlines, clothes=clothes)
        return command(*args, reading=Reading(options, masks), **others)

    options = (
        click.option(
            "--min-score",
            type=click.FloatRange(0, 1),
            default=MIN_SCORE,
            show_default=True,
            help="Keypoints with a lower score in the files count as not seen.",
        ),
        click.option(
            "--image-size",
            metavar="WIDTHxHEIGHT",
            help="Size of all pictures, for files whose coordinates are fractions of it (YOLO labels, MediaPipe).",
        ),
        click.option("--force", is_flag=True, help="Accept keypoints that cannot be those of a person."),
        click.option(
            "--masks",
            type=click.Path(path_type=Path),
            help="Folder of masks of the people, NAME.png for the picture NAME.jpg and so on (docs/outlines.md).",
        ),
        click.option("--no-outlines", is_flag=True, help="Leave out the outlines and masks of the keypoint files."),
    )
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def open_source(
    files: Sequence[Path], schema: str | None, options: ReadingOptions, processes: int = 1
) -> KeypointSource:
    """The files, after a check of their first rows: if no row can be used, nothing is computed.

    Raises:
        ValueError: a file is no keypoint file, or no row of any can be used.
    """
    from adapters.keypoints.readers import open_keypoints
    from adapters.keypoints.reading_report import ReadingReport
    from engine.body.schemas import find_schema

    source = open_keypoints(files, find_schema(schema) if schema else None, processes=processes, options=options)
    first = replace(source, chunk_size=_FIRST_LOOK_ROWS, processes=1, report=ReadingReport())
    for _ in first:
        if first.report.readable:
            break
    else:
        first.report.check()
    return source


def any_source(
    files: Sequence[Path], schema: str | None, reading: Reading, table: KeypointTable | None = None
) -> KeypointSource | TableSource:
    """The files, read by one process per core, or a table in memory.

    Args:
        table: the result of ``table_with_masks``.

    Raises:
        ValueError: as ``open_source``.
    """
    from adapters.keypoints.table_source import TableSource
    from engine.batching import worker_count

    if table is None:
        return open_source(files, schema, reading.options, worker_count())
    return TableSource(table, reading.options)


def table_with_masks(
    files: Sequence[Path], schema: str | None, reading: Reading, detected: KeypointTable | None = None
) -> KeypointTable | None:
    """All rows with the outlines of the masks, which are reported on stderr; None if the files can be read as they are.

    Args:
        detected: results of a detector in photographs, in place of files.

    Raises:
        ValueError: as ``open_source``, or there are no masks.
    """
    from adapters.keypoints.table import concat_tables

    if reading.masks is None:
        return detected if detected is None or reading.options.outlines else replace(detected, outline_px=None)
    from adapters.keypoints.outlines.mask_folder import add_outlines, find_masks

    masks = find_masks(reading.masks)
    if detected is None:
        source = open_source(files, schema, replace(reading.options, judge=False))
        detected = concat_tables(source.schema, list(source))
    with row_progress("measuring outlines") as progress:
        table, summary = add_outlines(detected, masks, progress)
    say(*summary.lines())
    return table


def read_table(files: Sequence[Path], schema: str | None, reading: Reading) -> KeypointTable:
    """All rows; unusable rows are reported on stderr.

    Raises:
        ValueError: a file is no keypoint file, or no row of any can be used.
    """
    from adapters.keypoints.table import concat_tables

    source = any_source(files, schema, reading, table_with_masks(files, schema, reading))
    table = concat_tables(source.schema, list(source))
    tell(source.report)
    return table


def read_references(
    files: Sequence[Path],
    schema: str | None,
    reading: Reading,
    person: Person,
    detected: KeypointTable | None = None,
) -> KeypointTable:
    """Rows of reference pictures; unusable rows and choices among several people are reported on stderr.

    Args:
        detected: results of a detector in photographs, in place of files.

    Raises:
        ValueError: as ``read_table``; nobody was found; or the keypoints as a whole cannot be those of people.
    """
    from adapters.jobs.fit import choose_people
    from adapters.keypoints.people import chosen_lines
    from adapters.keypoints.table import concat_tables

    source = any_source(files, schema, reading, table_with_masks(files, schema, reading, detected))
    table = concat_tables(source.schema, list(source))
    source.report.check_references(force=not reading.options.judge)
    tell(source.report)
    if person == "largest":
        for line in chosen_lines(table, choose_people(table, person)):
            click.echo(f"samebody: {line}", err=True)
    return table


def tell(report: ReadingReport) -> None:
    """Report unreadable rows on stderr; nothing if all were read."""
    for line in report.lines():
        click.echo(f"samebody: {line}", err=True)
