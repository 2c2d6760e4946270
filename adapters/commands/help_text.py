"""Help of commands: a description, examples that fit a terminal of 80 columns, and options in groups."""

import re
from typing import Any

import click

PHOTOGRAPH_OPTIONS = (
    "detector",
    "model",
    "weights",
    "person_model",
    "person_weights",
    "download",
    "boxes",
    "device",
    "trust_weights",
    "every",
    "no_cache",
)
"""Options with a separate heading."""


class _WithExamples(click.Command):
    """Adds examples at the end of the description."""

    def __init__(self, *args: Any, examples: str = "", **settings: Any) -> None:
        """
        Args:
            examples: one command a line.
        """
        super().__init__(*args, **settings)
        self.examples = [line.strip() for line in examples.strip().splitlines()]

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    for line in folded(example, formatter.width - formatter.current_indent):
                        formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(_WithExamples, click.Group):
    """A group of commands, with examples."""


class Command(_WithExamples):
    """A command with examples, and a separate heading for the options for photographs."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"Options": [], "Photographs": []}
        for parameter in self.get_params(ctx):
            # Newer versions of click list arguments too; the description explains them already.
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                groups["Photographs" if parameter.name in PHOTOGRAPH_OPTIONS else "Options"].append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def folded(command: str, width: int) -> list[str]:
    """Break a command before options into lines of at most ``width``, in a form that a shell accepts."""
    if len(command) <= width:
        return [command]
    first, *options = re.split(r" (?=--)", command)
    lines = [first]
    for option in options:
        if len(f"{lines[-1]} {option} \\") <= width:
            lines[-1] += f" {option}"
        else:
            lines[-1] += " \\"
            lines.append(f"    {option}")
    return lines
