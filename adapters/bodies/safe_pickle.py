"""Reads arrays from a pickle without running its code.

A pickle is a program for a small stack machine, and some of its instructions import any function and call it. The
machine here (``_run``) imports nothing and calls nothing: a name becomes an inert ``Name``, and a call becomes an inert
``Made`` that keeps the name, the arguments and the state. ``pickled_arrays`` interprets the records afterwards, only
for the requested arrays. Names outside ``_ALLOWED`` and instructions that the machine does not know are refused by
name.

Source: the instruction set as documented in Python's pickletools.
"""

import ast
import io
import os
import pickletools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_FILE_BYTES = 2**30
"""The official SMPL files with 300 shape components are a quarter of this."""
_NUMPY_CORE = ("numpy.core.", "numpy._core.")
SPARSE = {
    (f"scipy.sparse.{module}", f"{layout}_matrix"): layout
    for layout in ("csc", "csr")
    for module in (layout, f"_{layout}")
}
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"{core}multiarray", name) for core in _NUMPY_CORE for name in ("_reconstruct", "scalar")),
    *((f"{core}numeric", "_frombuffer") for core in _NUMPY_CORE),
    *SPARSE,
    ("_codecs", "encode"),
    *((module, "_reconstructor") for module in ("copyreg", "copy_reg")),
    *((module, name) for module in ("builtins", "__builtin__") for name in ("object", "set", "bytes")),
}
CHUMPY = re.compile(r"chumpy(\.\w+)*")


class SafePickleError(ValueError):
    """A pickle is damaged, or holds something that is not data; the message names it."""


@dataclass(frozen=True)
class Name:
    """A name that unpickling would import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Made:
    """Stands for the result of calling ``name`` with ``arguments`` and then setting ``state``."""

    name: Name
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
    """The final stack of the program in ``stream``: plain values, and records of everything else."""
    stack: list[Any] = []
    suspended: list[list[Any]] = []
    memo: dict[int, Any] = {}
    while code := stream.read(1):
        name, argument = _next_instruction(code, stream)
        # The values that such an instruction takes off the stack, before it puts back its result.
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
                if not isinstance(stack[-1], Made):
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


def _name(module: Any, name: Any) -> Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError(f"a name that is {type(module).__name__} and {type(name).__name__}")
    # chumpy has a class for every operation; all are welcome as records, ``pickled_arrays`` knows a few.
    if (module, name) not in _ALLOWED and not CHUMPY.fullmatch(module):
        raise SafePickleError(f"refused {f'{module}.{name}'[:80]!a}: it is not part of an array")
    return Name(module, name)


def _make(name: Any, arguments: Any) -> Made:
    if not isinstance(name, Name) or not isinstance(arguments, tuple):
        raise SafePickleError(f"refused a call of {_kind(name)}")
    # An object made the old way: copy_reg._reconstructor(class, object, None).
    if name.name == "_reconstructor" and arguments and isinstance(arguments[0], Name):
        return Made(arguments[0], ())
    return Made(name, arguments)


def _store(table: Any, items: list[Any]) -> dict[str, Any]:
    # Hashing tuples of tuples can take for ever, and no array needs them as keys.
    if not isinstance(table, dict) or not all(isinstance(key, str | int) for key in items[::2]):
        raise SafePickleError("refused a table whose keys are not names")
    table.update(zip(items[::2], items[1::2], strict=True))
    return table


def _kind(value: Any) -> str:
    return str(value) if isinstance(value, Name) else type(value).__name__


def read_pickle(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The entries of a pickled dictionary: plain values as they are, arrays as records for ``array_from``.

    Raises:
        SafePickleError: the file is damaged, too large, not a dictionary, or holds something that is not data.
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
