"""``samebody check``: from references and pictures to a page, in one command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.commands import options
from adapters.commands.compiling import enable_told_cache
from adapters.commands.detector_options import detection_line, detector_option, photo_detection, refuse_detection
from adapters.commands.display import failed_lines, print_table, row_progress, say, stages
from adapters.commands.help_text import Command
from adapters.commands.keypoint_input import Reading, read_references, read_table, reading_options, table_with_masks
from adapters.commands.own_inputs import keep_inputs

if TYPE_CHECKING:
    from adapters.jobs.check import Check
    from adapters.jobs.check_folder import CheckFolder, Looks
    from adapters.keypoints.detectors.choice import DetectorName
    from adapters.keypoints.table import KeypointTable


_DEFAULT_DETECTOR: DetectorName = "mediapipe"


@click.command(
    "check",
    cls=Command,
    examples="""
    samebody check references/ pictures/
    samebody check references.parquet keypoints.parquet --images pictures/ --out checked/
    samebody check references/ pictures/ --detector rtmpose-onnx --model rtmpose.onnx
    """,
)
@click.argument("references", type=click.Path(path_type=Path))
@click.argument("pictures", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("samebody-check"),
    show_default=True,
    help="Folder for the page, the scores, the shape and the calibration.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder that holds the pictures, if PICTURES are keypoints.",
)
@options.body
@options.solver
@options.calibration
@options.schema
@reading_options
@detector_option(help="Detector that finds the keypoints in photographs.  [default: mediapipe]")
def check_command(
    references: Path,
    pictures: Path,
    out: Path,
    images: Path | None,
    body: str,
    solver: str,
    calibration: Path | None,
    schema: str | None,
    reading: Reading,
    detector: DetectorName | None,
    **settings: Any,
) -> None:
    """Find the PICTURES that do not show the person of REFERENCES.

    Both are folders of photographs, or keypoint files or folders of them. The command fits the person, checks the
    references against each other, calibrates on the pictures if there are a hundred and no calibration is given,
    scores, and writes a folder with a page for the decisions. It prints the twenty pictures to look at first, with
    reasons.
    """
    from adapters.bodies.find import find_body
    from adapters.jobs.check import CheckSettings, check
    from adapters.jobs.check_folder import FILES, FolderSettings, look_at, write_check
    from adapters.jobs.outline_use import check_clothes, unused_clothes, unused_outlines
    from adapters.jobs.prepared import free_solver
    from adapters.results.own_folder import check_own_files
    from engine.evidence.calibration_file import load_calibration

    for name in FILES:
        keep_inputs(out / name, (references, pictures, body, calibration))
    check_own_files(out, FILES)
    photographs = {path: _photographs(path) for path in (references, pictures)}
    if detector is None and not any(photographs.values()):
        refuse_detection(settings, "these are keypoint files; leave it out")
    enable_told_cache("check")
    model = find_body(body)
    check_clothes(reading.options.clothes, model, "free", free_solver(model, solver))
    known, asked = (
        _detected(path, what, detector or _DEFAULT_DETECTOR, settings, schema, reading)
        if detector is not None or photographs[path]
        else _read(path, what, schema, reading)
        for path, what in ((references, "references"), (pictures, "pictures"))
    )
    folder_of_photographs = pictures if pictures.is_dir() and photographs[pictures] else None
    chosen = CheckSettings(solver, None if calibration is None else load_calibration(calibration))
    with stages() as progress:
        looks = look_at(asked, images or folder_of_photographs, progress)
        found = check(known, asked, model, chosen, looks.alike, progress)
        folder = write_check(found, asked, looks, out, FolderSettings(body), progress)
    outlined = known.outlined + asked.outlined
    say(
        *unused_outlines(outlined, model, "free", found.shape.solver),
        *unused_clothes(reading.options.clothes, outlined),
    )
    _show(found, folder, looks)


def _read(path: Path, what: str, schema: str | None, reading: Reading) -> KeypointTable:
    if what == "references":
        return read_references([path], schema, reading, "largest")
    return read_table([path], schema, reading)


def _detected(
    path: Path,
    what: str,
    detector: DetectorName,
    settings: Mapping[str, Any],
    schema: str | None,
    reading: Reading,
) -> KeypointTable:
    from adapters.jobs.detect import detect_to_table
    from adapters.keypoints.detectors.pictures import find_pictures
    from adapters.keypoints.table import with_clothes

    detection = photo_detection(detector, settings)
    with row_progress(f"detecting in the {what}") as progress:
        table, summary = detect_to_table(find_pictures([path]), detection, progress)
    say(f"{what}: {detection_line(summary)}")
    outlined = table_with_masks([path], schema, reading, table)
    return with_clothes(table if outlined is None else outlined, reading.options.clothes)


def _photographs(path: Path) -> bool:
    """True if a path holds photographs and no keypoints; a folder with both holds keypoints of its photographs."""
    from adapters.keypoints.detectors.pictures import STILL_SUFFIXES, VIDEO_SUFFIXES

    suffixes = {*STILL_SUFFIXES, *VIDEO_SUFFIXES}
    if path.is_file():
        return path.suffix.lower() in suffixes
    below = {Path(name).suffix.lower() for _, _, files in os.walk(path) for name in files}
    return bool(below & suffixes) and not below & {".json", ".parquet", ".npz"}


def _show(found: Check, folder: CheckFolder, looks: Looks) -> None:
    from adapters.commands.check_text import COLUMNS, failed_pictures, summary_of

    result = summary_of(found, folder.scores, looks.alike)
    for line in result.lines:
        click.echo(line)
    if result.first:
        print_table(result.title, COLUMNS, result.first)
    for advice in found.help:
        click.echo(f"to be surer: {advice}")
    page = f"look and decide: {folder.page}" if folder.page else "no page: it needs pip install 'samebody[report]'"
    say(*failed_lines(failed_pictures(found.scores)), page, f"{folder.scores_file}")
