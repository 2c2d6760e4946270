"""The command line: ``samebody demo | detect | fit | score | report | plot | cluster | calibrate | ...``.

Exit status: 0 done; 1 some rows could not be scored (with --strict); 2 the input or the usage is wrong, with one line
on stderr; 130 interrupted, 143 terminated. A traceback means a bug in samebody, never a mistake of the user.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import click

from adapters.commands.help_text import Group
from adapters.commands.installed import adapted
from adapters.commands.signals import MESSAGE, interruptible
from engine import VERSION
from engine.body.files import remove_temporaries


class _Entry(NamedTuple):
    """Module and function of a command, and its line in the list of commands; it is imported when called."""

    module: str
    attribute: str
    short_help: str


_COMMANDS = {
    "demo": _Entry("demo", "demo", "Try samebody on packaged keypoints."),
    "check": _Entry("check", "check_command", "Make a page from references and pictures, in one command."),
    "detect": _Entry("detect", "detect", "Find people and their keypoints in photographs."),
    "outlines": _Entry("outlines", "outlines", "Reduce masks of people to outlines, beside their keypoints."),
    "fit": _Entry("fit", "fit", "Fit one body shape to reference keypoints."),
    "score": _Entry("score", "score", "Score every person in every picture."),
    "report": _Entry("report", "report", "Make a page for looking at scores."),
    "apply": _Entry("apply", "apply", "Move or copy the pictures that were marked in a report."),
    "plot": _Entry("plot", "plot", "Draw figures of scores, pictures and bodies."),
    "cluster": _Entry("cluster", "cluster", "Group pictures by body, without references."),
    "calibrate": _Entry("calibrate", "calibrate", "Estimate noise and population of a detector from pictures."),
    "train-evidence": _Entry("train_evidence", "train_evidence", "Train the evidence network of your own body."),
    "export-body": _Entry("export_body", "export_body", "Make a body file from SMPL's official files."),
    "serve": _Entry("serve", "serve", "Run the HTTP interface on this machine, for tests."),
    "doctor": _Entry("doctor", "doctor", "List installed and missing parts, with remedies."),
}


class _LazyGroup(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        entry = _COMMANDS[cmd_name]
        return getattr(importlib.import_module(f"adapters.commands.{entry.module}"), entry.attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in _COMMANDS.items()])


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples="""
    samebody demo
    samebody detect photos/ --out keypoints.parquet
    samebody fit references/ --out shape.npz
    samebody score dataset/ --shape shape.npz --out scores.parquet
    samebody report scores.parquet --images pictures/ --out report.html
    """,
)
@click.version_option(VERSION, prog_name="samebody")
def samebody() -> None:
    """Compare the body in each picture with the body in reference pictures.

    Keypoints come from photographs (samebody detect), MMPose (prediction JSON), COCO keypoint JSON, Parquet or .npz.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    with interruptible(remove_temporaries) as received:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        except (KeyboardInterrupt, click.Abort) as interrupt:
            click.echo(f"{MESSAGE}{_notes(interrupt)}", err=True)
            return received.status


def _run(arguments: Sequence[str]) -> int:
    try:
        # samebody.main is not used: it turns KeyboardInterrupt into another exception without notes.
        with samebody.make_context("samebody", list(arguments)) as context:
            status = samebody.invoke(context)
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as help_wanted:
        click.echo(help_wanted.format_message())
        return 2
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" (try: {context.command_path} --help)" if context else ""
        return _fail(f"{error.format_message()}{hint}")
    except (ValueError, OSError) as error:
        return _fail(f"{error}{_notes(error)}")


def _notes(error: BaseException) -> str:
    """Notes of an exception: saved work, and how to continue."""
    return "".join(f"; {note}" for note in getattr(error, "__notes__", []))


def _fail(message: str) -> int:
    click.echo(f"samebody: {' '.join(adapted(message).split())}", err=True)
    return 2


if __name__ == "__main__":
    sys.exit(main())
