"""``samebody calibrate``: how far a detector's keypoints can be trusted, from labelled pictures."""

from pathlib import Path

import click
import numpy as np

from adapters.bodies import find_body
from adapters.commands import options
from adapters.compile_cache import enable_compile_cache
from adapters.labelled_pictures import calibrate_from_labels, read_labels
from adapters.readers import read_keypoints
from engine.calibration_file import save_calibration
from engine.keypoints import find_schema


@click.command(short_help="How far keypoints can be trusted, from labelled pictures.")
@click.argument("labelled", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--people",
    required=True,
    type=click.Path(path_type=Path),
    help="CSV with the columns image and person (and instance, where pictures show several people).",
)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Where it goes (.json).")
@click.option("--provenance", default="", help="A line about the data and the detector, kept in the file.")
@options.body
@options.schema
def calibrate(
    labelled: tuple[Path, ...], people: Path, out: Path, provenance: str, body: str, schema: str | None
) -> None:
    """Estimate noise scale and within-person variances from LABELLED keypoints whose people are known.

    LABELLED are keypoint files, or folders of them. Pictures of one person should be from different shots: frames of
    one clip repeat their errors, which would then pass for the person's shape. Prints the fit of the data and the
    calibration error of probabilities (each picture left out of its person's) before and after.

    \b
    samebody calibrate labelled/ --people labels.csv --out calibration.json
    samebody fit references/ --calibration calibration.json --out shape.npz
    """
    enable_compile_cache()
    labels = read_labels(people)
    table = read_keypoints(labelled, find_schema(schema) if schema else None)
    about = provenance or f"{len(labels)} labelled pictures of {len(set(labels.values()))} people, {table.schema.name}"
    report = calibrate_from_labels(table, labels, find_body(body), about)
    save_calibration(out, report.calibration)
    variances = " ".join(f"{value:.3f}" for value in np.diag(report.calibration.within_person))
    click.echo(
        f"noise scale {report.calibration.noise_scale:.3f}\nwithin-person variances {variances}\n"
        f"log likelihood {report.log_likelihood_before:.3f} -> {report.log_likelihood_after:.3f} nats per picture\n"
        f"expected calibration error {report.calibration_error_before:.3f} -> {report.calibration_error_after:.3f}\n"
        f"{out}"
    )
