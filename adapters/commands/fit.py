"""``samebody fit``: one shape from reference keypoints."""

from pathlib import Path
from typing import Any

import click

from adapters.bodies.find import find_body
from adapters.commands import options
from adapters.commands.detector_options import detector_option, keypoint_files
from adapters.commands.display import say
from adapters.commands.help_text import Command
from adapters.commands.keypoint_input import read_references, reading_options
from adapters.jobs.compile_cache import enable_compile_cache
from adapters.jobs.fit import PERSONS, FitSettings, Person, fit_references
from adapters.keypoints.detectors.choice import DetectorName
from adapters.keypoints.readers import ReadingOptions
from engine.evidence.calibration_file import load_calibration
from engine.scores import Mode


@click.command(
    cls=Command,
    short_help="One body shape from reference keypoints.",
    examples="""
    samebody fit cam01.json cam02.json --out shape.npz
    samebody fit references/ --body smpl_neutral.npz --out shape.npz
    samebody fit photos/ --detector mediapipe --out shape.npz
    """,
)
@click.argument("references", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Where the shape goes (.npz)."
)
@click.option(
    "--person",
    type=click.Choice(PERSONS),
    default="largest",
    show_default=True,
    help="Who is meant where a picture shows several people: the one with the largest box, or all (one person each).",
)
@options.body
@click.option("--pose", type=click.Choice(["free", "rest"]), default="free", show_default=True, help=options.FREE_HELP)
@options.solver
@options.calibration
@options.focal_length
@options.schema
@reading_options
@detector_option(help="REFERENCES are photographs, and this detector finds the keypoints first (docs/detectors.md).")
def fit(
    references: tuple[Path, ...],
    out: Path,
    person: Person,
    body: str,
    pose: Mode,
    solver: str,
    calibration: Path | None,
    focal_length_px: float | None,
    schema: str | None,
    reading: ReadingOptions,
    detector: DetectorName | None,
    **settings: Any,
) -> None:
    """Fit ONE body shape to the keypoints of all REFERENCES.

    REFERENCES are keypoint files of MMPose, COCO and others (docs/keypoint-files.md), or folders of them. With
    --detector they are photographs, or folders of them.
    """
    if not out.parent.is_dir():
        raise ValueError(f"cannot write {out}: there is no folder {out.parent}; make it first")
    enable_compile_cache()
    with keypoint_files(references, detector, settings) as files:
        table = read_references(files, schema, reading, person)
    trusted = None if calibration is None else load_calibration(calibration)
    shape = fit_references(table, find_body(body), FitSettings(person, pose, solver, trusted, focal_length_px))
    shape.save(out)
    say(
        f"{shape.used_references} of {len(shape.references)} references used, {shape.body_name}, {shape.schema}, "
        f"pose {pose}",
        "betas " + " ".join(f"{beta:+.2f}" for beta in shape.betas),
        *([] if shape.converged else ["warning: the fit did not converge; look at the references"]),
        f"{out}",
    )
