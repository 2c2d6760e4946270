"""``samebody outlines``: keypoints and masks in, keypoints with outlines out."""

from __future__ import annotations

from pathlib import Path

import click

from adapters.commands import options
from adapters.commands.display import say
from adapters.commands.help_text import Command
from adapters.commands.keypoint_input import Reading, file_options, read_table
from adapters.commands.own_inputs import keep_inputs


@click.command(
    cls=Command,
    examples="""
    samebody outlines keypoints.json --masks masks/ --out keypoints.parquet
    samebody outlines person_keypoints.json --out keypoints.parquet
    """,
)
@click.argument("keypoints", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Keypoint file to write: .parquet or .npz.")
@options.schema
@file_options
def outlines(keypoints: tuple[Path, ...], out: Path, schema: str | None, reading: Reading) -> None:
    """Reduce masks to outlines once, and write them beside KEYPOINTS.

    The masks are those of --masks, or polygons and run lengths in COCO's JSON. The result is read like any keypoint
    file, without the masks, and by clusters too.
    """
    from adapters.keypoints.writers import check_keypoint_path, write_keypoints

    check_keypoint_path(out)
    if out.suffix.lower() == ".json":
        raise ValueError(f"{out}: JSON has no place for outlines; write .parquet or .npz")
    keep_inputs(out, keypoints)
    table = read_table(keypoints, schema, reading)
    if table.outline_px is None:
        raise ValueError("the keypoint files hold no masks; give a folder of them with --masks DIR")
    write_keypoints(out, table)
    say(f"{out}")
