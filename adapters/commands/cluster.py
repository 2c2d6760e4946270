"""``samebody cluster``: pictures grouped by body, without references."""

from pathlib import Path

import click
import numpy as np
import pyarrow as pa

from adapters.bodies.find import find_body
from adapters.commands import options
from adapters.commands.display import say
from adapters.commands.help_text import Command
from adapters.commands.keypoint_input import read_table, reading_options
from adapters.jobs.clustering import Clustering, cluster_pictures
from adapters.jobs.compile_cache import enable_compile_cache
from adapters.jobs.prepared import prepare
from adapters.keypoints.readers import ReadingOptions
from adapters.results.writers import check_result_path, open_result_writer
from engine.evidence.calibration import calibrated_pictures
from engine.evidence.stages import LOW_INFORMATION_BITS
from engine.posed.scoring import fit_own
from engine.scores import LABELS, Status

COLUMNS = pa.schema(
    [
        ("image", pa.string()),
        ("instance", pa.int32()),
        ("status", pa.string()),
        ("cluster", pa.int32()),
        ("cluster_size", pa.int32()),
        ("log_bayes_factor", pa.float32()),
        ("margin", pa.float32()),
        ("probability", pa.float32()),
        ("detail", pa.string()),
    ]
)
_SURE = 0.9


@click.command(
    cls=Command,
    short_help="Group pictures by body, without references.",
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
    enable_compile_cache()
    check_result_path(out)
    model = find_body(body)
    trusted = options.find_calibration(calibration, model.fingerprint)
    table = read_table(keypoints, schema, reading)
    prepared = prepare(model, table.schema)
    pictures = fit_own(prepared.context(trusted), *prepared.columns(table))
    evidence = calibrated_pictures(pictures.evidence, trusted)
    usable = np.flatnonzero(np.isfinite(pictures.fit.energy) & (table.status == Status.OK))
    found = cluster_pictures(type(evidence)(*(np.asarray(part)[usable] for part in evidence)), least)

    def spread(values: np.ndarray) -> pa.Array:
        # None, not NaN or -1: a picture that could not be fitted has no cluster.
        column = [None] * len(table)
        for row, value in zip(usable, values.tolist(), strict=True):
            column[row] = value
        return pa.array(column)

    sizes = np.bincount(found.group)
    status = np.where(table.status == Status.OK, pictures.fit.status, table.status)
    bits = 0.5 * np.linalg.slogdet(np.asarray(evidence.precision, float) + np.eye(model.beta_count))[1] / np.log(2)
    status = np.where((status == Status.OK) & (bits < LOW_INFORMATION_BITS), Status.LOW_INFORMATION, status)
    numbers = (found.group, sizes[found.group], found.log_bayes_factor, found.margin, found.probability)
    columns = [
        table.image,
        pa.array(table.instance),
        pa.array([LABELS[code] for code in status]),
        *(spread(values).cast(COLUMNS.field(3 + i).type) for i, values in enumerate(numbers)),
        table.detail,
    ]
    with open_result_writer(out, COLUMNS) as writer:
        writer.write(pa.RecordBatch.from_arrays(columns, schema=COLUMNS))
    say(*_lines(found, len(table), sizes), str(out))


def _lines(found: Clustering, rows: int, sizes: np.ndarray) -> list[str]:
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
