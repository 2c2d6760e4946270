"""Options that several commands share, with one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.commands.choices import EMBEDDED_BODY, SCHEMA_NAMES

if TYPE_CHECKING:
    from engine.evidence.calibration import Calibration


body = click.option(
    "--body",
    default=EMBEDDED_BODY,
    show_default=True,
    metavar="anny24|FILE",
    help="Body to fit: the embedded one, or a file made by `samebody export-body`.",
)
schema = click.option(
    "--schema",
    type=click.Choice(SCHEMA_NAMES, case_sensitive=False),
    metavar="NAME",
    help=f"Schema of the keypoints, if the files do not name it: {', '.join(SCHEMA_NAMES)}.  "
    "[default: as in the files]",
)
calibration = click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Calibration of the detector and its population, made by `samebody calibrate`.  [default: that of the shape, "
    "or the shipped one]",
)
scored_keypoints = click.option(
    "--keypoints",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The keypoint files that were scored, or folders of them.  [default: as recorded in SCORES]",
)
scored_shapes = click.option(
    "--shape",
    "shapes",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The shape file of the scores; give it several times for several people.  [default: as recorded in SCORES]",
)
scored_body = click.option(
    "--body", metavar="anny24|FILE", help="The body of the shape.  [default: as recorded in SCORES, or anny24]"
)
FREE_HELP = "free: every picture has its own pose. rest: the original recipe, T-pose, only the camera is fitted."

solver = click.option(
    "--solver",
    type=click.Choice(("auto", "joint", "amortised", "lm", "adam", "lbfgs")),
    default="auto",
    show_default=True,
    help="auto: the closed form with --pose rest; with --pose free what the shape was fitted with, at first the body's "
    "evidence network (amortised), or lm if the body has none. lm: Levenberg-Marquardt fits of every picture, a "
    "hundred times as slow. joint: lm and amortised together. adam and lbfgs reach the minima of lm, but much slower.",
)


focal_length = click.option(
    "--focal-length",
    "focal_length_px",
    type=click.FloatRange(min=0, min_open=True),
    metavar="PX",
    help="The camera's focal length in pixels of these pictures (image width times focal length over sensor width). "
    "It matters if the camera was nearer than about 4 m; the evidence then comes from fits (lm).  [default: the "
    "network weighs all distances, fits neglect perspective]",
)


def find_calibration(path: Path | None, body_fingerprint: str) -> Calibration:
    """Read a calibration, which must belong to this body.

    Raises:
        ValueError: it belongs to another body, or the file cannot be read.
    """
    from engine.evidence.calibration_file import default_calibration, load_calibration

    found = default_calibration() if path is None else load_calibration(path)
    found.check_body(body_fingerprint)
    return found
