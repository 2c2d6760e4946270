"""Reading a command's keypoints, with the options that all such commands share.

Unreadable rows are always reported on stderr, because a run that lost half of its pictures must not look complete.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.commands.choices import MIN_SCORE

if TYPE_CHECKING:
    from adapters.jobs.fit import Person
    from adapters.keypoints.readers import KeypointSource, ReadingOptions
    from adapters.keypoints.reading_report import ReadingReport
    from adapters.keypoints.table import KeypointTable
    from adapters.keypoints.table_source import TableSource


_FIRST_LOOK_ROWS = 256


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options ``--min-score``, ``--image-size`` and ``--force``; the command gets them as ``reading``."""

    @functools.wraps(command)
    def wrapped(*args: Any, min_score: float, image_size: str | None, force: bool, **others: Any) -> Any:
        from adapters.keypoints.readers import ReadingOptions
        from adapters.keypoints.readers.file_rules import parse_image_size

        size = None if image_size is None else parse_image_size(image_size)
        return command(*args, reading=ReadingOptions(min_score, size, judge=not force), **others)

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
    )
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def open_source(
    files: Sequence[Path], schema: str | None, reading: ReadingOptions, processes: int = 1
) -> KeypointSource:
    """The files, after a check of their first rows: if no row can be used, nothing is computed.

    Raises:
        ValueError: a file is no keypoint file, or no row of any can be used.
    """
    from adapters.keypoints.readers import open_keypoints
    from adapters.keypoints.reading_report import ReadingReport
    from engine.body.schemas import find_schema

    source = open_keypoints(files, find_schema(schema) if schema else None, processes=processes, options=reading)
    first = replace(source, chunk_size=_FIRST_LOOK_ROWS, processes=1, report=ReadingReport())
    for _ in first:
        if first.report.readable:
            break
    else:
        first.report.check()
    return source


def any_source(
    files: Sequence[Path], schema: str | None, reading: ReadingOptions, detected: KeypointTable | None = None
) -> KeypointSource | TableSource:
    """The files, read by one process per core, or the results of a detector in photographs.

    Raises:
        ValueError: as ``open_source``.
    """
    from adapters.keypoints.table_source import TableSource
    from engine.batching import worker_count

    return open_source(files, schema, reading, worker_count()) if detected is None else TableSource(detected, reading)


def read_table(files: Sequence[Path], schema: str | None, reading: ReadingOptions) -> KeypointTable:
    """All rows; unusable rows are reported on stderr.

    Raises:
        ValueError: a file is no keypoint file, or no row of any can be used.
    """
    from adapters.keypoints.table import concat_tables

    source = open_source(files, schema, reading)
    table = concat_tables(source.schema, list(source))
    tell(source.report)
    return table


def read_references(
    files: Sequence[Path],
    schema: str | None,
    reading: ReadingOptions,
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

    source = any_source(files, schema, reading, detected)
    table = concat_tables(source.schema, list(source))
    source.report.check_references(force=not reading.judge)
    tell(source.report)
    if person == "largest":
        for line in chosen_lines(table, choose_people(table, person)):
            click.echo(f"samebody: {line}", err=True)
    return table


def tell(report: ReadingReport) -> None:
    """Report unreadable rows on stderr; nothing if all were read."""
    for line in report.lines():
        click.echo(f"samebody: {line}", err=True)
