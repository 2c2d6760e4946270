"""Sizes of the columns of a Parquet file, from its footer and from the headers of its pages.

pyarrow gives the sizes too, but ends the process when a damaged footer contradicts itself (an uncaught C++ exception in
pyarrow 26). The footer is a Thrift structure in the compact protocol. This module reads four of its structures and the
header of a page.

Source: parquet.thrift of the Apache Parquet format (FileMetaData, RowGroup, ColumnChunk, ColumnMetaData, PageHeader);
Apache Thrift, "Thrift compact protocol encoding".
"""

from typing import Any, BinaryIO, NamedTuple

LARGEST_FOOTER_BYTES = 64 << 20
_LONGEST_PAGE_HEADER = 1 << 16
"""Bound of a page's header: its statistics hold the least and the largest value, which may be texts."""
_SLACK_BYTES = 1 << 20
"""Tolerance: writers count the decoded size of a column differently."""
_MAGIC = b"PAR1"
_DEEPEST = 16
_BOOLEANS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 11, 12
_WIDTHS = {0: 1, 1: 4, 4: 4}
"""Bytes of a decoded value by physical type: booleans, int32, float; 8 for the others."""


class ChunkSize(NamedTuple):
    """One column of one row group, as the footer describes it; nothing has been decoded."""

    column: str
    """The top of its path in the schema."""
    values: int
    decoded_bytes: int
    """The larger of the pages' size and the values' size."""
    stored_bytes: int
    start: int
    """Offset of its first page in the file."""


def chunk_sizes(stream: BinaryIO) -> list[list[ChunkSize]]:
    """The columns of every row group.

    Raises:
        ValueError: there is no footer, or it does not follow its format.
    """
    size = stream.seek(0, 2)
    if size < 12:
        raise ValueError("too short for a Parquet file")
    stream.seek(size - 8)
    tail = stream.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > min(size - 12, LARGEST_FOOTER_BYTES):
        raise ValueError("not a Parquet file: it does not end in a footer")
    stream.seek(size - 8 - length)
    try:
        footer = _Compact(stream.read(length)).structure(0)
        return [[_chunk(column[3]) for column in group[1]] for group in footer.get(4, [])]
    except (IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"its footer is damaged ({type(error).__name__})") from error


def _chunk(facts: dict[int, Any]) -> ChunkSize:
    values, decoded, stored = facts[5], facts[6], facts[7]
    if min(values, decoded, stored) < 0:
        raise ValueError("its footer has a negative size")
    # A column without rows has no page, and its place is 0.
    start = min((place for place in (facts[9], facts.get(11, 0)) if place > 0), default=0)
    return ChunkSize(facts[3][0].decode(), values, max(decoded, values * _WIDTHS.get(facts[1], 8)), stored, start)


def check_pages(stream: BinaryIO, chunk: ChunkSize) -> None:
    """Check the places and sizes of a column's pages against the footer, without decoding them.

    Arrow does not check the header of a page: a damaged one may be decompressed to gigabytes, or read for ever.

    Raises:
        ValueError: they do not agree.
    """
    at, end, values, decoded = chunk.start, chunk.start + chunk.stored_bytes, 0, 0
    try:
        while at < end:
            stream.seek(at)
            content = _Compact(stream.read(min(_LONGEST_PAGE_HEADER, end - at)))
            header = content.structure(0)
            stored = header[3]
            data = header.get(5) or header.get(8)
            values += data[1] if data is not None else 0
            decoded += header[2]
            if stored < 0 or header[2] < 0 or (data is not None and data[1] < 0):
                raise ValueError(f"column {chunk.column} has a page of a negative size")
            at += content.position + stored
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"column {chunk.column} has a damaged page") from error
    except ValueError as error:
        raise ValueError(f"column {chunk.column} has a damaged page ({error})") from error
    if at != end or values != chunk.values or decoded > 2 * chunk.decoded_bytes + _SLACK_BYTES:
        raise ValueError(f"the pages of column {chunk.column} are not those of the footer")


class _Compact:
    """Thrift's compact protocol: structures as dictionaries by field number."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    @property
    def position(self) -> int:
        return self._at

    def structure(self, depth: int) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError("its footer is nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            fields[number] = kind == 1 if kind in _BOOLEANS else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._signed()
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind == _STRUCT:
            return self.structure(depth + 1)
        if kind in _LISTS:
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            return [self._element(head & 15, depth) for _ in range(self._possible(count))]
        if kind == _MAP:
            count = self._possible(self._unsigned())
            kinds = self._byte() if count else 0
            return [(self._element(kinds >> 4, depth), self._element(kinds & 15, depth)) for _ in range(count)]
        if kind in (_BYTE, _DOUBLE):
            return self._bytes(1 if kind == _BYTE else 8)
        raise ValueError("its footer has a value of an unknown kind")

    def _element(self, kind: int, depth: int) -> Any:
        return self._byte() == 1 if kind in _BOOLEANS else self._value(kind, depth + 1)

    def _possible(self, count: int) -> int:
        if count > len(self._content) - self._at:
            raise ValueError("its footer lists more than it holds")
        return count

    def _byte(self) -> int:
        value = self._content[self._at]
        self._at += 1
        return value

    def _bytes(self, count: int) -> bytes:
        value = self._content[self._at : self._at + self._possible(count)]
        self._at += count
        return value

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("its footer has a number of more than 64 bits")
