"""How fast is each form of keypoint file read? ``python -m benchmarks.reading [--rows N]``.

Rows per second of processor time, so that other work on the machine does not count. One process reads a file of every
form from the disk's cache into tables, after one reading to warm up. For JSON the speed at which msgspec and the
standard library decode the same text alone is beside it.
"""

import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import msgspec

from adapters.commands.display import print_table
from adapters.keypoints.readers import ReadingOptions, open_keypoints
from benchmarks.keypoint_forms import FORMS, SIZE, KeypointForm, make_people

_ENOUGH = 20_000
_REPEATS = 5


def _rows_per_second(rows: int, work: Callable[[], object]) -> float:
    """The best of several, since other programs share the processor's caches."""
    seconds = []
    for _ in range(_REPEATS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return rows / max(min(seconds), 1e-9)


def _measure(form: KeypointForm, folder: Path, rows: int) -> tuple[str, ...]:
    path = folder / f"file{form.suffix}"
    path.write_bytes(form.write(make_people(rows, form.schema), form.schema))
    source = open_keypoints([path], options=ReadingOptions(image_size=SIZE))

    def read() -> None:
        assert sum(len(table) for table in source) == rows

    speed = _rows_per_second(rows, read)
    alone: tuple[str, ...] = ("", "")
    if form.suffix == ".json":
        text = path.read_bytes()
        decoders: tuple[Callable[[bytes], object], ...] = (msgspec.json.decode, json.loads)
        speeds = [_rows_per_second(rows, partial(decode, text)) for decode in decoders]
        alone = tuple(f"{value:,.0f}" for value in speeds)
        enough = speed >= _ENOUGH or min(speeds) < _ENOUGH
    else:
        enough = speed >= _ENOUGH
    size = path.stat().st_size / rows
    return form.name, str(len(form.schema)), f"{size:,.0f}", f"{speed:,.0f}", *alone, "yes" if enough else "no"


@click.command()
@click.option("--rows", default=1_500, show_default=True, type=click.IntRange(min=1))
def main(rows: int) -> None:
    """Read a file of each form; large schemas have fewer rows, so that all files are of a size."""
    with tempfile.TemporaryDirectory() as folder:
        table = [_measure(form, Path(folder), max(rows * 17 // len(form.schema), 1)) for form in FORMS]
    names = ("form", "keypoints", "bytes/row", "rows/s", "msgspec alone", "json alone", "enough")
    print_table("Reading keypoint files, one process", names, table)


if __name__ == "__main__":
    main()
