"""Joins template, styles, scripts and data to one HTML file.

The page's Content-Security-Policy permits only its own script: script and style are named by their SHA-256, pictures
come from the page itself or from the folder beside it, and no address may be called. Markup in a name cannot run.
"""

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO, Any

import jinja2
from markupsafe import Markup

from adapters.results.own_folder import fill_own_folder
from adapters.results.report.page_data import safe_json
from adapters.results.report.thumbnails import Thumbnail
from engine.body.files import replace_file

SCRIPTS = (
    "data.js",
    "body.js",
    "viewer.js",
    "overlay.js",
    "marks.js",
    "filters.js",
    "histogram.js",
    "gallery.js",
    "groups.js",
    "detail.js",
    "page.js",
    "keys.js",
)
INLINE_BYTES = 3_000_000
"""Thumbnails with a larger total size go into a folder beside the page."""


@dataclass(frozen=True)
class PageParts:
    """The contents of a page."""

    manifest: dict[str, Any]
    block: str
    """The text of ``page_data.ArrayBlock``."""
    thumbnails: list[Thumbnail | None]


def pictures_folder(page: str | os.PathLike[str]) -> Path:
    """The folder of a page's pictures, if the page does not hold them itself."""
    return Path(page).with_name(f"{Path(page).stem}_files")


def write_page(path: str | os.PathLike[str], parts: PageParts, keep: Sequence[Path] = ()) -> Path | None:
    """Write the page, and its pictures beside it if they are too large.

    Args:
        keep: files and folders of the user that must not lie in the folder of the pictures.

    Returns:
        The folder of the pictures; None if the page holds them itself.

    Raises:
        ValueError: the folder does not exist, or the folder for the pictures holds files that samebody did not write.
    """
    target = Path(path)
    size = sum(len(thumbnail.jpeg) for thumbnail in parts.thumbnails if thumbnail is not None)
    folder = pictures_folder(target) if size > INLINE_BYTES else None
    inline: list[str | None] = []
    if folder is None:
        inline = [t and base64.b64encode(t.jpeg).decode() for t in parts.thumbnails]
    else:
        named = enumerate(parts.thumbnails)
        fill_own_folder(folder, ((picture_name(row), made.jpeg) for row, made in named if made is not None), keep)
    manifest = {**parts.manifest, "pictures": None if folder is None else folder.name}
    html = render_page(manifest, parts.block, inline)
    replace_file(target, lambda stream: _write_all(stream, html.encode()))
    return folder


def render_page(manifest: dict[str, Any], block: str, pictures: list[str | None]) -> str:
    """The page's text."""
    static = resources.files("adapters.results.report").joinpath("static")
    script = "\n".join(static.joinpath(name).read_text("utf-8") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}\n}})();'
    style = static.joinpath("page.css").read_text("utf-8")
    template = resources.files("adapters.results.report").joinpath("templates", "report.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(template).render(
        manifest=Markup(safe_json(manifest)),
        pictures=Markup(safe_json(pictures)),
        block=block,
        script=Markup(script),
        style=Markup(style),
        policy="; ".join(
            (
                "default-src 'none'",
                f"script-src '{_sha256(script)}'",
                f"style-src '{_sha256(style)}'",
                "img-src 'self' data:",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        page=manifest,
    )


def picture_name(row: int) -> str:
    """File name of a row's thumbnail in the folder beside the page; it is independent of the picture's name."""
    return f"{row:06d}.jpg"


def _sha256(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _write_all(stream: IO[bytes], content: bytes) -> None:
    stream.write(content)
