"""The command line: ``samebody demo | detect | fit | score | report | plot | cluster | calibrate | ...``.

Exit status: 0 done; 1 some rows could not be scored (with --strict); 2 the input or the usage is wrong, with one line
on stderr; 130 interrupted, 143 terminated. A traceback means a bug in samebody, never a mistake of the user.
"""

import importlib
import sys
from collections.abc import Sequence

import click

from adapters.commands.help_text import Group
from adapters.commands.installed import adapted
from adapters.commands.signals import MESSAGE, interruptible
from engine import VERSION
from engine.body.files import remove_temporaries

# Commands are imported when they are called: `--help` need not wait for JAX.
_COMMANDS = {
    "demo": ("adapters.commands.demo", "demo"),
    "check": ("adapters.commands.check", "check_command"),
    "detect": ("adapters.commands.detect", "detect"),
    "fit": ("adapters.commands.fit", "fit"),
    "score": ("adapters.commands.score", "score"),
    "report": ("adapters.commands.report", "report"),
    "apply": ("adapters.commands.apply", "apply"),
    "plot": ("adapters.commands.plot", "plot"),
    "cluster": ("adapters.commands.cluster", "cluster"),
    "calibrate": ("adapters.commands.calibrate", "calibrate"),
    "train-evidence": ("adapters.commands.train_evidence", "train_evidence"),
    "export-body": ("adapters.commands.export_body", "export_body"),
    "serve": ("adapters.commands.serve", "serve"),
    "doctor": ("adapters.commands.doctor", "doctor"),
}


class _LazyGroup(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        return getattr(importlib.import_module(module), attribute)


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
    """Is the person in each picture built like the person in my reference pictures?

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
        # Not samebody.main: it turns KeyboardInterrupt into an exception of its own, without its notes.
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
    """What was said about an error on its way up: what is saved, and how to go on."""
    return "".join(f"; {note}" for note in getattr(error, "__notes__", []))


def _fail(message: str) -> int:
    click.echo(f"samebody: {' '.join(adapted(message).split())}", err=True)
    return 2


if __name__ == "__main__":
    sys.exit(main())
