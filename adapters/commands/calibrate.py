"""``samebody calibrate``: how far a detector's keypoints can be trusted, from labelled pictures."""

from pathlib import Path

import click
import numpy as np

from adapters.bodies.find import find_body
from adapters.commands import options
from adapters.commands.help_text import Command
from adapters.jobs.calibrate import calibrate_from_labels, read_labels
from adapters.jobs.compile_cache import enable_compile_cache
from adapters.keypoints.readers import read_keypoints
from engine.body.schemas import find_schema
from engine.evidence.calibration_file import save_calibration


@click.command(
    cls=Command,
    short_help="How far keypoints can be trusted, from labelled pictures.",
    examples="""
    samebody calibrate labelled/ --people labels.csv --out calibration.json
    samebody fit references/ --calibration calibration.json --out shape.npz
    """,
)
@click.argument("labelled", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--people",
    required=True,
    type=click.Path(path_type=Path),
    help="CSV with the columns image and person; instance, where pictures show several people; and group, where "
    "pictures are of one clip or camera.",
)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Where it goes (.json).")
@click.option("--provenance", default="", help="A line about the data and the detector, kept in the file.")
@options.body
@options.schema
def calibrate(
    labelled: tuple[Path, ...], people: Path, out: Path, provenance: str, body: str, schema: str | None
) -> None:
    """Estimate from LABELLED keypoints whose people are known how far their detector can be trusted.

    That is: noise, as a whole and by keypoint; a person's apparent changes of shape; errors that frames of one clip
    share. LABELLED are keypoint files, or folders of them. Frames of one clip repeat their errors, so say which belong
    together: a column group in the CSV, or names as frames of a video have, NAME_000123. Prints the fit of the data and
    the calibration error of probabilities (each clip left out of its person's) before and after.

    The noise of keypoints acts on fits: fit references with the calibration too, and score with the same.
    """
    enable_compile_cache()
    labels = read_labels(people)
    table = read_keypoints(labelled, find_schema(schema) if schema else None)
    about = provenance or f"{len(labels)} labelled pictures of {len(set(labels.values()))} people, {table.schema.name}"
    report = calibrate_from_labels(table, labels, find_body(body), about)
    save_calibration(out, report.calibration)
    found = report.calibration
    variances = " ".join(f"{value:.3f}" for value in np.diag(found.within_person))
    # Left and right are alike.
    noise = ", ".join(
        f"{name.removeprefix('left_')} {factor:.2f}"
        for name, factor in found.keypoint_noise.items()
        if not name.startswith("right_")
    )
    click.echo(
        f"noise scale {found.noise_scale:.3f}\nnoise by keypoint, times what was assumed: {noise}\n"
        f"within-person variances {variances}\ncorrelation within clips {found.group_correlation:.2f}\n"
        f"log likelihood {report.log_likelihood_before:.3f} -> {report.log_likelihood_after:.3f} nats per picture\n"
        f"expected calibration error {report.calibration_error_before:.3f} -> {report.calibration_error_after:.3f}\n"
        f"{out}"
    )
