"""Reading arrays out of a pickle without running any code of it.

A pickle is a program for a small stack machine, and some of its instructions import any function and call it. The
machine here (``_run``) imports nothing and calls nothing: a name becomes an inert ``_Name``, a call becomes an inert
``_Made`` that remembers the name, the arguments and the state. What the records mean is worked out afterwards, only for
the arrays that are asked for, from the layouts in which numpy, scipy.sparse and chumpy write themselves. Names outside
``_ALLOWED`` and instructions that the machine does not know are refused by name.

Memory stays in proportion to the file: nothing is copied before ``array_from`` asks for it, an array must be as long as
its bytes, and room is made for what is in the file, not for what the file announces.

Source: the instruction set as documented in Python's pickletools; chumpy's modules ch and reordering.
"""

import ast
import io
import math
import os
import pickletools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LARGEST_FILE_BYTES = 2**30
"""The official SMPL files with 300 shape components are a quarter of this."""
_MOST_DENSE_ENTRIES = 2**22
_DEEPEST_EXPRESSION = 16
_MOST_PARTS = 64

_Known = dict[int, np.ndarray]
"""Evaluated parts of one expression, by identity; the expression keeps them alive."""

_NUMPY_CORE = ("numpy.core.", "numpy._core.")
_SPARSE = {
    (f"scipy.sparse.{module}", f"{layout}_matrix"): layout
    for layout in ("csc", "csr")
    for module in (layout, f"_{layout}")
}
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"{core}multiarray", name) for core in _NUMPY_CORE for name in ("_reconstruct", "scalar")),
    *((f"{core}numeric", "_frombuffer") for core in _NUMPY_CORE),
    *_SPARSE,
    ("_codecs", "encode"),
    *((module, "_reconstructor") for module in ("copyreg", "copy_reg")),
    *((module, name) for module in ("builtins", "__builtin__") for name in ("object", "set", "bytes")),
}
_CHUMPY = re.compile(r"chumpy(\.\w+)*")
_PLAIN_DTYPE = re.compile(r"[biuf]\d{1,2}")


class SafePickleError(ValueError):
    """A pickle is damaged, or holds something that is not data; the message says what."""


@dataclass(frozen=True)
class _Name:
    """What would have been imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class _Made:
    """What would have been the result of calling ``name`` with ``arguments`` and then setting ``state``."""

    name: _Name
    arguments: tuple[Any, ...]
    state: Any = None


_INSTRUCTIONS = {instruction.code.encode("latin1"): instruction for instruction in pickletools.opcodes}
_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
}  # fmt: skip
"""Instructions whose argument is the value itself; a byte string of Python 2 is text with a character per byte."""


def _run(stream: io.BytesIO) -> Any:
    """What the program in ``stream`` leaves on the stack: plain values, and records of everything else."""
    stack: list[Any] = []
    suspended: list[list[Any]] = []
    memo: dict[int, Any] = {}
    while code := stream.read(1):
        name, argument = _next_instruction(code, stream)
        # What such an instruction takes off the stack, before it puts back what it made of it.
        if name in ("TUPLE", "LIST", "FROZENSET", "DICT", "APPENDS", "ADDITEMS", "SETITEMS", "POP_MARK"):
            items, stack = stack, suspended.pop()
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "SETITEM", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD"):
            count = {"TUPLE1": 1, "APPEND": 1, "BUILD": 1, "TUPLE3": 3}.get(name, 2)
            items = [stack.pop() for _ in range(count)][::-1]
        else:
            items = []
        match name:
            case "PROTO" | "FRAME" | "POP_MARK":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                suspended.append(stack)
                stack = []
            case "POP":
                stack.pop()
            case "DUP":
                stack.append(stack[-1])
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "EMPTY_TUPLE" | "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(items))
            # Sets are chumpy's book-keeping; as lists nothing in them is hashed.
            case "EMPTY_LIST" | "LIST" | "EMPTY_SET" | "FROZENSET":
                stack.append(items)
            case "APPEND" | "APPENDS" | "ADDITEMS":
                if not isinstance(stack[-1], list):
                    raise ValueError(f"{_kind(stack[-1])} cannot grow")
                stack[-1].extend(items)
            case "EMPTY_DICT" | "DICT":
                stack.append(_store({}, items))
            case "SETITEM" | "SETITEMS":
                _store(stack[-1], items)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(_name(*items))
            case "REDUCE" | "NEWOBJ":
                stack.append(_make(*items))
            case "BUILD":
                if not isinstance(stack[-1], _Made):
                    raise SafePickleError(f"refused to set the state of {_kind(stack[-1])}")
                stack[-1].state = items[0]
            case _ if name in _LITERALS:
                stack.append(argument)
            case _:
                raise SafePickleError(f"refused the instruction {name}")
    raise ValueError("it ends too early")


def _next_instruction(code: bytes, stream: io.BytesIO) -> tuple[str, Any]:
    instruction = _INSTRUCTIONS.get(code)
    if instruction is None:
        raise ValueError(f"no instruction {code!r}")
    if instruction.name == "STRING":  # pickletools understands only those of ASCII
        return "STRING", ast.literal_eval(f"b{stream.readline().decode('ascii')}").decode("latin1")
    return instruction.name, instruction.arg.reader(stream) if instruction.arg else None


def _name(module: Any, name: Any) -> _Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError(f"a name that is {type(module).__name__} and {type(name).__name__}")
    # chumpy has a class for every operation; all are welcome as records, ``array_from`` knows a few.
    if (module, name) not in _ALLOWED and not _CHUMPY.fullmatch(module):
        raise SafePickleError(f"refused {f'{module}.{name}'[:80]!a}: it is no part of an array")
    return _Name(module, name)


def _make(name: Any, arguments: Any) -> _Made:
    if not isinstance(name, _Name) or not isinstance(arguments, tuple):
        raise SafePickleError(f"refused a call of {_kind(name)}")
    # An object made the old way: copy_reg._reconstructor(class, object, None).
    if name.name == "_reconstructor" and arguments and isinstance(arguments[0], _Name):
        return _Made(arguments[0], ())
    return _Made(name, arguments)


def _store(table: Any, items: list[Any]) -> dict[str, Any]:
    # Hashing tuples of tuples can take for ever, and no array needs them as keys.
    if not isinstance(table, dict) or not all(isinstance(key, str | int) for key in items[::2]):
        raise SafePickleError("refused a table whose keys are not names")
    table.update(zip(items[::2], items[1::2], strict=True))
    return table


def _kind(value: Any) -> str:
    return str(value) if isinstance(value, _Name) else type(value).__name__


def read_pickle(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The entries of a pickled dictionary: plain values as they are, arrays as records for ``array_from``.

    Raises:
        SafePickleError: the file is damaged, too large, no dictionary, or holds something that is not data.
    """
    path = Path(path)
    if path.stat().st_size > LARGEST_FILE_BYTES:
        raise SafePickleError(f"{path.name}: larger than {LARGEST_FILE_BYTES >> 20} MiB, which no body model is")
    try:
        content = _run(io.BytesIO(path.read_bytes()))
    except SafePickleError as error:
        raise SafePickleError(f"{path.name}: {error}") from None
    except Exception as error:  # arbitrary bytes make the machine stumble in every way there is
        raise SafePickleError(f"{path.name}: damaged or cut short, or not a pickle ({error})") from None
    if not isinstance(content, dict):
        raise SafePickleError(f"{path.name}: holds {type(content).__name__}, expected named arrays")
    return content


def array_from(value: Any) -> np.ndarray:
    """The array that an entry of ``read_pickle`` stands for; sparse matrices become dense, chumpy is evaluated.

    Raises:
        SafePickleError: it stands for none, or its parts contradict each other.
    """
    try:
        return _evaluate(value, 0, {})
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError) as error:
        if isinstance(error, SafePickleError):
            raise
        raise SafePickleError(f"damaged array ({type(error).__name__}: {error})") from None


def _evaluate(value: Any, depth: int, known: _Known) -> np.ndarray:
    """Parts that an expression shares are evaluated once: a short file can name one a thousand million times."""
    if depth > _DEEPEST_EXPRESSION:
        raise SafePickleError("an expression of arrays that does not end")
    if not isinstance(value, _Made):
        return _plain_array(value)
    if id(value) not in known:
        if len(known) >= _MOST_PARTS:
            raise SafePickleError("an expression of more parts than any model has")
        known[id(value)] = _evaluate_once(value, depth, known)
    return known[id(value)]


def _evaluate_once(value: _Made, depth: int, known: _Known) -> np.ndarray:
    kind = (value.name.module, value.name.name)
    if kind in _SPARSE:
        return _dense(_SPARSE[kind], value.state, depth, known)
    if _CHUMPY.fullmatch(value.name.module):
        return _evaluate_chumpy(value.name, value.state, depth, known)
    match value.name.name:
        case "_reconstruct":
            _, shape, dtype, column_order, data = value.state
            return _from_bytes(data, dtype, shape, "F" if column_order else "C")
        case "_frombuffer":
            data, dtype, shape, order = value.arguments
            return _from_bytes(data, dtype, shape, order)
        case "scalar":
            dtype, data = value.arguments
            return _from_bytes(data, dtype, (), "C")
    raise SafePickleError(f"{value.name} is no array")


def _plain_array(value: Any) -> np.ndarray:
    numbers = value if isinstance(value, list | tuple) else [value]
    # No lists of lists: a short file can hold one of them that stands for more numbers than any memory has.
    if not all(isinstance(number, int | float) for number in numbers):
        raise SafePickleError(f"{type(value).__name__} is no array of numbers")
    return np.array(value, np.float64 if any(isinstance(number, float) for number in numbers) else np.int64)


def _from_bytes(data: Any, dtype: Any, shape: tuple[int, ...], order: Any) -> np.ndarray:
    element = _dtype(dtype)
    buffer = _bytes(data)
    if not all(isinstance(size, int) and 0 <= size <= LARGEST_FILE_BYTES for size in shape):
        raise SafePickleError("an array whose shape is no shape")
    if math.prod(shape) * element.itemsize != len(buffer):
        raise SafePickleError(f"an array of shape {shape} with {len(buffer)} bytes")
    return np.frombuffer(buffer, element).reshape(shape, order=order)


def _bytes(data: Any) -> bytes:
    if isinstance(data, bytes | bytearray):
        return bytes(data)
    if isinstance(data, str):  # a byte string of Python 2
        return data.encode("latin1")
    if isinstance(data, _Made) and data.name.name == "encode":  # how Python 3 writes bytes for Python 2
        text, encoding = data.arguments
        if encoding == "latin1":
            return text.encode("latin1")
    if isinstance(data, _Made) and data.name.name == "bytes" and not data.arguments:
        return b""
    raise SafePickleError(f"an array whose content is {type(data).__name__}, not bytes")


def _dtype(made: Any) -> np.dtype:
    code = made.arguments[0]
    if made.name != _Name("numpy", "dtype") or not _PLAIN_DTYPE.fullmatch(code):
        raise SafePickleError(f"an array of {code!r}, expected numbers")
    byte_order = made.state[1] if made.state else "|"
    return np.dtype(f"{byte_order if byte_order in ('<', '>') else '='}{code}")


def _dense(layout: str, state: dict[str, Any], depth: int, known: _Known) -> np.ndarray:
    rows, columns = (int(_evaluate(size, depth + 1, known)) for size in state.get("_shape") or state["shape"])
    if rows < 0 or columns < 0 or rows * columns > _MOST_DENSE_ENTRIES:
        raise SafePickleError(f"a sparse matrix of {rows} × {columns}")
    data, indices, starts = (_evaluate(state[key], depth + 1, known) for key in ("data", "indices", "indptr"))
    major, minor = (columns, rows) if layout == "csc" else (rows, columns)
    if not {indices.dtype.kind, starts.dtype.kind} <= {"i", "u"}:
        raise SafePickleError("a sparse matrix whose indices are no integers")
    counts = np.diff(starts.astype(np.int64))
    if len(starts) != major + 1 or starts[0] != 0 or not len(data) == len(indices) == starts[-1] or (counts < 0).any():
        raise SafePickleError("a sparse matrix whose parts contradict each other")
    if len(indices) and not 0 <= indices.min() <= indices.max() < minor:
        raise SafePickleError("a sparse matrix with entries outside of it")
    dense = np.zeros((major, minor), data.dtype)
    # Entries named twice add up, as in scipy.
    np.add.at(dense, (np.repeat(np.arange(major), counts), indices), data)
    return dense.T if layout == "csc" else dense


def _evaluate_chumpy(name: _Name, state: dict[str, Any], depth: int, known: _Known) -> np.ndarray:
    match name.name:
        case "Ch":
            return _evaluate(state["x"], depth + 1, known)
        case "Select":
            picked = _evaluate(state["a"], depth + 1, known).ravel()[_evaluate(state["idxs"], depth + 1, known)]
            return picked.reshape(state["preferred_shape"]) if "preferred_shape" in state else picked
        case "Reshape":
            return _evaluate(state["a"], depth + 1, known).reshape(state["newshape"])
        case "transpose":
            return np.transpose(_evaluate(state["a"], depth + 1, known), state.get("axes"))
    raise SafePickleError(f"an array that only chumpy could compute ({name})")
