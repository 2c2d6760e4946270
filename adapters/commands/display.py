"""Output of commands: tables on stdout, a summary and progress on stderr."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

from adapters.commands.installed import adapted

if TYPE_CHECKING:
    from adapters.jobs.score import ScoreSummary


LOG_SECONDS = 60.0
_NAMED = 10
_NUMBER = re.compile(r"[-+−]?[\d,]*\.?\d+ ?%?|")


class RowCounter(Protocol):
    def __call__(self, done: int, expected: int | None) -> None: ...


def say(*lines: str) -> None:
    """Print lines for a person on stderr, because stdout may go to a program."""
    from rich.console import Console

    if sys.stderr.isatty():
        console = Console(stderr=True)
        for line in lines:
            console.print(adapted(line), highlight=False, markup=False)
    else:
        for line in lines:
            print(adapted(line), file=sys.stderr)


class _Line:
    """A plain line every minute, for logs: a run of less than a minute writes none."""

    def __init__(self, description: str, seconds: float = LOG_SECONDS) -> None:
        self._description = description
        self._seconds = seconds
        self._begin = self._last = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, expected: int | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first, self._begin = done, now
        if now - self._last < self._seconds:
            return
        self._last = now
        rate = (done - self._first) / max(now - self._begin, 1e-9)
        print(f"samebody: {progress_text(self._description, done, expected, rate)}", file=sys.stderr, flush=True)


def progress_text(description: str, done: int, expected: int | None, rows_per_s: float) -> str:
    """``scoring 40,960 of 100,000 rows, 210 rows/s, 4:41 left``; unknown parts are left out."""
    parts = [f"{description} {done:,}" + (f" of {expected:,}" if expected is not None else "") + " rows"]
    if rows_per_s > 0:
        parts.append(f"{rows_per_s:,.0f} rows/s")
        if expected is not None:
            minutes, seconds = divmod(round(max(expected - done, 0) / rows_per_s), 60)
            hours, minutes = divmod(minutes, 60)
            parts.append((f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{seconds:02d} left")
    return ", ".join(parts)


@contextmanager
def row_progress(description: str) -> Iterator[RowCounter]:
    """Show finished rows, their rate and the remaining time on stderr: a bar on a terminal, else a line every
    minute."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    if not sys.stderr.isatty():
        yield _Line(description)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=None)
        begin, first = time.monotonic(), -1

        def show(done: int, expected: int | None) -> None:
            nonlocal begin, first
            now = time.monotonic()
            if first < 0:
                begin, first = now, done
            rate = (done - first) / max(now - begin, 1e-9)
            text = progress_text(description, done, expected, rate)
            progress.update(task, description=text, completed=done, total=expected)

        yield show


@contextmanager
def stages() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show progress of a job with several stages on stderr: a bar on a terminal, else a line when a stage begins."""
    begun: list[str] = []
    bars = ExitStack()
    bar: RowCounter | None = None

    def show(stage: str, done: int, expected: int | None) -> None:
        nonlocal bar
        if bar is None or begun[-1] != stage:
            bars.close()
            begun.append(stage)
            if sys.stderr.isatty():
                bar = bars.enter_context(row_progress(stage))
            else:
                print(f"samebody: {stage}", file=sys.stderr, flush=True)
                bar = _Line(stage)
        bar(done, expected)

    with bars:
        yield show


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout with right-aligned numbers. In a pipe it has no frame, and each row is one line."""
    from rich.box import ROUNDED
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not sys.stdout.isatty():
        for line in (title, *plain_table(columns, rows)):
            print(line)
        return
    table = Table(title=title, title_justify="left", title_style="", header_style="bold", box=ROUNDED)
    for column, right in zip(columns, _at_right(rows, len(columns)), strict=True):
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with two spaces or more between columns."""
    every = [columns, *rows]
    widths = [max(len(row[i]) for row in every) for i in range(len(columns))]
    right = _at_right(rows, len(columns))
    return [
        "  ".join(
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in every
    ]


def _at_right(rows: Sequence[Sequence[str]], columns: int) -> list[bool]:
    """True for columns that hold only numbers."""
    return [bool(rows) and all(_NUMBER.fullmatch(row[i]) for row in rows) for i in range(columns)]


def failed_lines(failed: Mapping[str, Sequence[str]], counts: Mapping[str, int] | None = None) -> list[str]:
    """``12 no_detection: a.jpg, b.jpg, c.jpg and 9 more`` for each status.

    Args:
        failed: the names of pictures, by status.
        counts: of all rows, where there are more than names.
    """
    lines = []
    for status, names in sorted(failed.items()):
        count, shown = len(names) if counts is None else counts[status], list(names[:_NAMED])
        more = f" and {count - len(shown):,} more" if count > len(shown) else ""
        lines.append(f"{count:,} {status}: {', '.join(shown)}{more}")
    return lines


def summary_lines(summary: ScoreSummary, out: str) -> list[str]:
    from adapters.results.vocabulary import DIFFER, KIND_LABELS, MATCH, Kind

    counts = ", ".join(f"{count:,} {status}" for status, count in sorted(summary.by_status.items()))
    lines = [f"{summary.rows:,} rows: {counts or 'none'}"]
    if summary.verdicts is None:
        lines.append(f"median consistency {summary.median_consistency:.3f}")
    else:
        match, differ, unclear = summary.verdicts
        lines.append(
            f"{differ:,} {KIND_LABELS[Kind.ANOTHER_BODY]} (probability of the same body {DIFFER} or less), "
            f"{match:,} {KIND_LABELS[Kind.SAME_BODY]} ({MATCH} or more), {unclear:,} {KIND_LABELS[Kind.UNDECIDED]}"
        )
    if summary.together is not None:
        whole = summary.together
        who = f"{whole.best_match}, margin {whole.margin:.1f} nats, " if whole.best_match else ""
        clips = f" ({whole.clips:,} clips)" if whole.clips else ""
        lines.append(
            f"together, {whole.pictures:,} pictures{clips}: {whole.in_words}; {who}log Bayes factor "
            f"{whole.log_bayes_factor:+.1f}, probability {whole.same_body_probability:.3f}, of one person "
            f"{whole.one_person_probability:.3f} (this calibration allows {1 - whole.bound:.3g} to {whole.bound:.3g})"
        )
    return [*lines, *failed_lines(summary.failed, summary.by_status), out]
