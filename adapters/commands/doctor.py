"""``samebody doctor``: what is installed, what is missing, and the command that fixes it."""

import importlib
import platform
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata

import click

from adapters.commands.display import print_table
from adapters.commands.help_text import Command
from adapters.commands.installed import adapted
from engine import VERSION


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    state: str
    remedy: str = ""
    """The command that fixes it, if something is missing."""
    broken: bool = False
    """True if samebody's main job cannot run; a missing extra does not count."""


_REQUIRED = (
    "jax",
    "jaxlib",
    "optax",
    "equinox",
    "jaxtyping",
    "numpy",
    "pyarrow",
    "platformdirs",
    "filelock",
    "msgspec",
    "click",
    "rich",
)
LINE_WIDTH = 80
_BYTES_PER_PICTURE = 17 * 3 * 4
_EXTRAS = {
    "report": ("jinja2", "PIL", "imagehash"),
    "plot": ("matplotlib",),
    "api": ("fastapi", "uvicorn"),
    "db": ("sqlalchemy", "alembic"),
    "postgres": ("psycopg",),
    "ray": ("ray",),
    "smplx": ("smplx", "torch"),
}
"""Extras of detectors have separate lines."""
_DISTRIBUTIONS = {"PIL": "pillow", "imagehash": "ImageHash"}
"""Names of packages that differ from the names of their imports."""


def _package(name: str, remedy: str, required: bool) -> Finding:
    try:
        importlib.import_module(name)
    except ImportError as error:
        state = "missing" if isinstance(error, ModuleNotFoundError) and error.name == name else f"broken: {error}"
        return Finding(name, state, remedy, broken=required)
    return Finding(name, metadata.version(_DISTRIBUTIONS.get(name, name)))


def _extra(extra: str, names: tuple[str, ...]) -> Finding:
    """One line for an extra: its packages with their versions, or those that are missing."""
    found = [_package(name, "", required=False) for name in names]
    lacking = [
        f"{one.subject} {one.state}" for one in found if one.state == "missing" or one.state.startswith("broken")
    ]
    if lacking:
        return Finding(f"extra {extra}", ", ".join(lacking), f"pip install 'samebody[{extra}]'")
    return Finding(f"extra {extra}", ", ".join(f"{one.subject} {one.state}" for one in found))


def _attempt(subject: str, check: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(subject, check())
    except Exception as error:  # any error of the installation is a result of this command
        return Finding(subject, f"{type(error).__name__}: {error}", remedy, broken=True)


def _embedded_body() -> str:
    from engine.body.embedded import load_embedded_body
    from engine.body.keypoint_body import reduce_body
    from engine.body.schemas import SCHEMAS

    body = load_embedded_body()
    covered = ", ".join(f"{name} {len(reduce_body(body, schema).schema)}" for name, schema in SCHEMAS.items())
    return f"{body.name}, {body.v_template.shape[0]:,} vertices; keypoints: {covered}"


def _calibration() -> Finding:
    """The shipped calibration and the kind of its data; no profile of a real detector's data may be shipped."""
    from engine.evidence.calibration_file import default_calibration

    shipped = default_calibration()
    state = "made of real pictures" if shipped.of_a_detector else "made of synthetic people: uncalibrated for detectors"
    remedy = "" if shipped.of_a_detector else "samebody calibrate PICTURES --out calibration.json"
    return Finding("calibration", f"shipped, {state}", remedy)


def _devices() -> str:
    from engine.batching import used_devices

    kinds = Counter(f"{device.platform} {device.device_kind}" for device in used_devices())
    return ", ".join(f"{count} × {kind}" for kind, count in kinds.items())


def _tiles() -> str:
    """The tiles that ``engine.batching`` will use for a file of COCO-17 keypoints."""
    from engine.batching import accelerator_bytes, tile_rows, used_devices, worker_count
    from engine.posed.search import TILE_SIZE as FREE_TILE_SIZE
    from engine.rest.tile_scorer import TILE_SIZE as REST_TILE_SIZE

    device = used_devices()[0]
    memory = accelerator_bytes(device)
    sizes = (("free", FREE_TILE_SIZE), ("rest", REST_TILE_SIZE))
    rows = {mode: tile_rows(size, _BYTES_PER_PICTURE, memory) for mode, size in sizes}
    together = f"{worker_count()} at once" if memory is None and len(used_devices()) == 1 else "one on each device"
    return f"{', '.join(f'{count:,} pictures with --pose {mode}' for mode, count in rows.items())}; {together}"


def _compile_cache() -> str:
    from adapters.jobs.compile_cache import FOLDER_VARIABLE, cache_folder

    folder = cache_folder()
    if folder is None:
        return f"off ({FOLDER_VARIABLE} is empty)"
    count = sum(1 for _ in folder.glob("*-cache")) if folder.is_dir() else 0
    return f"{count} compiled programs kept"


def examine() -> list[Finding]:
    """Everything that samebody needs, in the order in which it should be mended."""
    from adapters.jobs.compile_cache import FOLDER_VARIABLE
    from adapters.keypoints.detectors.installed import detector_states

    reinstall = "pip install --force-reinstall samebody"
    return [
        Finding("samebody", VERSION),
        Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *(_package(name, f"pip install {name}", required=True) for name in _REQUIRED),
        _attempt("devices", _devices, "pip install --upgrade jax jaxlib"),
        _attempt("tiles", _tiles, "pip install --upgrade jax jaxlib"),
        _attempt("compile cache", _compile_cache, f"set {FOLDER_VARIABLE} to a folder that you can write"),
        _attempt("embedded body", _embedded_body, reinstall),
        _calibration(),
        *(_extra(extra, names) for extra, names in _EXTRAS.items()),
        *(Finding(f"detector {name}", state, remedy) for name, state, remedy in detector_states()),
    ]


def folded_lines(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """What was found in lines of ``LINE_WIDTH``, for a pipe; states and commands are longer than one."""
    column = max(len(subject) for subject, _, _ in rows) + 2
    lines = []
    for subject, state, remedy in rows:
        text = f"{subject.ljust(column)}{state}"
        lines += textwrap.wrap(text, LINE_WIDTH, subsequent_indent=" " * column, break_long_words=False)
        # A command is copied, so it is one line.
        lines += [f"{' ' * column}do: {remedy}"] if remedy else []
    return lines


@click.command(
    cls=Command,
    examples="""
    samebody doctor
    """,
)
def doctor() -> int:
    """Show what is installed, what is missing, and the command that fixes it.

    The exit status is 1 if the main job cannot run; a missing extra is not an error.
    """
    findings = examine()
    rows = [(f.subject, adapted(f.state), adapted(f.remedy)) for f in findings]
    if sys.stdout.isatty():
        print_table("samebody doctor", ("what", "state", "what to do"), rows)
    else:
        click.echo("\n".join(folded_lines(rows)))
    return 1 if any(finding.broken for finding in findings) else 0
