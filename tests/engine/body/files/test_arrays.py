"""Archives of arrays: what NumPy writes is read bit for bit, and nothing else gets further than its headers."""

import io
import json
import struct
import tempfile
import tracemalloc
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine.body.files.arrays import arrays_digest, open_arrays, read_arrays, save_arrays

MOST = 1 << 20


class Failure(ValueError):
    """What every failure must become."""


ARRAYS = {
    "floats": np.arange(12, dtype=np.float32).reshape(3, 4),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big_endian": np.arange(3, dtype=">i4"),
    "names": np.array(["nose", "größe"]),
    "nothing": np.zeros((0, 3)),
    "flags": np.array([True, False]),
    "one": np.float64(3),
}


def _npz(path: Path, arrays: dict[str, Any], **header: Any) -> Path:
    with path.open("wb") as stream:
        save_arrays(stream, header, arrays)
    return path


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    header, arrays = read_arrays(_npz(tmp_path / "a.npz", ARRAYS, format="x"), Failure, MOST)
    assert header["format"] == "x"
    assert arrays.keys() == ARRAYS.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, ARRAYS[name])
        assert array.dtype == np.asarray(ARRAYS[name]).dtype.newbyteorder("=")


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(hnp.scalar_dtypes().filter(lambda kind: kind.kind in "biuf"), hnp.array_shapes(min_dims=0)))
def test_pieces_are_the_array(array: np.ndarray) -> None:
    stream = io.BytesIO()
    np.savez(stream, a=array, allow_pickle=False)
    with zipfile.ZipFile(stream) as archive:
        assert archive.namelist() == ["a.npy"]
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        file.write(stream.getvalue())
        file.flush()
        with open_arrays(file.name, Failure) as stored:
            assert stored.header("a").shape == array.shape
            np.testing.assert_array_equal(stored.read("a"), array)
            if array.ndim:
                np.testing.assert_array_equal(np.concatenate([*stored.pieces("a", 2)]), array)


def _member(path: Path, content: bytes, method: int = zipfile.ZIP_STORED, name: str = "a.npy") -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)


def _npy(header: str, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


def _described(descr: str = "'<f4'", order: str = "False", shape: str = "(2,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


HOSTILE: dict[str, bytes] = {
    "not an array": b"raw bytes",
    "cut header": b"\x93NUMPY\x01\x00\xff",
    "header of another version": b"\x93NUMPY\x09\x00" + b"\0" * 20,
    "endless header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31),
    "unbalanced header": _npy("{'descr': '<f4', 'fortran_order': ((((((", b"\0" * 8),
    "deep header": _npy("(" * 3000, b"\0" * 8),
    "pickled": _npy(_described("'|O'"), b"cos\nsystem\n"),
    "complex": _npy(_described("'<c8'"), b"\0" * 16),
    "structured": _npy(_described("[('x', '<f4')]"), b"\0" * 8),
    "void": _npy(_described("'|V8'"), b"\0" * 16),
    "absurd shape": _npy(_described(shape="(4611686018427387904, 4611686018427387904)")),
    "negative shape": _npy(_described(shape="(-2,)"), b"\0" * 8),
    "more than it holds": _npy(_described(shape="(8589934592,)"), b"\0" * 8),
    "less than it holds": _npy(_described(shape="(1,)"), b"\0" * 8),
    "many axes": _npy(_described(shape=f"({'1, ' * 60})"), b"\0" * 4),
    "no such width": _npy(_described("'<f3'"), b"\0" * 6),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_other_content_is_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a.npz"
    _member(path, HOSTILE[case])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Failure, match=r"^a\.npz: "), open_arrays(path, Failure, MOST) as stored:
            stored.read("a")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_methods_that_decompress_without_a_bound_are_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.npz"
    _member(path, _npy(_described(shape="(250000000,)"), bytes(1 << 20)), method)
    with pytest.raises(Failure, match="another method"), open_arrays(path, Failure) as stored:
        stored.header("a")


def test_an_array_that_would_fill_the_memory_is_not_decompressed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as stream:
        stream.write(_npy(_described(shape="(67108864,)")))
        for _ in range(256):
            stream.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    for most in (MOST, None):
        with pytest.raises(Failure, match=r"MiB|larger"), open_arrays(path, Failure, most) as stored:
            stored.read("a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_a_directory_of_too_many_members_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(Failure, match="more members"), open_arrays(path, Failure):
        pass


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for value in (1, 2):
            archive.writestr("a.npy", _npy(_described(shape="(1,)"), struct.pack("<f", value)))
    with pytest.raises(Failure, match="twice"), open_arrays(path, Failure):
        pass


def test_members_that_nobody_asks_for_may_be_anything(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", _npy(_described(), struct.pack("<2f", 1, 2)))
        archive.writestr("b.npy", HOSTILE["pickled"])
    with open_arrays(path, Failure, MOST) as stored:
        assert stored.read("a").tolist() == [1, 2]


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "9" * 10_000, '{"a": NaN} x'])
def test_headers_that_are_no_json_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, header=np.array(text))
    with pytest.raises(Failure, match=r"^a\.npz: "):
        read_arrays(path, Failure, MOST)


def test_every_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = _npz(tmp_path / "a.npz", ARRAYS, format="x")
    whole, expected = path.read_bytes(), read_arrays(path, Failure, MOST)
    noticed = 0
    for place in np.random.default_rng(0).integers(0, 8 * len(whole), 600).tolist():
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        try:
            header, arrays = read_arrays(path, Failure, MOST)
        except Failure:
            noticed += 1
            continue
        assert json.dumps(header) == json.dumps(expected[0])
        assert arrays_digest(arrays) == arrays_digest(expected[1])
    assert noticed > 400


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mutated_archives_fail_in_one_way(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.npz"
    whole = bytearray(_npz(path, ARRAYS, format="x").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    path.write_bytes(whole)
    with suppress(Failure):
        read_arrays(path, Failure, MOST)
