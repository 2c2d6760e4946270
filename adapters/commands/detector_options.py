"""Options of the commands that read photographs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.commands.choices import DETECTORS
from adapters.commands.display import row_progress, say

if TYPE_CHECKING:
    from adapters.jobs.detect import DetectSummary, PhotoDetection
    from adapters.keypoints.detectors.choice import DetectorName
    from adapters.keypoints.detectors.protocol import Box
    from adapters.keypoints.table import KeypointTable


_OPTIONS = (
    click.option(
        "--model",
        metavar="NAME|FILE",
        help="mmpose: a config file, or the name of a config that MMPose ships. rtmpose-onnx: the .onnx file.",
    ),
    click.option(
        "--weights",
        type=click.Path(exists=True, dir_okay=False),
        help="mmpose: the checkpoint of a config. By default weights are random, for testing an installation.",
    ),
    click.option(
        "--person-model",
        metavar="NAME|FILE",
        help="mmpose: model that finds people for a top-down model (MMDetection's config or alias, needs mmcv). By "
        "default the whole picture is one person.",
    ),
    click.option("--person-weights", type=click.Path(exists=True, dir_okay=False), help="Checkpoint of that model."),
    click.option(
        "--download", is_flag=True, help="mmpose: --model is an alias; let MMPoseInferencer download its weights."
    ),
    click.option(
        "--boxes",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help='Boxes of people for top-down models: JSON {"picture": [[x1, y1, x2, y2], ...]}, with picture names as in '
        "the output. Other pictures are one box.",
    ),
    click.option("--device", default="cpu", show_default=True, help="mmpose and rtmpose-onnx: cpu, cuda, cuda:1 ..."),
    click.option(
        "--trust-weights",
        is_flag=True,
        help="Load a checkpoint that is more than arrays and plain values. This runs any code in it.",
    ),
    click.option(
        "--every",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Take every N-th frame of videos.",
    ),
    click.option("--no-cache", is_flag=True, help="Detect again, and keep nothing."),
    click.option(
        "--outlines",
        is_flag=True,
        help="Segment people too, and measure their outlines (docs/outlines.md). mediapipe does it by itself, the "
        "others need --mask-model.",
    ),
    click.option(
        "--mask-model",
        metavar="NAME|FILE",
        help="mmpose and rtmpose-onnx: model that segments people (MMDetection's config, or the name of one it ships).",
    ),
    click.option("--mask-weights", type=click.Path(exists=True, dir_okay=False), help="Checkpoint of that model."),
)

_DEFAULTS: dict[str, Any] = {
    "model": None,
    "weights": None,
    "person_model": None,
    "person_weights": None,
    "download": False,
    "boxes": None,
    "device": "cpu",
    "trust_weights": False,
    "every": 1,
    "no_cache": False,
    "outlines": False,
    "mask_model": None,
    "mask_weights": None,
}


def detector_option(**settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--detector`` and its options."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed((click.option("--detector", type=click.Choice(DETECTORS), **settings), *_OPTIONS)):
            command = option(command)
        return command

    return decorate


def photo_detection(detector: DetectorName, settings: Mapping[str, Any]) -> PhotoDetection:
    """The requested detector, with the user's cache.

    Args:
        settings: the options of ``detector_option``, by name.

    Raises:
        DetectorError: it cannot be made.
        ValueError: the boxes cannot be read.
    """
    from adapters.jobs.detect import PhotoDetection
    from adapters.keypoints.detectors.choice import DetectorChoice, make_detector
    from adapters.keypoints.detectors.detection_cache import default_cache

    given = dict(settings)
    boxes, every, no_cache = (given.pop(name) for name in ("boxes", "every", "no_cache"))
    choice = DetectorChoice(detector, **given)
    if detector == "mmpose" and choice.model is not None and choice.weights is None and not choice.download:
        click.echo(
            "samebody: no --weights, so they are random: this tests the installation, the keypoints are nonsense",
            err=True,
        )
    return PhotoDetection(
        make_detector(choice),
        None if no_cache else default_cache(),
        every,
        None if boxes is None else _read_boxes(boxes),
    )


def _read_boxes(path: Path) -> dict[str, list[Box]]:
    import msgspec

    from adapters.keypoints.detectors.protocol import Box

    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, list[Box]])
    except msgspec.DecodeError as error:
        raise ValueError(f'{path}: expected {{"picture": [[x1, y1, x2, y2], ...]}}: {error}') from error


def refuse_detection(settings: Mapping[str, Any], remedy: str) -> None:
    """Refuse options of a detector where none runs.

    Raises:
        ValueError: one is given.
    """
    given = [f"--{name.replace('_', '-')}" for name, value in settings.items() if value != _DEFAULTS[name]]
    if given:
        raise ValueError(f"{', '.join(given)} is for photographs; {remedy}")


def photograph_table(
    paths: Sequence[Path], detector: DetectorName | None, settings: Mapping[str, Any]
) -> KeypointTable | None:
    """A table of everybody in the photographs, if a detector was named; else None: the paths are keypoint files.

    Raises:
        ValueError: the photographs cannot be found, or an option of a detector is given without one.
    """
    from adapters.jobs.detect import detect_to_table
    from adapters.keypoints.detectors.pictures import find_pictures

    if detector is None:
        refuse_detection(settings, "give --detector too, or leave it out")
        return None
    files = find_pictures(paths)
    detection = photo_detection(detector, settings)
    with row_progress("detecting") as progress:
        table, summary = detect_to_table(files, detection, progress)
    say(detection_line(summary))
    return table


def detection_line(summary: DetectSummary) -> str:
    """``40 pictures, 12 of them known: 38 ok, 2 no_detection``."""
    counts = ", ".join(f"{count:,} {status}" for status, count in sorted(summary.by_status.items()))
    known = f", {summary.from_cache:,} of them known" if summary.from_cache else ""
    return f"{summary.pictures:,} pictures{known}: {counts}"
