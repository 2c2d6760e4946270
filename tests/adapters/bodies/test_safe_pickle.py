"""Reading pickles: everything official files hold is understood, everything that could act is refused by name."""

import builtins
import copyreg
import io
import os
import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from adapters.bodies import pickled_arrays
from adapters.bodies.pickled_arrays import array_from
from adapters.bodies.safe_pickle import SafePickleError, read_pickle
from tests.smpl_samples import python2_dumps, sample_model, write_chumpy_pkl

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def read(tmp_path: Path):
    def read_bytes(content: bytes) -> dict[str, Any]:
        path = tmp_path / "model.pkl"
        path.write_bytes(content)
        return read_pickle(path)

    return read_bytes


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(24.0).reshape(2, 3, 4),
        np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
        np.arange(6, dtype=">u4"),
        np.array([[True, False]]),
        np.zeros((0, 3)),
        np.float64(1.5),
        np.arange(10, dtype=np.int16)[::2],
    ],
    ids=["float64", "fortran", "big_endian", "bool", "empty", "scalar", "strided"],
)
def test_arrays_come_back_as_numpy_reads_them(read, array, protocol):
    result = array_from(read(pickle.dumps({"array": array}, protocol))["array"])
    np.testing.assert_array_equal(result, array, strict=not np.isscalar(array))
    assert result.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_byte_strings_of_python_2_hold_every_byte(read, protocol):
    array = np.frombuffer(bytes(range(256)), np.uint8)
    entries = read(python2_dumps({"array": array, "bs_type": "lrotmin"}, protocol))
    np.testing.assert_array_equal(array_from(entries["array"]), array)
    assert entries["bs_type"] == "lrotmin"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("layout", [csc_matrix, csr_matrix])
def test_sparse_matrices_become_dense(read, layout, protocol):
    dense = np.random.default_rng(0).random((5, 8)) * (np.random.default_rng(1).random((5, 8)) < 0.3)
    result = array_from(read(pickle.dumps({"matrix": layout(dense)}, protocol))["matrix"])
    np.testing.assert_array_equal(result, dense)


def test_entries_of_a_sparse_matrix_named_twice_add_up(read):
    twice = csc_matrix((np.array([1.0, 2.0]), np.array([1, 1]), np.array([0, 2])), shape=(3, 1))
    np.testing.assert_array_equal(array_from(read(pickle.dumps({"m": twice}))["m"]), [[0.0], [3.0], [0.0]])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_chumpy_expressions_are_evaluated(tmp_path, protocol):
    model = sample_model()
    entries = read_pickle(write_chumpy_pkl(tmp_path / "model.pkl", model, protocol))
    for name in ("v_template", "weights", "shapedirs"):
        np.testing.assert_array_equal(array_from(entries[name]), model[name])


def _chumpy(operation: str, **terms: Any) -> Any:
    """An object that pickles as chumpy's operation with these terms."""

    class Node:
        def __reduce_ex__(self, protocol):
            return _Global(f"chumpy.reordering\n{operation}"), (), terms

    return Node()


class _Global:
    """Pickles as a mention of ``module\\nname``, whether there is such a thing or not."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> None: ...


class _NamingPickler(pickle._Pickler):
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Global):
            self.write(b"c" + obj.name.encode() + b"\n")
        else:
            super().save(obj, save_persistent_id)


def _dumps(content: Any, protocol: int = 2) -> bytes:
    stream = io.BytesIO()
    _NamingPickler(stream, protocol).dump(content)
    return stream.getvalue()


def test_chumpy_reshape_and_transpose(read):
    array = np.arange(6.0)
    reshaped = _chumpy("Reshape", a=array, newshape=(2, 3))
    entries = read(_dumps({"reshaped": reshaped, "turned": _chumpy("transpose", a=reshaped, axes=None)}))
    np.testing.assert_array_equal(array_from(entries["reshaped"]), array.reshape(2, 3))
    np.testing.assert_array_equal(array_from(entries["turned"]), array.reshape(2, 3).T)


def test_parts_that_an_expression_shares_are_evaluated_once(read):
    """Each level names the one below twice: 2**15 evaluations, unless they are remembered."""
    node = np.zeros(3, np.int64)
    for _ in range(15):
        node = _chumpy("Select", a=node, idxs=node)
    evaluated = []
    with pytest.MonkeyPatch.context() as patch:
        plain = pickled_arrays._evaluate_once
        patch.setattr(pickled_arrays, "_evaluate_once", lambda *given: evaluated.append(1) or plain(*given))
        assert array_from(read(_dumps({"x": node}))["x"]).tolist() == [0, 0, 0]
    assert len(evaluated) == 16


def test_unknown_chumpy_operations_do_not_stop_the_file_from_being_read(read):
    entries = read(_dumps({"J": _chumpy("MatVecMult", a=np.eye(2)), "v_template": np.ones(3)}))
    np.testing.assert_array_equal(array_from(entries["v_template"]), np.ones(3))
    with pytest.raises(SafePickleError, match=r"only chumpy could compute \(chumpy.reordering.MatVecMult\)"):
        array_from(entries["J"])


class _Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts


def _hostile(mark: Path) -> dict[str, bytes]:
    """Pickles that would make the file ``mark`` if anything in them were carried out."""
    command = f"touch {mark}"
    write = f"open({str(mark)!r}, 'w')"
    return {
        "os.system": pickle.dumps({"v_template": _Call(os.system, command)}),
        "os.system, text protocol": pickle.dumps({"v_template": _Call(os.system, command)}, 0),
        "builtins.eval": pickle.dumps({"v_template": _Call(eval, write)}),
        "builtins.exec": pickle.dumps({"v_template": _Call(exec, write)}),
        "builtins.getattr": _dumps({"v_template": _Call(getattr, _Global("os\nsystem"), "__call__")}),
        "open": pickle.dumps({"v_template": _Call(builtins.open, str(mark), "w")}),
        "subprocess.Popen": _dumps({"v_template": [_Global("subprocess\nPopen")]}),
        "numpy.load": _dumps({"v_template": [_Global("numpy\nload")]}),
        "numpy runstring": _dumps({"v_template": [_Global("numpy.testing._private.utils\nrunstring")]}),
        "numpy.core.multiarray.fromfile": _dumps({"v_template": [_Global("numpy.core.multiarray\nfromfile")]}),
        "scipy.sparse.load_npz": _dumps({"v_template": [_Global("scipy.sparse\nload_npz")]}),
        "copyreg._reconstructor of a foreign class": _dumps(
            {"v_template": _Call(copyreg._reconstructor, _Global("subprocess\nPopen"), object, None)}
        ),
        "a name with a dot in it": _dumps({"v_template": [_Global("numpy\nndarray.tofile")]}),
        "a module beside chumpy": _dumps({"v_template": [_Global("chumpy_evil.ch\nCh")]}),
        "not called but set as state": pickle.dumps(
            {"v_template": _Call(np.dtype, "f8", state=_Call(os.system, command))}
        ),
        "inside an allowed array": pickle.dumps(
            {"v_template": _Call(np.ndarray.__reduce__(np.ones(1))[0], np.ndarray, (0,), _Call(os.system, command))}
        ),
        "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c"
        + bytes([len(command)])
        + command.encode()
        + b"\x85R.",
        "inst": b"(S" + repr(command).encode() + b"\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS" + repr(command).encode() + b"\no.",
        "extension registry": b"\x80\x02\x82\x01)R.",
        "persistent id": b"P" + command.encode() + b"\n.",
        "newobj_ex": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93)}\x92.",
    }


@pytest.mark.parametrize("name", _hostile(Path("mark")))
def test_hostile_pickles_are_refused_and_nothing_is_carried_out(tmp_path, read, name):
    mark = tmp_path / "mark"
    with pytest.raises(SafePickleError, match="refused"):
        read(_hostile(mark)[name])
    assert not mark.exists()


def test_the_hostile_samples_are_hostile(tmp_path):
    mark = tmp_path / "mark"
    pickle.loads(_hostile(mark)["os.system"])
    assert mark.exists()


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        (_dumps({"a": _Call(os.system, "true")}), "'posix.system'"),
        (_dumps({"a": [_Global("numpy\nload")]}), "'numpy.load'"),
        (b"\x80\x04\x8c\x03\x1b[2\x8c\x04a\nbc\x93.", r"'\\x1b\[2.a\\nbc'"),
        (b"Pthing\n.", "PERSID"),
    ],
)
def test_the_message_says_what_was_refused_and_is_one_printable_line(read, content, refused):
    with pytest.raises(SafePickleError, match=refused) as caught:
        read(content)
    assert str(caught.value).isprintable()


class TestStateAbuse:
    """BUILD calls __setstate__ or writes attributes of whatever is on the stack; here it only fills records."""

    def test_state_of_a_name(self, read):
        # Setting attributes on the ndarray class itself: (None, {"tofile": ...}) as the state of a global.
        with pytest.raises(SafePickleError, match=r"refused to set the state of numpy\.ndarray"):
            read(b"\x80\x02cnumpy\nndarray\nN}U\x06tofileK\x01s\x86b.")

    def test_state_of_a_value(self, read):
        with pytest.raises(SafePickleError, match="refused to set the state of dict"):
            read(b"\x80\x02}}b.")

    def test_a_call_of_a_value(self, read):
        with pytest.raises(SafePickleError, match="refused a call of str"):
            read(b"\x80\x02U\x02os)R.")

    def test_a_call_of_a_record(self, read):
        with pytest.raises(SafePickleError, match="refused a call of Made"):
            read(b"\x80\x02cnumpy\ndtype\nU\x02f8\x85R)R.")

    def test_state_that_is_no_array(self, read):
        entries = read(b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n)R}U\x0c__setstate__Nsbs.")
        with pytest.raises(SafePickleError):
            array_from(entries["a"])


def _array_pickle(shape: bytes, dtype: bytes = b"U\x02f8", data: bytes = b"U\x08" + bytes(8)) -> bytes:
    """{'a': array} in protocol 2, its parts given as instructions."""
    made_dtype = b"cnumpy\ndtype\n" + dtype + b"\x85R"
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return b"\x80\x02}U\x01a" + reconstruct + b"(K\x01" + shape + made_dtype + b"\x89" + data + b"tbs."


def test_the_array_builder_of_these_tests_builds_arrays(read):
    assert array_from(read(_array_pickle(b"K\x01\x85"))["a"]).tolist() == [0.0]


@pytest.mark.parametrize(
    "content",
    {
        "more elements than bytes": _array_pickle(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"),
        "negative size": _array_pickle(b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86"),
        "a size that is a tuple": _array_pickle(b"K\x01\x85J\xff\xff\xff\x7f\x86"),
        "a size of a thousand digits": _array_pickle(b"\x8b" + struct.pack("<I", 400) + b"\x7f" * 400 + b"\x85"),
        "an array of objects": _array_pickle(b"K\x01\x85", b"U\x02O8", b"]Na"),
        "a structured array": _array_pickle(b"K\x01\x85", b"U\x02V8"),
        "content that is no bytes": _array_pickle(b"K\x01\x85", data=b"N"),
        "no state": b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n)Rs.",
        "a sparse matrix larger than memory": _dumps(
            {"a": _Call(copyreg._reconstructor, csc_matrix, object, None, state={"_shape": (10**9, 10**9)})}
        ),
        "a sparse matrix with entries outside": _dumps(
            {
                "a": _Call(
                    copyreg._reconstructor,
                    csc_matrix,
                    object,
                    None,
                    state={"_shape": (2, 1), "data": np.ones(1), "indices": np.array([7]), "indptr": np.array([0, 1])},
                )
            }
        ),
        "an object": _dumps({"a": _Call(copyreg._reconstructor, object, object, None)}),
        "an encoding that runs a codec": _array_pickle(
            b"K\x01\x85", data=b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R"
        ),
    }.items(),
    ids=lambda case: case[0],
)
def test_arrays_that_contradict_themselves_are_refused(read, content):
    entries = read(content[1])
    with pytest.raises(SafePickleError):
        array_from(entries["a"])


def _endless() -> bytes:
    """A Select of itself."""
    return b"\x80\x02}U\x01acchumpy.reordering\nSelect\n)\x81q\x01}(U\x01ah\x01U\x04idxs]ubs."


def _doubling_lists(levels: int = 60) -> bytes:
    """[[...], [...]] to a depth of ``levels``, every list twice in the next: 2**levels elements in a few bytes."""
    program = b"\x80\x02}U\x01a]K\x01aK\x01a"
    for level in range(levels):
        program += b"q" + bytes([level]) + b"0](h" + bytes([level]) + b"h" + bytes([level]) + b"e"
    return program + b"s."


@pytest.mark.parametrize("content", [_endless(), _doubling_lists()], ids=["endless", "doubling lists"])
def test_expressions_without_end_end(read, content):
    entries = read(content)
    with pytest.raises(SafePickleError):
        array_from(entries["a"])


def test_tables_with_keys_that_take_for_ever_to_hash_are_refused(read):
    # ((..., ...), (..., ...)) with 2**60 leaves as a key.
    program = b"\x80\x02}K\x01"
    for level in range(60):
        program += b"q" + bytes([level]) + b"h" + bytes([level]) + b"\x86"
    with pytest.raises(SafePickleError, match="keys are not names"):
        read(program + b"K\x01s.")


@pytest.mark.parametrize(
    "content",
    {
        "memo entry 4,294,967,295": b"\x80\x02}r\xff\xff\xff\xff.",
        "text of 4 GB": b"\x80\x02X\xff\xff\xff\xff",
        "bytes of 2**62": b"\x80\x04\x8e" + struct.pack("<Q", 2**62),
        "bytearray of 2**62": b"\x80\x05\x96" + struct.pack("<Q", 2**62),
        "integer of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f",
        "frame of 2**62": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"}.",
        "marks": b"(" * 20_000 + b"}.",
        "tuples in tuples": b"\x80\x02)" + b"\x85" * 20_000 + b".",
    }.items(),
    ids=lambda case: case[0],
)
def test_memory_is_made_for_what_is_there_not_for_what_is_announced(read, content):
    tracemalloc.start()
    try:
        # Whether such a program is broken depends on the instruction; that it stays small does not.
        try:
            read(content[1])
        except SafePickleError:
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize("protocol", [0, 2])
def test_every_truncation_is_an_error(read, protocol):
    content = pickle.dumps({"a": np.arange(2.0), "m": csc_matrix(np.eye(1))}, protocol)
    for length in range(len(content)):
        with pytest.raises(SafePickleError):
            read(content[:length])


def test_damaged_bytes_give_data_or_an_error_and_nothing_else(read):
    content = bytearray(pickle.dumps({"a": np.arange(5.0), "m": csc_matrix(np.eye(2))}, 2))
    rng = np.random.default_rng(0)
    for _ in range(400):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(0, 256)
        try:
            for value in read(bytes(damaged)).values():
                array_from(value)
        except SafePickleError:
            pass


def test_files_that_are_not_a_table_of_arrays(read):
    with pytest.raises(SafePickleError, match="holds list, expected named arrays"):
        read(pickle.dumps([1, 2]))
    with pytest.raises(SafePickleError, match="str is no array of numbers"):
        array_from("lrotmin")
