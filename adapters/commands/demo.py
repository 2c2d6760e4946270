"""``samebody demo``: the whole job on packaged keypoints of invented people."""

from importlib import resources
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq

from adapters.commands.display import print_table
from adapters.commands.help_text import Command
from adapters.commands.report import REMEDY, can_report, write_report
from adapters.jobs.compile_cache import enable_compile_cache
from adapters.jobs.fit import fit_references
from adapters.jobs.score import RunSettings, score_to_file
from adapters.keypoints.readers import open_keypoints, read_keypoints
from adapters.keypoints.writers import write_keypoints
from adapters.results.recorded_sources import record_sources
from engine.body.embedded import load_embedded_body

_DATA = "adapters.jobs.demo_data"
_SHOWN = ("consistency", "same_body_probability")


@click.command(
    cls=Command,
    short_help="See it work on packaged keypoints.",
    examples="""
    samebody demo
    samebody demo --out somewhere/else
    """,
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("samebody-demo"),
    show_default=True,
    help="Folder for the keypoints, the shape and the scores.",
)
def demo(out: Path) -> None:
    """Fit a shape to six pictures of Anna and score ninety pictures of Anna and four others.

    The people are invented and their keypoints come with samebody: no files, no network needed.
    """
    enable_compile_cache()
    out.mkdir(parents=True, exist_ok=True)
    for name in ("references.parquet", "dataset.parquet"):
        with resources.as_file(resources.files(_DATA) / name) as packaged:
            write_keypoints(out / name, read_keypoints([packaged]))

    references, dataset = out / "references.parquet", out / "dataset.parquet"
    shape_path, scores_path = out / "shape.npz", out / "scores.parquet"
    body = load_embedded_body()
    shape = fit_references(read_keypoints([references]), body)
    shape.save(shape_path)
    sources = record_sources(scores_path, [dataset], [shape_path])
    summary = score_to_file(open_keypoints([dataset]), body, shape, scores_path, run=RunSettings(sources=sources))

    scores = pq.read_table(scores_path, columns=["image", *_SHOWN]).to_pydict()
    names = np.array([image.rsplit("_", 1)[0] for image in scores["image"]])
    values = {name: np.array(scores[name]) for name in _SHOWN}
    rows = [
        (
            f"{name}{' (in the references)' if name == 'anna' else ''}",
            str(int((names == name).sum())),
            f"{np.median(values['consistency'][names == name]):.2f}",
            f"{np.median(values['same_body_probability'][names == name]):.2f}",
        )
        for name in dict.fromkeys(names)
    ]
    title = f"{summary.rows} pictures against the shape of {len(shape.references)} references (medians)"
    print_table(title, ("person", "pictures", "consistency", "same body?"), rows)
    page = [out / "report.html"] if can_report() else []
    for path in page:
        write_report(scores_path, path, "Whose pictures show Anna's body?")
    files = (references, dataset, shape_path, scores_path, *page)
    click.echo(
        f"files are in {out}: {', '.join(path.name for path in files)}\n"
        + (f"look at it in a browser: {page[0]}\n" if page else f"a page to look at it: {REMEDY}\n")
        + "now your own: keypoints, or photographs with --detector\n"
        "  samebody fit REFERENCES... --out shape.npz\n"
        "  samebody score DATASET... --shape shape.npz --out scores.parquet\n"
        "  samebody report scores.parquet --images PICTURES --out report.html"
    )
