"""``samebody cluster``: pictures grouped by body, without references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.commands import options
from adapters.commands.compiling import enable_told_cache
from adapters.commands.display import print_table, say, stages
from adapters.commands.help_text import Command
from adapters.commands.keypoint_input import Reading, read_table, reading_options
from adapters.commands.own_inputs import keep_inputs
from adapters.commands.report import check_page_path

if TYPE_CHECKING:
    import pyarrow as pa

    from adapters.jobs.cluster_table import ClusteredTable
    from adapters.keypoints.table import KeypointTable
    from engine.body.model import BodyModel


_COLUMNS = ("cluster", "pictures", "expected to belong", "surest pictures")
_LISTED, _NAMED = 10, 3


@click.command(
    cls=Command,
    examples="""
    samebody cluster keypoints/ --out clusters.csv
    samebody cluster keypoints.parquet --images pictures/ --page clusters.html --out clusters.csv
    """,
)
@click.argument("keypoints", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The file of the groups: .csv, .parquet or .jsonl."
)
@click.option(
    "--page",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Also write a page that shows the groups, the surest first, and the pictures that fit their group least.",
)
@click.option("--images", type=click.Path(path_type=Path), metavar="DIR", help="The folder that holds the pictures.")
@click.option(
    "--least",
    default=0.0,
    show_default=True,
    help="Log Bayes factor, in nats, that even the least alike pictures of a cluster need; more makes more clusters.",
)
@options.body
@options.calibration
@options.schema
@reading_options
def cluster(
    keypoints: tuple[Path, ...],
    out: Path,
    page: Path | None,
    images: Path | None,
    least: float,
    body: str,
    calibration: Path | None,
    schema: str | None,
    reading: Reading,
) -> None:
    """Group the people in KEYPOINTS by body.

    Every person in every picture gets a cluster and three measures of certainty. The picture's own cluster, without
    the picture, is compared with a stranger (log_bayes_factor) and with the best other cluster (margin); the
    probability is that of showing the body of its cluster. One picture with 17 keypoints at 1 % noise holds less than a
    bit of information: expect small clusters that mix people, with low probabilities.
    """
    from adapters.bodies.find import find_body
    from adapters.jobs.cluster_table import cluster_table
    from adapters.jobs.outline_use import check_clothes, unused_clothes
    from adapters.jobs.prepared import free_solver
    from adapters.results.writers import check_result_path, open_result_writer

    enable_told_cache("cluster")
    check_result_path(out)
    if page is not None:
        check_page_path(page)
    for written in (out, page):
        keep_inputs(written, (*keypoints, body, calibration))
    model = find_body(body)
    chosen = options.find_calibration(calibration, model.fingerprint)
    clothes = reading.options.clothes
    check_clothes(clothes, model, "free", free_solver(model))
    table = read_table(keypoints, schema, reading)
    clustered = cluster_table(table, model, chosen, least)
    with open_result_writer(out, clustered.rows.schema) as writer:
        writer.write(clustered.rows)
    _show(clustered.rows)
    if page is not None:
        _write_page(page, images, table, clustered, model, out)
    say(*unused_clothes(clothes, table.outlined))
    say(f"{out}", *([] if page is None else [f"look and decide: {page}"]))


def _show(rows: pa.Table) -> None:
    import numpy as np

    from adapters.results.cluster_groups import SURE, Membership, groups_by_certainty, memberships

    groups, kinds = groups_by_certainty(rows), memberships(rows)
    alone = int(np.sum(np.asarray(rows["cluster_size"].fill_null(0)) == 1))
    sure = int(np.sum(kinds == Membership.BELONGS))
    lone = "1 picture is" if alone == 1 else f"{alone:,} pictures are"
    click.echo(f"{len(rows):,} rows: {len(groups):,} clusters of two pictures or more, {lone} alone")
    if groups:
        belong = f"{sure:,} belong" if sure else "none belongs"
        click.echo(f"of the pictures in clusters {belong} to theirs with probability {SURE} or more")
    names = rows["image"].to_pylist()
    if groups:
        print_table(
            "clusters, the surest first"
            if len(groups) <= _LISTED
            else f"the {_LISTED} surest of {len(groups):,} clusters",
            _COLUMNS,
            [
                (
                    str(group.number),
                    f"{len(group.rows):,}",
                    f"{group.belonging:,.0f}",
                    ", ".join(names[row] for row in group.rows[:_NAMED]),
                )
                for group in groups[:_LISTED]
            ],
        )
    if not sure:
        click.echo("these pictures are too uninformative to group by body; use larger pictures or more keypoints")


def _write_page(
    page: Path,
    images: Path | None,
    table: KeypointTable,
    clustered: ClusteredTable,
    body: BodyModel,
    out: Path,
) -> None:
    from adapters.jobs.check_folder import look_at
    from adapters.results.report.clusters import ClusterInputs, make_cluster_report

    with stages() as progress:
        looks = look_at(table, images, progress)
    thumbnails = [None] * len(table) if looks.thumbnails is None else looks.thumbnails
    keep = (out, *([] if images is None else [images]))
    make_cluster_report(ClusterInputs(clustered.rows, table, body, thumbnails, looks.alike, out.name, keep=keep), page)
