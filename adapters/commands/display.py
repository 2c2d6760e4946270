"""What commands show: tables and progress on a terminal, nothing in a pipe."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from adapters.score_job import ScoreSummary


class RowCounter(Protocol):
    def __call__(self, rows: int) -> None: ...


def say(*lines: str) -> None:
    """Print lines for a reader; a program that reads our output gets none of them."""
    if sys.stdout.isatty():
        console = Console()
        for line in lines:
            console.print(line, highlight=False, markup=False)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")


@contextmanager
def row_progress(description: str) -> Iterator[RowCounter]:
    """A counter of rows with their rate, on stderr when that is a terminal."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description} {task.completed:,.0f} rows"),
        _Rate(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(description, total=None)
        yield lambda rows: progress.advance(task, rows)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; the first column is text, the others are numbers."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def summary_lines(summary: ScoreSummary, out: str) -> list[str]:
    counts = ", ".join(f"{count:,} {status}" for status, count in sorted(summary.by_status.items()))
    return [f"{summary.rows:,} rows: {counts or 'none'}", f"median consistency {summary.median_consistency:.3f}", out]
