"""``samebody detect``: photographs in, keypoints out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.commands.detector_options import detection_line, detector_option, photo_detection
from adapters.commands.display import row_progress, say
from adapters.commands.help_text import Command
from adapters.commands.own_inputs import keep_inputs

if TYPE_CHECKING:
    from adapters.keypoints.detectors.choice import DetectorName


@click.command(
    cls=Command,
    examples="""
    samebody detect photos/ --out keypoints.parquet
    samebody detect walk.mp4 --every 10 --out keypoints.parquet
    samebody detect photos/ --out keypoints.parquet --detector mmpose --model CONFIG --weights CHECKPOINT
    """,
)
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Keypoint file to write: .parquet, .npz or .json."
)
@detector_option(default="mediapipe", show_default=True, help="Detector to use (docs/detectors.md).")
@click.option("--strict", is_flag=True, help="Exit with status 1 if a picture could not be read or shows nobody.")
def detect(
    photos: tuple[Path, ...],
    out: Path,
    detector: DetectorName,
    strict: bool,
    **settings: Any,
) -> int:
    """Find the people in PHOTOS and their keypoints.

    PHOTOS are pictures, videos, and folders of them. Every person becomes one row. A picture without people, or one
    that cannot be read, becomes a row with that status. Results are kept: the next run with the same detector processes
    only new files.
    """
    from adapters.jobs.detect import detect_to_file
    from adapters.keypoints.detectors.pictures import find_pictures
    from adapters.keypoints.writers import check_keypoint_path

    check_keypoint_path(out)
    files = find_pictures(photos)
    keep_inputs(out, (file.path for file in files))
    detection = photo_detection(detector, settings)
    with row_progress("detecting") as progress:
        summary = detect_to_file(files, detection, out, progress)
    say(detection_line(summary), f"{out}")
    return 1 if strict and not summary.all_found else 0
