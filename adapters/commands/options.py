"""Options that several commands share, so that they mean the same everywhere."""

import click

from engine.bodies import EMBEDDED_BODY
from engine.keypoints import SCHEMAS
from engine.rest_fit import SOLVERS

body = click.option(
    "--body",
    default=EMBEDDED_BODY,
    show_default=True,
    metavar="anny24|FILE",
    help="The body that is fitted: the embedded one, or a file made by `samebody export-body`.",
)
schema = click.option(
    "--schema",
    type=click.Choice(list(SCHEMAS), case_sensitive=False),
    help="Which keypoints the files hold, where they do not say so.  [default: as the files say]",
)
pose = click.option(
    "--pose",
    type=click.Choice(["rest"]),
    default="rest",
    show_default=True,
    help="rest: the original recipe, body in T-pose, only the camera is fitted.",
)
solver = click.option(
    "--solver",
    type=click.Choice(SOLVERS),
    default="auto",
    show_default=True,
    help="auto is the closed form; the loops reach the same minimum, slower.",
)
