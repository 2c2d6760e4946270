"""``samebody export-body``: body files from other packages' model files."""

from pathlib import Path

import click

from adapters.commands.choices import GENDERS
from adapters.commands.display import say
from adapters.commands.help_text import Command, Group


@click.group(
    "export-body",
    cls=Group,
    examples="""
    samebody export-body smplx --model-path models/smpl --gender neutral --out smpl_neutral.npz
    """,
)
def export_body() -> None:
    """Convert a body model that you have to a body file for --body."""


@export_body.command(
    "smplx",
    cls=Command,
    short_help="Convert SMPL's official .pkl or .npz files.",
    examples="""
    samebody export-body smplx --model-path models/smpl --gender neutral --out smpl_neutral.npz
    samebody fit references/ --body smpl_neutral.npz --out shape.npz
    """,
)
@click.option(
    "--model-path",
    required=True,
    type=click.Path(path_type=Path),
    help="SMPL_NEUTRAL.pkl or the like, or a folder with such files (also in its smpl/ or models/ subfolder).",
)
@click.option("--gender", required=True, type=click.Choice(GENDERS), help="Gender of the SMPL model.")
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Body file to write (.npz)."
)
@click.option(
    "--betas",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="Shape components to keep; official files have 10 or 300.",
)
def smplx_command(model_path: Path, gender: str, out: Path, betas: int) -> None:
    """Convert SMPL's official .pkl or .npz files, as used with the smplx package.

    The files come from https://smpl.is.tue.mpg.de after a free registration. They may not be redistributed, and
    neither may body files made from them. Reading them runs no code, and needs neither smplx nor chumpy.
    """
    from adapters.bodies.smplx_export import export_smpl

    body = export_smpl(model_path, gender, out, betas)
    say(
        f"{body.name}: {body.v_template.shape[0]} vertices, {body.joint_count} joints, "
        f"{body.beta_count} shape components, {len(body.keypoint_names)} keypoints",
        str(out),
    )
