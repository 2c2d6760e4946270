"""Valid files of every kind that samebody reads, ways to damage them, and what reads them.

What may come of a damaged file: it is read, or ValueError. Every other exception is a fault of samebody's, and so are
an end of the process, an endless wait and memory that is out of proportion.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from adapters.bodies.smpl_files import load_smpl_file
from adapters.jobs.calibrate import read_labels
from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import slice_table
from adapters.keypoints.writers import write_keypoints
from adapters.results.evidence_table import open_evidence_writer, read_evidence
from adapters.results.report.scores import read_scores
from adapters.results.scores import arrow_columns
from adapters.results.writers import open_result_writer
from engine.body.body_file import load_body
from engine.evidence.calibration_file import default_calibration, load_calibration, save_calibration
from engine.evidence.shape_evidence import Evidence
from engine.shape import Reference, Shape
from tests.adapters.sample_keypoints import instance, meta_info, triples, write_json
from tests.fuzz.numbers import WILD_KINDS, compile_scoring
from tests.places import DEMO
from tests.smpl_samples import sample_model, write_chumpy_pkl, write_npz


@dataclass(frozen=True)
class Kind:
    """A kind of file: what writes bad ones, and what reads them."""

    name: str
    write: Callable[[Path, np.random.Generator], None]
    """ValueError where what it has drawn cannot be written."""
    read: Callable[[Path], object]
    compile: Callable[[], object] = lambda: None
    """What is done once in a process, before its time is taken."""


def kinds(folder: Path) -> list[Kind]:
    """Every kind: damaged from one valid file of it, which is made in ``folder``, or written with wild numbers."""
    readers: dict[str, Callable[[Path], object]] = {}

    def add(name: str, read: Callable[[Path], object]) -> Path:
        readers[name] = read
        return folder / name

    def keypoints(path: Path) -> object:
        return read_keypoints([path])

    video = [{"frame_id": k, "instances": [instance(k)]} for k in range(3)]
    write_json(add("mmpose.json", keypoints), {"meta_info": meta_info(), "instance_info": video})
    write_json(add("instances.json", keypoints), [instance(1), instance(2)])
    write_json(add("coco.json", keypoints), [{"image_id": k, "keypoints": triples(k)} for k in range(3)])
    table = slice_table(read_keypoints([DEMO / "dataset.parquet"]), 0, 4)
    for suffix in (".npz", ".parquet"):
        write_keypoints(add(f"table{suffix}", keypoints), table)
    _shape(None).save(add("rest.npz", Shape.load))
    _shape(Evidence(np.eye(10, dtype=np.float32), np.ones(10, np.float32))).save(add("free.npz", Shape.load))
    save_calibration(add("calibration.json", load_calibration), default_calibration())
    for suffix in (".parquet", ".csv", ".jsonl"):
        _write_result(add(f"scores{suffix}", read_scores))
    _write_evidence(add("evidence.parquet", read_evidence))
    add("labels.csv", read_labels).write_text("image,person,instance,group\na.jpg,p0,0,g0\nb.jpg,p1,0,g1\n")
    model = sample_model()
    write_chumpy_pkl(add("SMPL_NEUTRAL.pkl", lambda path: load_smpl_file(path, "neutral")), model)
    write_npz(add("SMPL_FEMALE.npz", lambda path: load_smpl_file(path, "female")), model)
    np.savez(
        add("body.npz", load_body), header=np.array('{"format": "samebody-body", "version": 1}'), v_template=np.ones(3)
    )
    return [
        *(Kind(name, partial(_write_damaged, (folder / name).read_bytes()), read) for name, read in readers.items()),
        *(Kind(name, write, read, compile_scoring) for name, (write, read) in WILD_KINDS.items()),
    ]


def _write_damaged(content: bytes, path: Path, draw: np.random.Generator) -> None:
    path.write_bytes(damaged(content, draw))


def damaged(content: bytes, draw: np.random.Generator) -> bytes:
    """The content with one to six changes of one sort."""
    made = bytearray(content)
    for _ in range(int(draw.integers(1, 7))):
        at = int(draw.integers(len(made) + 1))
        length = int(draw.integers(1, 9))
        match int(draw.integers(7)):
            case 0:
                made[at : at + 1] = bytes([int(draw.integers(256))])
            case 1:
                made[at : at + 1] = bytes([(made[at : at + 1] or b"\0")[0] ^ 1 << int(draw.integers(8))])
            case 2:
                del made[at : at + length]
            case 3:
                made[at:at] = draw.bytes(length)
            case 4:
                made[at : at + length] = _TELLING[int(draw.integers(len(_TELLING)))]
            case 5:
                source = int(draw.integers(len(made) + 1))
                made[at : at + length * 8] = made[source : source + length * 8]
            case _:
                if draw.integers(4) == 0:
                    del made[at:]
    return bytes(made)


_TELLING = (
    b"null", b"NaN", b"-Infinity", b"1e999", b"-1", b"[" * 3000, b"{" * 3000, b'"', b"\\", b"9" * 5000, b"true", b"[]",
    b"{}", b"\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x80", b"\xed\xa0\x80", b"\n", b",",
    b"'|O'", b"(-1,)",
)  # fmt: skip


def _shape(evidence: Evidence | None) -> Shape:
    references = (Reference("a.jpg", 0, "ok", 0.01), Reference("b.jpg", 0, "too_few_keypoints", None))
    return Shape(
        betas=np.linspace(-2, 2, 10, dtype=np.float32),
        body_name="Anny-24 (SMPL layout)",
        body_fingerprint="0123456789abcdef",
        schema="coco17",
        mode="rest" if evidence is None else "free",
        references=references,
        evidence=evidence,
        calibration=default_calibration(),
    )


def _write_result(path: Path) -> None:
    columns = arrow_columns("free")
    texts = {"image": ["a.jpg", "b.jpg"], "status": ["ok", "low_information"], "detail": [None, "x"]}
    values = {column.name: texts.get(column.name, [0, 1]) for column in columns}
    types = {c.name: pa.string() if c.name in texts else c.type for c in columns}
    table = pa.table({name: pa.array(values[name], types[name]) for name in columns.names})
    with open_result_writer(path, columns, {"samebody.mode": "free", "samebody.sources": json.dumps({})}) as writer:
        writer.write(table.cast(columns))


def _write_evidence(path: Path) -> None:
    with open_evidence_writer(path, 2, "0123456789abcdef", {}) as writer:
        kinds = [pa.string(), pa.int32(), pa.list_(pa.float32(), 3), pa.list_(pa.float32(), 2)]
        columns = [["a", "b"], [0, 0], [[1.0, 0.0, 1.0]] * 2, [[1.0, 1.0]] * 2]
        arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
        writer.write(pa.table(arrays, ["image", "instance", "precision", "information"]))
