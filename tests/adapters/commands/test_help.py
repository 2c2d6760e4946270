"""Help of every command: it says what the command does, gives examples that exist, and fits 80 columns."""

import click
import pytest

from adapters.commands.cli import samebody
from adapters.commands.help_text import folded


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


EVERY = [((), samebody), *commands(samebody)]


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[" ".join(path) or "samebody" for path, _ in EVERY])
def test_help_has_examples_and_fits_80_columns(path: tuple[str, ...], command: click.Command) -> None:
    context = click.Context(command, info_name=" ".join(("samebody", *path)), terminal_width=80)
    text = command.get_help(context)
    assert max(map(len, text.splitlines())) <= 80
    assert "\nExamples:\n  " in text
    assert len(command.help or "") > 30
    if path and not isinstance(command, click.Group):
        assert f"samebody {' '.join(path)}" in text.split("Examples:")[1]


def test_long_commands_go_on_before_an_option() -> None:
    command = "samebody fit references/ --body smpl_neutral.npz --out shape.npz"
    assert folded(command, 80) == [command]
    assert folded(command, 52) == ["samebody fit references/ --body smpl_neutral.npz \\", "    --out shape.npz"]
    assert " ".join(line.rstrip("\\").strip() for line in folded(command, 30)) == command
