"""``samebody score``: compare every picture of a data set with a shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.commands import options
from adapters.commands.choices import EXCESS_THRESHOLD, REST_THRESHOLD
from adapters.commands.compiling import enable_told_cache
from adapters.commands.detector_options import detector_option, photograph_table
from adapters.commands.display import row_progress, say, summary_lines
from adapters.commands.help_text import Command
from adapters.commands.keypoint_input import Reading, any_source, reading_options, table_with_masks, tell
from adapters.commands.own_inputs import keep_inputs
from engine.scores import Mode

if TYPE_CHECKING:
    from adapters.keypoints.detectors.choice import DetectorName


@click.command(
    cls=Command,
    examples="""
    samebody score dataset/ --shape shape.npz --out scores.parquet
    samebody score keypoints.parquet --shape shape.npz --out scores.csv --strict
    samebody score dataset/ --shape anna.npz --shape boris.npz --out scores.parquet
    samebody score dataset/ --shape shape.npz --calibrate-on-dataset --out scores.parquet
    samebody score photos/ --detector mediapipe --shape shape.npz --out scores.parquet
    """,
)
@click.argument("dataset", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--shape",
    "shapes",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="Shape file made by `samebody fit`. Give it several times for several people: each row then describes the "
    "best match, with its name and margin.",
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="File of scores to write: .parquet, .csv or .jsonl."
)
@click.option(
    "--keep-evidence",
    type=click.Path(path_type=Path),
    metavar="FILE.parquet",
    help="Also write the evidence of each picture, to compare it with other people later.",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted run instead of scoring all pictures again.")
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Compute on a Ray cluster: its address, `auto` for this machine's cluster, `local` for this machine alone. "
    "The data set must be Parquet that every machine sees under the same path.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0, min_open=True),
    help="Value at which consistency is 1/e: nats of excess energy, or with --pose rest the reprojection error in "
    f"person heights.  [default: {EXCESS_THRESHOLD} and {REST_THRESHOLD}]",
)
@click.option(
    "--one-person",
    is_flag=True,
    help="Assume that all of DATASET shows one unknown person, and give a joint verdict too.",
)
@click.option(
    "--fit",
    "with_fits",
    is_flag=True,
    help="Also fit every picture at the shape, for the columns reprojection_error, oks, scale, translation (a few "
    "hundred pictures a second).",
)
@click.option("--strict", is_flag=True, help="Exit with status 1 if a row could not be scored.")
@options.body
@click.option(
    "--pose",
    type=click.Choice(["free", "rest"]),
    help=f"{options.FREE_HELP}  [default: as the shape was fitted]",
)
@options.solver
@options.calibration
@click.option(
    "--calibrate-on-dataset",
    is_flag=True,
    help="First make a calibration from DATASET, without labels; it is written beside the scores as "
    "NAME.calibration.json.",
)
@options.focal_length
@options.schema
@reading_options
@detector_option(help="DATASET are photographs, and this detector finds the keypoints first (docs/detectors.md).")
def score(
    dataset: tuple[Path, ...],
    shapes: tuple[Path, ...],
    out: Path,
    keep_evidence: Path | None,
    resume: bool,
    ray: str | None,
    threshold: float | None,
    one_person: bool,
    with_fits: bool,
    strict: bool,
    body: str,
    pose: Mode | None,
    solver: str,
    calibration: Path | None,
    calibrate_on_dataset: bool,
    focal_length_px: float | None,
    schema: str | None,
    reading: Reading,
    detector: DetectorName | None,
    **detection: Any,
) -> int:
    """Score every person in every picture of DATASET against a shape.

    DATASET are keypoint files of MMPose, COCO and others (docs/keypoint-files.md), or folders of them. Every person in
    them becomes one row; a row that cannot be scored has the reason in its status. With --detector they are
    photographs, or folders of them.

    An interrupted long run keeps its results in a folder beside the output; the same command with --resume continues
    from there.
    """
    from adapters.bodies.find import find_body
    from adapters.jobs.calibrate import calibrate_on_dataset as calibrate_from_dataset
    from adapters.jobs.calibrate import calibration_advice
    from adapters.jobs.outline_use import check_clothes, unused_clothes, unused_outlines
    from adapters.jobs.prepared import free_solver
    from adapters.jobs.ray_runner import RayCluster
    from adapters.jobs.score import RunSettings, score_to_file
    from adapters.jobs.scorer import ScoreSettings, calibration_of
    from adapters.keypoints.writers import write_keypoints
    from adapters.results.recorded_sources import record_sources
    from adapters.results.writers import check_result_path
    from engine.evidence.calibration_file import load_calibration, save_calibration
    from engine.shape import Shape

    check_result_path(out)
    for written in (out, keep_evidence):
        keep_inputs(written, (*dataset, *shapes, body, calibration))
    if calibrate_on_dataset and calibration is not None:
        raise ValueError("--calibration and --calibrate-on-dataset exclude each other; give one of them")
    # Ray may start processes, so this comes before JAX starts threads.
    cluster = None if ray is None else RayCluster(ray)
    fits = with_fits or focal_length_px is not None
    enable_told_cache("score" if pose != "rest" else "score in rest pose", solver, fits)
    loaded = [Shape.load(path) for path in shapes]
    people = dict(zip(_names(shapes), loaded, strict=True))
    settings = ScoreSettings(
        mode=pose,
        solver=solver,
        threshold=threshold,
        fit=with_fits,
        calibration=None if calibration is None else load_calibration(calibration),
        focal_length_px=focal_length_px,
    )
    model = find_body(body)
    posed = pose != "rest" and all(shape.mode == "free" for shape in loaded)
    evidence_source = (
        free_solver(model, solver, focal_length_px, [shape.solver for shape in loaded]) if posed else solver
    )
    check_clothes(reading.options.clothes, model, "free" if posed else "rest", evidence_source)
    detected = table_with_masks(dataset, schema, reading, photograph_table(dataset, detector, detection))
    files = dataset if detected is None else (out.with_suffix(".keypoints.parquet"),)
    if detected is not None:
        # The report finds the keypoints of a result beside it.
        write_keypoints(files[0], detected)
    if calibrate_on_dataset:
        calibration = out.with_suffix(".calibration.json")
        used = calibration_of(tuple(loaded))
        tables = any_source(files, schema, reading, detected)
        about = f"the data set of {out.name}, people unknown"
        report = calibrate_from_dataset(tables, model, used, about, evidence_source)
        save_calibration(calibration, report.calibration)
        settings = replace(settings, calibration=load_calibration(calibration))
        say(*(f"warning: {warning}" for warning in report.warnings))
    source = any_source(files, schema, reading, detected)
    with row_progress("scoring") as progress:
        run = RunSettings(
            keep_evidence=keep_evidence,
            one_person=one_person,
            resume=resume,
            sources=record_sources(out, files, shapes, body, calibration, schema, reading.options),
            on_progress=progress,
            compute=None if cluster is None else cluster.batches,
        )
        summary = score_to_file(source, model, people, out, settings, run)
    tell(source.report)
    advice = calibration_advice(calibration_of(tuple(loaded), settings.calibration)) if summary.verdicts else None
    say(*unused_outlines(source.report.outlined, model, *summary.source))
    say(*unused_clothes(reading.options.clothes, source.report.outlined))
    say(*summary_lines(summary, str(out)), *([] if advice is None else [advice]))
    return 1 if strict and not summary.all_scored else 0


def _names(shapes: tuple[Path, ...]) -> list[str]:
    """Names of people: the names of their files."""
    names = [path.stem for path in shapes]
    if len(set(names)) < len(names):
        raise ValueError("several shape files have one name, but people are named by their files; rename one")
    return names
