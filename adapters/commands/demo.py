"""``samebody demo``: the whole job on packaged keypoints of invented people."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.commands.compiling import enable_told_cache
from adapters.commands.display import print_table, say, stages
from adapters.commands.help_text import Command

if TYPE_CHECKING:
    from adapters.jobs.check import Check


_DATA = "adapters.jobs.demo_data"
_COLUMNS = ("person", "pictures", "evidence of one", "among the first 20", "all together", "same body?")
_FIRST = 20
_KEYPOINTS = ("references.parquet", "dataset.parquet")


@click.command(
    cls=Command,
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
    help="Folder for the keypoints, the shape, the scores and the page.",
)
def demo(out: Path) -> None:
    """Fit a shape to sixteen pictures of Anna and check 120 pictures of Anna and four others.

    The people are invented and their keypoints come with samebody. The demo needs no files and no network.
    """
    from adapters.jobs.check import check
    from adapters.jobs.check_folder import FILES, FolderSettings, look_at, write_check
    from adapters.keypoints.readers import read_keypoints
    from adapters.keypoints.writers import write_keypoints
    from adapters.results.own_folder import check_own_files, own_files
    from engine.body.embedded import load_embedded_body

    enable_told_cache("demo")
    check_own_files(out, (*FILES, *_KEYPOINTS))
    tables = []
    with own_files(out, _KEYPOINTS):
        for name in _KEYPOINTS:
            with resources.as_file(resources.files(_DATA) / name) as packaged:
                tables.append(read_keypoints([packaged]))
            write_keypoints(out / name, tables[-1])
    references, dataset = tables
    with stages() as progress:
        found = check(references, dataset, load_embedded_body(), on_progress=progress)
    _show(found)
    with stages() as progress:
        settings = FolderSettings(title="Which pictures do not show Anna?", fitted=len(dataset))
        folder = write_check(found, dataset, look_at(dataset, None), out, settings, progress)
    page = f"look at it in a browser: {folder.page}" if folder.page else "a page needs pip install 'samebody[report]'"
    say(f"files are in {out}", page, "now your own pictures: samebody check REFERENCES PICTURES")


def _show(found: Check) -> None:
    import numpy as np

    from adapters.jobs.check import together

    names = np.array([image.rsplit("_", 1)[0] for image in found.scores.image.to_pylist()])
    evidence, first = found.scores.numbers["log_bayes_factor"], found.scores.order[:_FIRST]
    rows = []
    for name in dict.fromkeys(names.tolist()):
        of_person = np.flatnonzero(names == name)
        factor, probability = together(found, of_person)
        rows.append(
            (
                f"{name}{' (in the references)' if name == 'anna' else ''}",
                str(len(of_person)),
                f"{np.nanmedian(evidence[of_person]):+.1f}",
                str(int(np.isin(first, of_person).sum())),
                f"{factor:+.1f}",
                f"{probability:.3f}",
            )
        )
    print_table(
        f"{len(names)} pictures against the body of {found.shape.used_references} references; evidence in nats",
        _COLUMNS,
        rows,
    )
    click.echo(
        "One picture holds little information: look at the first 20. All pictures of a person together hold much more."
    )
