"""``samebody apply``: applies the marks of a report to the files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.commands.choices import MARKS
from adapters.commands.help_text import Command

if TYPE_CHECKING:
    from adapters.jobs.apply_marks import Plan


_LISTED = 20


@click.command(
    cls=Command,
    examples="""
    samebody apply marks.csv --pictures pictures/ --move-to dropped/
    samebody apply marks.csv --pictures pictures/ --move-to dropped/ --yes
    samebody apply marks.csv --pictures pictures/ --copy-to kept/ --mark keep --yes
    """,
)
@click.argument("marks", type=click.Path(path_type=Path))
@click.option(
    "--pictures",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The folder that holds the pictures, as for `samebody report --images`.",
)
@click.option("--move-to", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Move them there.")
@click.option("--copy-to", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Copy them there.")
@click.option("--mark", type=click.Choice(MARKS), default="drop", show_default=True, help="Which pictures.")
@click.option("--yes", is_flag=True, help="Carry out the plan. Without this option the command only shows it.")
def apply(marks: Path, pictures: Path, move_to: Path | None, copy_to: Path | None, mark: str, yes: bool) -> None:
    """Move or copy the pictures with one mark. MARKS is the file that the report saved (.csv or .json).

    Pictures keep their path below DIR, and a caption (.txt or .caption of the same name) goes along. Nothing is
    overwritten and nothing is deleted. If the people of one picture are marked differently, the picture stays.
    """
    from adapters.jobs.apply_marks import carry_out, plan_marks, read_marks

    if (move_to is None) == (copy_to is None):
        raise click.UsageError("give the folder for the pictures: --move-to DIR or --copy-to DIR")
    target = move_to or copy_to
    assert target is not None
    read = read_marks(marks)
    plan = plan_marks(read, mark, pictures, target)
    _show(plan, "move" if move_to else "copy", target, yes)
    if not plan.steps and not plan.left:
        click.echo(f"no picture is marked {mark}: {len(read):,} marks in {marks}")
        return
    if yes:
        done = carry_out(plan, move=move_to is not None)
        click.echo(f"{done:,} files {'moved' if move_to else 'copied'} to {target}")
    elif plan.steps:
        click.echo("nothing has been changed; to do it: the same command with --yes")


def _show(plan: Plan, verb: str, target: Path, yes: bool) -> None:
    captions = len(plan.steps) - plan.pictures
    more = f" and {captions:,} captions" if captions else ""
    if plan.steps:
        click.echo(f"{'' if yes else 'would '}{verb} {plan.pictures:,} pictures{more} to {target}")
    if not yes:
        for step in plan.steps[:_LISTED]:
            click.echo(f"  {step.source} -> {step.target}")
        if len(plan.steps) > _LISTED:
            click.echo(f"  ... and {len(plan.steps) - _LISTED:,} more")
    for name, reason in plan.left[:_LISTED]:
        click.echo(f"  left: {name}: {reason}", err=True)
    if len(plan.left) > _LISTED:
        click.echo(f"  left: {len(plan.left) - _LISTED:,} more", err=True)
