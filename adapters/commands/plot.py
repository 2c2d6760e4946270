"""``samebody plot``: figures of scores as files."""

import importlib.util
from pathlib import Path
from typing import IO

import click

from adapters.commands import options
from adapters.commands.compiling import enable_told_cache
from adapters.commands.display import say
from adapters.commands.help_text import Command
from adapters.commands.own_inputs import keep_inputs

_REMEDY = "pip install 'samebody[plot]'"
_KINDS = ("png", "svg", "pdf")
_COLUMNS = {"evidence": "log_bayes_factor", "probability": "same_body_probability", "consistency": "consistency"}


@click.command(
    cls=Command,
    examples="""
    samebody plot scores.parquet --out histogram.png
    samebody plot scores.parquet --score consistency --threshold 0.8 --out histogram.svg
    samebody plot scores.parquet --picture anna.jpg --images pictures/ --out anna.png
    samebody plot scores.parquet --picture anna.jpg --bodies --out bodies.png
    """,
)
@click.argument("scores", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Figure to write: .png, .svg or .pdf.")
@click.option(
    "--score", type=click.Choice(list(_COLUMNS)), help="Score of the histogram.  [default: the one that orders rows]"
)
@click.option("--threshold", type=float, help="Score at which the histogram changes its colour.  [default: the middle]")
@click.option(
    "--picture",
    "pictures",
    multiple=True,
    metavar="NAME",
    help="Draw this picture, named as in SCORES, with its keypoints and the fitted reference body; give it several "
    "times for several pictures.",
)
@click.option("--bodies", is_flag=True, help="Draw the reference body; with --picture also the picture's own body.")
@click.option("--images", type=click.Path(path_type=Path), metavar="DIR", help="The folder that holds the pictures.")
@options.scored_keypoints
@options.scored_shapes
@options.scored_body
@options.calibration
@options.schema
def plot(
    scores: Path,
    out: Path,
    score: str | None,
    threshold: float | None,
    pictures: tuple[str, ...],
    bodies: bool,
    images: Path | None,
    keypoints: tuple[Path, ...],
    shapes: tuple[Path, ...],
    body: str | None,
    calibration: Path | None,
    schema: str | None,
) -> None:
    """Draw ONE figure of SCORES: a histogram, pictures with the fitted body, or bodies.

    SCORES is a result of `samebody score`. A Parquet file records the paths of its keypoints and its shape; with a
    .csv or .jsonl give them. In notebooks: adapters.results.plots.open_scores.
    """
    from engine.body.files import replace_file

    if importlib.util.find_spec("matplotlib") is None:
        raise click.UsageError(f"figures need matplotlib, which is not installed; get it with: {_REMEDY}")
    if bodies and len(pictures) > 1:
        raise click.UsageError("--bodies compares the bodies of one --picture; give one, or none")
    if (pictures or bodies) and (score is not None or threshold is not None):
        raise click.UsageError("--score and --threshold are for histograms; leave --picture and --bodies out")
    kind = out.suffix.lower().removeprefix(".")
    if kind not in _KINDS:
        raise ValueError(f"{out}: figures are written as .png, .svg or .pdf; end the file's name in one of them")
    from adapters.results.plots import open_scores

    keep_inputs(out, (scores, *keypoints, *shapes, images))
    enable_told_cache("plot")
    scored = open_scores(scores, images, keypoints, shapes, body, calibration, schema)
    if bodies:
        figure = scored.bodies(pictures[0] if pictures else None)
    elif pictures:
        figure = scored.overlay(*pictures)
    else:
        figure = scored.histogram(None if score is None else _COLUMNS[score], threshold)
    content = figure.encoded(kind)

    def write(stream: IO[bytes]) -> None:
        stream.write(content)

    replace_file(out, write)
    say(f"{out}")
