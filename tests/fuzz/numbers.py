"""Well-formed files with impossible numbers, and what scores come of them.

Damaged bytes are mostly noticed by a digest. These files have the right digests, so their numbers must be refused when
they are read, or give scores: a row called ok without its numbers is a fault.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from adapters.jobs.score_each import score_each
from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import KeypointTable, slice_table
from adapters.keypoints.writers import write_keypoints
from adapters.results.evidence_table import read_evidence
from engine.body.embedded import load_embedded_body
from engine.body.files import replace_file
from engine.body.files.arrays import save_arrays
from engine.body.model import BodyModel
from engine.evidence.calibration import Calibration
from engine.evidence.calibration_file import default_calibration, load_calibration, save_calibration
from engine.evidence.shape_evidence import Evidence
from engine.evidence.stages import PictureEvidence, compare_evidence
from engine.scores import SCORED
from engine.shape import FORMAT, VERSION, Shape
from tests.places import DEMO

BETAS = 10
WILD = (
    np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30, 1e13, 1e9, -1e9, 1e6, 25.0, -25.0, -1.0, 0.0, 1e-30, 1e-45, 1e-3, 1.0,
)  # fmt: skip


@cache
def body() -> BodyModel:
    """The embedded body."""
    return load_embedded_body()


@cache
def pictures() -> KeypointTable:
    """Some pictures of the demo."""
    return slice_table(read_keypoints([DEMO / "dataset.parquet"]), 0, 4)


def sample_shape(evidence: bool) -> Shape:
    """A shape of the embedded body."""
    return Shape(
        betas=np.linspace(-1, 1, BETAS, dtype=np.float32),
        body_name=body().name,
        body_fingerprint=body().fingerprint,
        schema=pictures().schema.name,
        mode="free" if evidence else "rest",
        evidence=Evidence(np.eye(BETAS, dtype=np.float32), np.ones(BETAS, np.float32)) if evidence else None,
    )


def score_in_rest(table: KeypointTable, shape: Shape) -> None:
    """Score in rest pose.

    Raises:
        AssertionError: a row is called ok and has no numbers.
    """
    (scores,) = score_each(body(), table.schema, [table], [shape])
    _check(scores.status, scores.numbers)


def compare(evidence: Evidence, shape: Shape, calibration: Calibration) -> None:
    """Compare pictures of this evidence with a shape.

    Raises:
        AssertionError: as ``score_in_rest``.
    """
    count = len(evidence.information)
    codes = np.zeros(count, np.int8)
    found = compare_evidence(
        PictureEvidence(evidence, codes, codes, np.ones(count, bool)), [shape], calibration
    )._asdict()
    columns = ("same_body_probability", "log_bayes_factor", "information_bits")
    _check(found["status"], {name: found[name] for name in columns})


def _check(status: np.ndarray, numbers: Any) -> None:
    called_ok = np.isin(status, [int(one) for one in SCORED])
    for name, values in numbers.items():
        assert np.isfinite(values[called_ok]).all(), f"a row is called ok, and its {name} is not a number"


def some_evidence(count: int = 3) -> Evidence:
    """Raw evidence of pictures."""
    factors = np.random.default_rng(0).standard_normal((count, BETAS, BETAS)).astype(np.float32)
    return Evidence(factors @ factors.transpose(0, 2, 1), np.ones((count, BETAS), np.float32))


def made_wild(array: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The array with one to three of its numbers replaced; now and then all of them by one."""
    made = np.array(array, np.float32)
    if draw.integers(8) == 0:
        made[...] = WILD[draw.integers(len(WILD))]
    for _ in range(int(draw.integers(1, 4))):
        made.reshape(-1)[draw.integers(made.size)] = WILD[draw.integers(len(WILD))]
    return made


def write_wild_keypoints(path: Path, draw: np.random.Generator) -> None:
    table = pictures()
    if draw.integers(2):
        table = replace(table, keypoints=made_wild(table.keypoints, draw))
    if draw.integers(2):
        table = replace(table, confidence=made_wild(table.confidence, draw))
    if draw.integers(4) == 0:
        numbers = table.instance.copy()
        numbers[draw.integers(len(numbers))] = draw.choice([-1, -5, 2**31 - 1, 0, 1])
        table = replace(table, instance=numbers)
    write_keypoints(path, table)


def write_wild_shape(path: Path, draw: np.random.Generator, evidence: bool) -> None:
    shape = sample_shape(evidence)
    arrays = {"betas": shape.betas} | ({} if shape.evidence is None else shape.evidence._asdict())
    chosen = sorted(arrays)[draw.integers(len(arrays))]
    arrays[chosen] = made_wild(arrays[chosen], draw)
    if chosen == "precision" and draw.integers(2):
        arrays[chosen] = np.maximum(arrays[chosen], arrays[chosen].T)
    header = {"format": FORMAT, "version": VERSION, **shape.record()}
    replace_file(path, lambda stream: save_arrays(stream, header, arrays))


def write_wild_calibration(path: Path, draw: np.random.Generator) -> None:
    save_calibration(path, default_calibration())
    record = json.loads(path.read_text())
    record.pop("digest")
    for _ in range(int(draw.integers(1, 3))):
        _replace_number(record, draw)
    path.write_text(json.dumps(record))


def _replace_number(record: Any, draw: np.random.Generator) -> None:
    parent: Any = None
    key: Any = None
    node = record
    while isinstance(node, list | dict) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        parent, key = node, keys[draw.integers(len(keys))]
        node = parent[key]
    parent[key] = WILD[draw.integers(len(WILD))]


def read_and_score_keypoints(path: Path) -> None:
    table = read_keypoints([path])
    if table.schema == pictures().schema:
        score_in_rest(table, sample_shape(False))


def read_and_score_shape(path: Path) -> None:
    shape = Shape.load(path)
    if shape.evidence is None:
        score_in_rest(pictures(), shape)
    else:
        compare(some_evidence(), shape, default_calibration())


def read_and_use_calibration(path: Path) -> None:
    compare(some_evidence(), sample_shape(True), load_calibration(path))


def read_and_compare_evidence(path: Path) -> None:
    stored = read_evidence(path)
    if stored.information.shape[1] == BETAS and len(stored):
        compare(stored.evidence(), sample_shape(True), default_calibration())


def compile_scoring() -> None:
    """Score something sound."""
    score_in_rest(pictures(), sample_shape(False))
    compare(some_evidence(), sample_shape(True), default_calibration())


WILD_KINDS: dict[str, tuple[Callable[[Path, np.random.Generator], None], Callable[[Path], None]]] = {
    "wild_keypoints.npz": (write_wild_keypoints, read_and_score_keypoints),
    "wild_keypoints.parquet": (write_wild_keypoints, read_and_score_keypoints),
    "wild_rest.npz": (lambda path, draw: write_wild_shape(path, draw, False), read_and_score_shape),
    "wild_free.npz": (lambda path, draw: write_wild_shape(path, draw, True), read_and_score_shape),
    "wild_calibration.json": (write_wild_calibration, read_and_use_calibration),
}
