"""Options of the commands that look at photographs."""

from collections.abc import Callable
from typing import Any

import click

from adapters.detect_job import PhotoDetection
from adapters.detectors.choice import DETECTORS, DetectorChoice, DetectorName, make_detector
from adapters.detectors.detection_cache import DetectionCache, detections_folder

_OPTIONS = (
    click.option(
        "--model",
        metavar="NAME|FILE",
        help="mmpose: a config file, the name of a config that MMPose ships, or an alias (downloads weights). "
        "rtmpose-onnx: the .onnx file.",
    ),
    click.option(
        "--weights",
        type=click.Path(exists=True, dir_okay=False),
        help="mmpose: the checkpoint of a config. Without it the weights are random: good for trying the installation.",
    ),
    click.option("--device", default="cpu", show_default=True, help="mmpose and rtmpose-onnx: cpu, cuda, cuda:1 ..."),
    click.option(
        "--trust-weights",
        is_flag=True,
        help="Load a checkpoint that is more than arrays and plain values. This runs whatever code is in it.",
    ),
    click.option(
        "--every",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Of videos, take every so many-th frame.",
    ),
    click.option("--no-cache", is_flag=True, help="Detect again, and keep nothing."),
)


def detector_option(**settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--detector`` and the options that go with it."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed((click.option("--detector", type=click.Choice(DETECTORS), **settings), *_OPTIONS)):
            command = option(command)
        return command

    return decorate


def photo_detection(
    detector: DetectorName,
    model: str | None,
    weights: str | None,
    device: str,
    trust_weights: bool,
    every: int,
    no_cache: bool,
) -> PhotoDetection:
    """The detector that was asked for, with the user's cache.

    Raises:
        DetectorError: it cannot be made.
    """
    folder = None if no_cache else detections_folder()
    found = make_detector(DetectorChoice(detector, model, weights, device, trust_weights))
    return PhotoDetection(found, None if folder is None else DetectionCache(folder), every)
