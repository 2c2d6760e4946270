"""Mutations of valid files of every form of keypoints: rows or one clear line, no traceback, no hang, little memory.

JSON is mutated as text and as a structure. The everyday run takes a few mutations of each form;
``python -m tests.fuzz.test_forms --mutations 10000`` takes more and prints counts and the peak of memory.
"""

import json
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from adapters.keypoints.plausibility import measure
from adapters.keypoints.readers import ReadingOptions, open_keypoints
from benchmarks.keypoint_forms import FORMS, SIZE, KeypointForm, make_people

MOST_BYTES = 1 << 30
MOST_SECONDS = 5.0
_TOKENS = (
    b"null", b"[]", b"{}", b'""', b"-1", b"1e400", b"NaN", b"Infinity", b"true", b"9" * 400, b"[[", b"]]", b"\\ud800",
    b"\x00", b"\xff\xfe", b",,", b'"keypoints"', b'"image_id"', b'"frame_id"', b"[" * 2000, b"\n{", b"0,0,0",
)  # fmt: skip


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """A file with a few changes: bytes, pieces cut, doubled or moved, tokens that parsers dislike, an early end."""
    data = bytearray(content)
    for _ in range(random.integers(1, 5)):
        place = int(random.integers(len(data) + 1))
        end = min(place + int(random.integers(1, 200)), len(data))
        kind = random.integers(7)
        if kind == 0 and place < len(data):
            data[place] = random.integers(256)
        elif kind == 1:
            del data[place:end]
        elif kind == 2:
            data[place:place] = data[place:end]
        elif kind == 3:
            data[place:end] = _TOKENS[random.integers(len(_TOKENS))]
        elif kind == 4:
            data[place:place] = _TOKENS[random.integers(len(_TOKENS))]
        elif kind == 5:
            piece = bytes(data[place:end])
            del data[place:end]
            other = int(random.integers(len(data) + 1))
            data[other:other] = piece
        elif random.random() < 0.3:
            del data[place:]
    return bytes(data)


_VALUES: tuple[Any, ...] = (
    None, [], {}, "", "x", True, 0, -1, 1e308, 2**63, 2**70, [[]], [None], {"x": 1}, [1, 2], [[1, 2, 3]], [[1, 2]] * 17,
    [0.5] * 51, "person", 1.5, -0.0, [{}], {"keypoints": []}, "\u0000", "9" * 40,
)  # fmt: skip


def mutated_structure(content: bytes, random: np.random.Generator) -> bytes:
    """JSON with a few values replaced, removed, doubled or renamed."""
    value = json.loads(content)
    for _ in range(random.integers(1, 4)):
        parent: Any = None
        node = value
        depth = random.integers(1, 8)
        while depth and isinstance(node, (list, dict)) and node:
            parent, keys = node, list(node) if isinstance(node, dict) else list(range(len(node)))
            key = keys[random.integers(len(keys))]
            node = parent[key]
            depth -= 1
        if parent is None:
            continue
        kind = random.integers(5)
        if kind < 2:
            parent[key] = _VALUES[random.integers(len(_VALUES))]
        elif kind == 2:
            del parent[key]
        elif kind == 3 and isinstance(parent, list):
            parent.insert(key, node)
        elif isinstance(parent, dict):
            parent[str(_VALUES[random.integers(len(_VALUES))])] = parent.pop(key)
    return json.dumps(value).encode()


def read_mutations(form: KeypointForm, folder: Path, count: int, seed: int = 0) -> Counter[str]:
    """Read so many mutations; what became of them.

    Raises:
        AssertionError: a rule of the module is broken; the file is left where the message says.
    """
    random = np.random.default_rng(seed)
    content = form.write(make_people(3, form.schema), form.schema)
    path = folder / f"mutation{form.suffix}"
    outcomes: Counter[str] = Counter()
    for number in range(count):
        structure = form.suffix == ".json" and number % 2
        path.write_bytes((mutated_structure if structure else mutated)(content, random))
        start = time.process_time()
        try:
            _read(path, form, outcomes)
        except ValueError as error:
            message = str(error)
            assert str(path) in message, f"{form.name}, mutation {number}: {message!r}"
            assert "\n" not in message, f"{form.name}, mutation {number}: {message!r}"
            outcomes["refused"] += 1
        except Exception as error:
            raise AssertionError(
                f"{form.name}, mutation {number} of seed {seed}: {type(error).__name__}: {error}"
            ) from error
        seconds = time.process_time() - start
        assert seconds < MOST_SECONDS, f"{form.name}, mutation {number} of seed {seed} takes {seconds:.1f} s"
    path.unlink(missing_ok=True)
    assert not list(folder.iterdir()), "a file is left"
    return outcomes


def _read(path: Path, form: KeypointForm, outcomes: Counter[str]) -> None:
    options = ReadingOptions(image_size=SIZE if form.sized else None)
    for table in open_keypoints([path], options=options):
        assert np.isfinite(table.keypoints).all()
        assert ((table.confidence >= 0) & (table.confidence <= 1)).all()
        measure(table)
        outcomes["rows"] += len(table)
        outcomes["bad rows"] += int(np.sum(table.status != 0))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_mutations_give_rows_or_one_clear_line(tmp_path: Path, form: KeypointForm) -> None:
    outcomes = read_mutations(form, tmp_path, 60)
    assert outcomes["refused"] + outcomes["rows"] > 0


@click.command()
@click.option("--mutations", default=10_000, show_default=True, help="Of each form.")
@click.option("--seed", default=0, show_default=True)
def main(mutations: int, seed: int) -> None:
    """Read mutations of valid files of every form."""
    for form in FORMS:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            outcomes = read_mutations(form, Path(folder), mutations, seed)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        assert peak < MOST_BYTES, f"{form.name}: {peak >> 20} MB"
        counts = ", ".join(f"{count:,} {what}" for what, count in sorted(outcomes.items()))
        click.echo(f"{form.name}: {counts}; {time.perf_counter() - start:.0f} s; peak {peak >> 20} MB")


if __name__ == "__main__":
    sys.exit(main())
