"""Options that several commands share, so that they mean the same everywhere."""

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
    help="The body that is fitted: the embedded one, or a file made by `samebody export-body`.",
)
schema = click.option(
    "--schema",
    type=click.Choice(SCHEMA_NAMES, case_sensitive=False),
    metavar="NAME",
    help=f"Which keypoints the files hold, where they do not name them: {', '.join(SCHEMA_NAMES)}.  "
    "[default: as in the files]",
)
calibration = click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What the detector and its population do, made by `samebody calibrate`.  [default: that of the shape, or the "
    "shipped one]",
)
scored_keypoints = click.option(
    "--keypoints",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The keypoint files that were scored, or folders of them.  [default: as SCORES says]",
)
scored_shapes = click.option(
    "--shape",
    "shapes",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The shape file that they were compared with; several times for several people.  [default: as SCORES says]",
)
scored_body = click.option(
    "--body", metavar="anny24|FILE", help="The body of the shape.  [default: as SCORES says, or anny24]"
)
FREE_HELP = "free: every picture has its own pose. rest: the original recipe, T-pose, only the camera is fitted."

solver = click.option(
    "--solver",
    type=click.Choice(("auto", "amortised", "lm", "adam", "lbfgs")),
    default="auto",
    show_default=True,
    help="auto: the closed form with --pose rest, Levenberg-Marquardt fits (lm) where the pose is free. amortised: the "
    "body's evidence network, without fits: a hundred times as fast, for single pictures as good. adam and lbfgs reach "
    "the minima of lm, much slower.",
)


focal_length = click.option(
    "--focal-length",
    "focal_length_px",
    type=click.FloatRange(min=0, min_open=True),
    metavar="PX",
    help="The camera's focal length in pixels of these pictures (image width times focal length over sensor width). "
    "It matters where the camera was nearer than some 4 m.  [default: perspective is neglected]",
)


def find_calibration(path: Path | None, body_fingerprint: str) -> Calibration:
    """The calibration that is meant, which must be about this body.

    Raises:
        ValueError: it is about another, or the file cannot be read.
    """
    from engine.evidence.calibration_file import default_calibration, load_calibration

    found = default_calibration() if path is None else load_calibration(path)
    found.check_body(body_fingerprint)
    return found
