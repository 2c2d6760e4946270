"""``samebody cluster``: pictures grouped by body, without references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.commands import options
from adapters.commands.display import say
from adapters.commands.help_text import Command
from adapters.commands.keypoint_input import read_table, reading_options
from adapters.commands.own_inputs import keep_inputs

if TYPE_CHECKING:
    import numpy as np

    from adapters.jobs.clustering import Clustering
    from adapters.keypoints.readers import ReadingOptions


_SURE = 0.9


@click.command(
    cls=Command,
    examples="""
    samebody cluster keypoints/ --out clusters.csv
    """,
)
@click.argument("keypoints", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Where the groups go: .csv, .parquet or .jsonl."
)
@click.option(
    "--least",
    default=0.0,
    show_default=True,
    help="Nats by which even the least alike pictures of a cluster must speak for one body; more makes more clusters.",
)
@options.body
@options.calibration
@options.schema
@reading_options
def cluster(
    keypoints: tuple[Path, ...],
    out: Path,
    least: float,
    body: str,
    calibration: Path | None,
    schema: str | None,
    reading: ReadingOptions,
) -> None:
    """Group the people in KEYPOINTS by body.

    Every person in every picture gets a cluster, and how sure that is: the picture's own cluster, itself left out,
    against a stranger (log_bayes_factor), against the best other cluster (margin), and the probability that it is the
    body of its cluster. One picture with 17 keypoints at 1 % noise says less than a bit: then expect small clusters
    that mix people, and probabilities that say so.
    """
    from adapters.bodies.find import find_body
    from adapters.jobs.cluster_table import cluster_table
    from adapters.jobs.compile_cache import enable_compile_cache
    from adapters.results.writers import check_result_path, open_result_writer

    enable_compile_cache()
    check_result_path(out)
    keep_inputs(out, (*keypoints, body, calibration))
    model = find_body(body)
    chosen = options.find_calibration(calibration, model.fingerprint)
    table = read_table(keypoints, schema, reading)
    clustered = cluster_table(table, model, chosen, least)
    with open_result_writer(out, clustered.rows.schema) as writer:
        writer.write(clustered.rows)
    say(*_lines(clustered.found, len(table), clustered.sizes), str(out))


def _lines(found: Clustering, rows: int, sizes: np.ndarray) -> list[str]:
    import numpy as np

    largest = np.argsort(-sizes, kind="stable")[:10]
    sure = int(np.sum(found.probability >= _SURE))
    return [
        f"{rows:,} rows, {len(sizes):,} clusters; {sure:,} pictures belong to theirs with probability {_SURE} or more",
        *(
            f"cluster {number}: {sizes[number]} pictures, {found.cohesion[number]:+.1f} nats for one body, "
            f"{found.information_bits[number]:.1f} bits"
            for number in largest
        ),
    ]
