"""Turns the records of a pickle (``safe_pickle``) into arrays.

numpy, scipy.sparse and chumpy each pickle arrays in a layout of their own. This module reads these layouts without
calling any of those packages. Memory stays in proportion to the file: only requested arrays are copied, an array must
be as long as its bytes, and memory is allocated for the contents of the file, not for sizes that it announces.

Source: files written by numpy and scipy.sparse; chumpy's modules ch and reordering.
"""

import math
import re
from typing import Any

import numpy as np

from adapters.bodies.safe_pickle import CHUMPY, LARGEST_FILE_BYTES, SPARSE, Made, Name, SafePickleError

_MOST_DENSE_ENTRIES = 2**22
_DEEPEST_EXPRESSION = 16
_MOST_PARTS = 64

_Known = dict[int, np.ndarray]
"""Evaluated parts of one expression, by identity; the expression keeps them alive."""
_PLAIN_DTYPE = re.compile(r"[biuf]\d{1,2}")


def array_from(value: Any) -> np.ndarray:
    """The array that an entry of ``read_pickle`` stands for; sparse matrices become dense, chumpy is evaluated.

    Raises:
        SafePickleError: the entry is not an array, or its parts contradict each other.
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
    if not isinstance(value, Made):
        return _plain_array(value)
    if id(value) not in known:
        if len(known) >= _MOST_PARTS:
            raise SafePickleError("an expression of more parts than any model has")
        known[id(value)] = _evaluate_once(value, depth, known)
    return known[id(value)]


def _evaluate_once(value: Made, depth: int, known: _Known) -> np.ndarray:
    kind = (value.name.module, value.name.name)
    if kind in SPARSE:
        return _dense(SPARSE[kind], value.state, depth, known)
    if CHUMPY.fullmatch(value.name.module):
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
    # Lists of lists are refused: a short file can hold one that stands for more numbers than any memory has.
    if not all(isinstance(number, int | float) for number in numbers):
        raise SafePickleError(f"{type(value).__name__} is no array of numbers")
    return np.array(value, np.float64 if any(isinstance(number, float) for number in numbers) else np.int64)


def _from_bytes(data: Any, dtype: Any, shape: tuple[int, ...], order: Any) -> np.ndarray:
    element = _dtype(dtype)
    buffer = _bytes(data)
    if not all(isinstance(size, int) and 0 <= size <= LARGEST_FILE_BYTES for size in shape):
        raise SafePickleError("an array with an invalid shape")
    if math.prod(shape) * element.itemsize != len(buffer):
        raise SafePickleError(f"an array of shape {shape} with {len(buffer)} bytes")
    return np.frombuffer(buffer, element).reshape(shape, order=order)


def _bytes(data: Any) -> bytes:
    if isinstance(data, bytes | bytearray):
        return bytes(data)
    if isinstance(data, str):  # a byte string of Python 2
        return data.encode("latin1")
    if isinstance(data, Made) and data.name.name == "encode":  # how Python 3 writes bytes for Python 2
        text, encoding = data.arguments
        if encoding == "latin1":
            return text.encode("latin1")
    if isinstance(data, Made) and data.name.name == "bytes" and not data.arguments:
        return b""
    raise SafePickleError(f"an array whose content is {type(data).__name__}, not bytes")


def _dtype(made: Any) -> np.dtype:
    code = made.arguments[0]
    if made.name != Name("numpy", "dtype") or not _PLAIN_DTYPE.fullmatch(code):
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
        raise SafePickleError("a sparse matrix whose indices are not integers")
    counts = np.diff(starts.astype(np.int64))
    if len(starts) != major + 1 or starts[0] != 0 or not len(data) == len(indices) == starts[-1] or (counts < 0).any():
        raise SafePickleError("a sparse matrix whose parts contradict each other")
    if len(indices) and not 0 <= indices.min() <= indices.max() < minor:
        raise SafePickleError("a sparse matrix with entries outside of it")
    dense = np.zeros((major, minor), data.dtype)
    # Entries named twice add up, as in scipy.
    np.add.at(dense, (np.repeat(np.arange(major), counts), indices), data)
    return dense.T if layout == "csc" else dense


def _evaluate_chumpy(name: Name, state: dict[str, Any], depth: int, known: _Known) -> np.ndarray:
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
