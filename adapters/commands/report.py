"""``samebody report``: a page to look at scores with."""

import importlib.util
from pathlib import Path

import click

from adapters.commands import options
from adapters.commands.compiling import enable_told_cache
from adapters.commands.display import row_progress, say
from adapters.commands.help_text import Command

REMEDY = "pip install 'samebody[report]'"


@click.command(
    cls=Command,
    examples="""
    samebody report scores.parquet --images pictures/ --out report.html
    samebody report scores.csv --keypoints dataset/ --shape shape.npz --images pictures/ --out report.html
    """,
)
@click.argument("scores", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), metavar="DIR", help="The folder that holds the pictures.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE.html", help="The page to write.")
@options.scored_keypoints
@options.scored_shapes
@options.scored_body
@options.calibration
@options.schema
@click.option("--title", help="Title at the top of the page.")
@click.option(
    "--most",
    type=click.IntRange(min=1),
    default=20_000,
    show_default=True,
    help="Most rows on the page; the lowest scores are taken.",
)
@click.option(
    "--bodies",
    type=click.IntRange(min=0),
    default=500,
    show_default=True,
    help="Most rows with a body drawn on them, by rank; each is fitted for the page (a few hundred a second).",
)
def report(
    scores: Path,
    images: Path | None,
    out: Path,
    keypoints: tuple[Path, ...],
    shapes: tuple[Path, ...],
    body: str | None,
    calibration: Path | None,
    schema: str | None,
    title: str | None,
    most: int,
    bodies: int,
) -> None:
    """Make one page that shows SCORES: pictures, bodies, and a threshold to move.

    SCORES is a result file of `samebody score`. A Parquet file records the paths of its keypoints and its shape; with a
    .csv or .jsonl file, give them as options. The page needs no network and no server: open it in a browser. It holds
    cut-down pictures without their metadata, and no path of this machine.
    """

    check_page_path(out)
    from adapters.results.report.build import ReportInputs, make_report
    from adapters.results.report.drawings import FitSources

    enable_told_cache("report")
    sources = FitSources(scores, keypoints, shapes, body, calibration, schema)
    inputs = ReportInputs(sources, images, title, most, bodies)
    with row_progress("report") as progress:
        made = make_report(inputs, out, lambda _, done, expected: progress(done, expected))
    say(
        f"{made.rows:,} rows, {made.bodies:,} with a body, {made.pictures:,} with a picture",
        *made.notes,
        *([] if made.folder is None else [f"pictures are in {made.folder}; keep it beside the page"]),
        f"{out}",
    )


def check_page_path(out: Path) -> None:
    """Check that a page can be made, and that the file's name is that of a page.

    Raises:
        UsageError: the packages of the extra are missing.
        ValueError: the file's name does not end in .html.
    """
    if not can_report():
        raise click.UsageError(f"a page needs packages that are not installed; get them with: {REMEDY}")
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{out}: the page is HTML; end the file's name in .html")


def can_report() -> bool:
    """True if the packages of the extra are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("jinja2", "PIL", "imagehash"))
