"""Records of files to typed dataclasses: every value has the type that the annotation names, and a bounded size.

JSON does not tell which type a field may hold, and a damaged or forged file must be refused on reading. The dataclass
itself checks the range of values and their relations.
"""

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

LONGEST_TEXT = 10_000
MOST_ENTRIES = 1_000_000
LARGEST_INTEGER = 2**31 - 1
LARGEST_NUMBER = 1e300
"""Largest size of a number. NaN fails the comparison and is refused too."""


class RecordError(ValueError):
    """A value of a record is missing, unknown, or of another type; the message says where."""


def typed_record(kind: type[T], record: object, place: str = "") -> T:
    """A dataclass from the JSON object that holds its fields.

    Raises:
        RecordError: a field is missing, unknown, or of another type.
        ValueError: raised by the dataclass itself.
    """
    if not isinstance(record, Mapping):
        raise RecordError(f"{place or 'the record'} is {_shown(record)}, expected an object")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    hints = _hints(kind)
    unknown = sorted(str(name) for name in record.keys() - fields.keys())
    if unknown:
        raise RecordError(f"{_at(place, unknown[0])[:80]!a} is not a field that this version knows")
    required = dataclasses.MISSING
    missing = [
        name
        for name, field in fields.items()
        if name not in record and field.default is required and field.default_factory is required
    ]
    if missing:
        raise RecordError(f"{_at(place, missing[0])} is missing")
    return kind(**{name: typed_value(hints[name], value, _at(place, name)) for name, value in record.items()})


def typed_value(kind: Any, value: object, place: str) -> Any:
    """A JSON value as ``kind``: str, int, float, bool, None, Literal, a union, tuple[X, ...], a mapping or a dataclass.

    Raises:
        RecordError: it is something else, not finite, or too large.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _of_union(arguments, value, place)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise RecordError(f"{place} is {_shown(value)}, expected one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        entries = _sized(list, value, place)
        return tuple(typed_value(arguments[0], entry, f"{place}[{k}]") for k, entry in enumerate(entries))
    if origin is not None and issubclass(origin, Mapping):
        return {
            typed_value(str, name, place): typed_value(arguments[1], entry, f"{place}.{name}"[:80])
            for name, entry in _sized(dict, value, place).items()
        }
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return typed_record(kind, value, place)
    return _plain(kind, value, place)


def _of_union(kinds: tuple[Any, ...], value: object, place: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not types.NoneType]
    if len(others) != 1:
        raise TypeError(f"{place}: only X | None can be read")
    return typed_value(others[0], value, place)


def _plain(kind: Any, value: object, place: str) -> Any:
    if kind is Any:
        return value
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str) and len(value) <= LONGEST_TEXT:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER:
        if kind is int and abs(value) <= LARGEST_INTEGER and value == int(value):
            return int(value)
        if kind is float:
            return float(value)
    raise RecordError(f"{place} is {_shown(value)}, expected {getattr(kind, '__name__', kind)}")


def _sized(kind: type[T], value: object, place: str) -> T:
    if not isinstance(value, kind) or len(value) > MOST_ENTRIES:  # pyright: ignore[reportArgumentType]
        raise RecordError(f"{place} is {_shown(value)}, expected {kind.__name__}")
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) > 1 << 64:
        return "a number of many digits"
    if isinstance(value, list | dict | str) and len(value) > 100:
        return f"{type(value).__name__} of {len(value):,} entries"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
