"""The command that installs an extra, for the way in which samebody itself was installed.

Messages everywhere name the extra as ``pip install 'samebody[report]'``; the command line shows them through
``adapted``, so that the shown command works for this installation.
"""

import json
import re
from functools import cache

_NAME = "samebody"
_HINT = re.compile(r"pip install 'samebody\[([\w,-]+)\]'")


def adapted(message: str) -> str:
    """Adapt a message's hints about extras to the way in which samebody was installed."""
    return _HINT.sub(lambda hint: command_for(_origin(), hint[1]), message)


def command_for(origin: str | None, extra: str) -> str:
    """The command that installs an extra.

    Args:
        origin: the distribution's direct_url.json (PEP 610); None if it came from an index, and empty if samebody is
            imported from its checkout without installation.
    """
    if origin == "":
        return f"pip install -e '.[{extra}]' (in the checkout)"
    try:
        record = json.loads(origin or "{}")
        url = str(record.get("url", ""))
        if url.startswith("file:") and "dir_info" in record:
            editable = "-e " if record["dir_info"].get("editable") else ""
            return f"pip install {editable}'.[{extra}]' (in the checkout)"
    except (ValueError, AttributeError):
        url = ""
    return f"pip install '{_NAME}[{extra}]{f' @ {url}' if url else ''}'"


@cache
def _origin() -> str | None:
    from importlib import metadata  # takes a third of the time of --help

    try:
        return metadata.distribution(_NAME).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return ""
