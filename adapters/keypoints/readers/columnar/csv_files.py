"""CSV with named columns.

    wide    image, nose_x, nose_y, nose_score, left_eye_x, ...      one row a person; or x_nose; or x0, y0, score0, ...
    long    image, keypoint, x, y, score                            one row a keypoint, those of a person together

The picture's name may be called image, image_id, image_name, file_name, filename or frame; ``instance`` numbers the
people of a picture. The score may be called score, confidence, conf, likelihood or visibility. It may be left out: then
every point in the file was seen. Names are compared by the rules of ``keypoint_names``; numbered keypoints get their
schema from their count.
"""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from jaxtyping import Bool, Float

from adapters.keypoints.readers.columnar.columns import TableAssembler
from adapters.keypoints.readers.file_schema import schema_from_names
from adapters.keypoints.readers.source_files import BrokenFile, SourceFile
from adapters.keypoints.table import KeypointTable, slice_table
from engine.body.schemas import KeypointSchema

_IMAGE = ("image", "image_id", "image_name", "file_name", "filename", "frame")
_SCORE = ("score", "confidence", "conf", "likelihood", "visibility", "s", "c", "v")
_AXES = ("x", "y", *_SCORE)
_COORDINATE = re.compile(
    rf"(?:(?P<axis>{'|'.join(_AXES)})[_ .-]?(?P<point>\d+|(?<=[_ .-]).+)|(?P<name>.+?)[_ .-](?P<of>{'|'.join(_AXES)}))",
    re.IGNORECASE,
)
_LONGEST_HEADER = 1 << 20
_BLOCK_BYTES = 4 << 20

Columns = tuple[int, int, int | None]
"""The columns of a keypoint's x, y and score."""


@dataclass(frozen=True)
class CsvKeypoints:
    """A file with a known header."""

    source: SourceFile
    schema: KeypointSchema | None
    header: tuple[str, ...]
    points: tuple[Columns, ...]
    """Columns of each keypoint; one entry for all of them in a long file."""
    names: tuple[str, ...] = ()
    """Names of the keypoints of a long file."""

    def keypoint_counts(self) -> Iterator[int]:
        """The number of keypoints."""
        yield len(self.names) if self.names else len(self.points)

    def tables(self, schema: KeypointSchema, chunk_size: int) -> Iterator[KeypointTable]:
        """All rows, read with ``schema``.

        Raises:
            BrokenFile: the file is damaged, or has another number of keypoints than ``schema``.
        """
        count = next(self.keypoint_counts())
        if count != len(schema):
            raise BrokenFile(f"{self.source.path}: {count} keypoints, expected the {len(schema)} of {schema.name}")
        assembler = TableAssembler(self.source, schema)
        batches = _batches(self.source, self.header)
        for batch in _regrouped(batches, self.header) if self.names else batches:
            whole = self._long_table(batch, assembler) if self.names else self._wide_table(batch, assembler)
            for start in range(0, len(whole), chunk_size):
                yield slice_table(whole, start, start + chunk_size)

    def _wide_table(self, batch: pa.RecordBatch, assembler: TableAssembler) -> KeypointTable:
        readable = np.ones(len(batch), bool)

        def column(index: int | None) -> np.ndarray:
            if index is None:
                return np.ones(len(batch))
            values, fine = _floats(batch.column(index))
            readable[:] &= fine
            return values

        found = np.stack([np.stack([column(index) for index in columns], axis=-1) for columns in self.points], axis=1)
        missing = np.isnan(found[..., :2]).any(axis=-1)
        scores = np.where(missing, 0.0, found[..., 2])
        return self._table(batch, assembler, found[..., :2], scores, readable)

    def _long_table(self, batch: pa.RecordBatch, assembler: TableAssembler) -> KeypointTable:
        first = _starts(batch, self.header)
        person = np.cumsum(first) - 1
        place = {name: k for k, name in enumerate(self.names)}
        keypoint = np.array([place[name] for name in batch.column(_keypoint_column(self.header)).to_pylist()])
        x, y, score = self.points[0]
        axes = [_floats(batch.column(index)) for index in (x, y)]
        values = np.ones(len(batch)) if score is None else _floats(batch.column(score))[0]
        points = np.full((int(first.sum()), len(self.names), 2), np.nan)
        scores = np.zeros(points.shape[:2])
        points[person, keypoint] = np.stack([values for values, _ in axes], axis=-1)
        scores[person, keypoint] = values
        readable = np.ones(len(points), bool)
        np.logical_and.at(readable, person, axes[0][1] & axes[1][1])
        return self._table(batch.filter(pa.array(first)), assembler, points, scores, readable)

    def _table(
        self,
        batch: pa.RecordBatch,
        assembler: TableAssembler,
        points: Float[np.ndarray, "images keypoints 2"],
        scores: Float[np.ndarray, "images keypoints"],
        readable: Bool[np.ndarray, " images"],
    ) -> KeypointTable:
        image = _find(self.header, _IMAGE)
        names = None if image is None else batch.column(image)
        numbered = _find(self.header, ("instance",))
        instance = None
        if numbered is not None:
            values, fine = _floats(batch.column(numbered))
            whole = fine & np.isfinite(values) & (np.abs(values) < 2**31)
            instance, readable = np.where(whole, values, -1).astype(np.int32), readable & whole
        return assembler.table(points, scores, image=names, instance=instance, readable=readable)


def open_csv(source: SourceFile) -> CsvKeypoints:
    """Read the header of a CSV file.

    Raises:
        BrokenFile: the file cannot be read, or its columns are not keypoints.
    """
    header = _header(source)
    if {"x", "y"} <= set(header):
        return _long_file(source, header)
    points = _wide_points(header)
    whole = [name for name, axes in points.items() if {"x", "y"} <= axes.keys()]
    if not whole:
        raise BrokenFile(
            f"{source.path}: its columns {', '.join(header[:10])} are not keypoints; expected image, nose_x, nose_y, "
            "nose_score, ... or image, keypoint, x, y, score; see docs/keypoint-files.md"
        )
    numbered = all(name.isdigit() for name in whole)
    ordered = sorted(whole, key=int) if numbered else whole
    columns = tuple((points[name]["x"], points[name]["y"], points[name].get("score")) for name in ordered)
    return CsvKeypoints(source, None if numbered else _named(source, ordered), header, columns)


def _long_file(source: SourceFile, header: tuple[str, ...]) -> CsvKeypoints:
    column = _keypoint_column(header)
    if column < 0:
        raise BrokenFile(f"{source.path}: columns x and y, but none that names the keypoint; call it keypoint")
    names: dict[str, None] = {}
    for batch in _batches(source, header):
        found = batch.column(column).unique()
        if found.null_count:
            raise BrokenFile(f"{source.path}: a row does not name its keypoint")
        names |= dict.fromkeys(found.to_pylist())
        if len(names) > 1000:
            raise BrokenFile(f"{source.path}: more than 1000 names of keypoints in column {header[column]}")
    numbered = all(name.isdigit() for name in names)
    ordered = tuple(sorted(names, key=int)) if numbered else tuple(names)
    schema = None if numbered or not names else _named(source, list(ordered))
    columns = (header.index("x"), header.index("y"), _find(header, _SCORE))
    return CsvKeypoints(source, schema, header, (columns,), ordered)


def _named(source: SourceFile, names: list[str]) -> KeypointSchema:
    try:
        return schema_from_names("csv", names)
    except ValueError as error:
        raise BrokenFile(f"{source.path}: {error}") from error


def _wide_points(header: tuple[str, ...]) -> Mapping[str, dict[str, int]]:
    points: dict[str, dict[str, int]] = {}
    for index, name in enumerate(header):
        match = _COORDINATE.fullmatch(name)
        if match is not None:
            axis, point = (match["axis"] or match["of"]).lower(), match["point"] or match["name"]
            points.setdefault(point, {}).setdefault("score" if axis in _SCORE else axis, index)
    return points


def _header(source: SourceFile) -> tuple[str, ...]:
    try:
        with open(source.path, "rb") as stream:
            line = stream.readline(_LONGEST_HEADER)
        table = pa_csv.read_csv(io.BytesIO(line), pa_csv.ReadOptions(autogenerate_column_names=True))
    except OSError as error:
        raise BrokenFile(f"{source.path}: cannot be read: {error.strerror}") from error
    except pa.ArrowException as error:
        raise BrokenFile(f"{source.path}: not a readable CSV: {error}") from error
    names = [str(column[0].as_py() or "").strip().lstrip("\ufeff") for column in table.columns if len(column)]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated or not names:
        raise BrokenFile(
            f"{source.path}: not a readable CSV: {'column ' + min(repeated) + ' twice' if names else 'empty'}"
        )
    return tuple(name.lower() if name.lower() in (*_IMAGE, *_AXES, *_KEYPOINT, "instance") else name for name in names)


_KEYPOINT = ("keypoint", "keypoint_name", "joint", "name", "bodypart", "part", "keypoint_id")


def _batches(source: SourceFile, header: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    names = [f"c{index}" for index in range(len(header))]
    try:
        reader = pa_csv.open_csv(
            source.path,
            pa_csv.ReadOptions(column_names=names, skip_rows=1, block_size=_BLOCK_BYTES, use_threads=False),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
        yield from (batch for batch in reader if len(batch))
    except (pa.ArrowException, OSError) as error:
        if "Empty CSV" not in str(error):
            raise BrokenFile(f"{source.path}: not a readable CSV: {error}") from error


def _regrouped(batches: Iterator[pa.RecordBatch], header: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """The same rows, no person in two batches."""
    rest: pa.RecordBatch | None = None
    for batch in batches:
        whole = batch if rest is None else pa.concat_batches([rest, batch])
        last = int(np.flatnonzero(_starts(whole, header))[-1])
        if last:
            yield whole.slice(0, last)
        rest = whole.slice(last)
    if rest is not None:
        yield rest


def _starts(batch: pa.RecordBatch, header: tuple[str, ...]) -> Bool[np.ndarray, " rows"]:
    """Marks the first row of each person."""
    starts = np.zeros(len(batch), bool)
    starts[:1] = True
    for index in (_find(header, _IMAGE), _find(header, ("instance",))):
        if index is not None:
            codes = batch.column(index).dictionary_encode().indices.fill_null(-1).to_numpy()
            starts[1:] |= codes[1:] != codes[:-1]
    return starts


def _floats(column: pa.Array) -> tuple[Float[np.ndarray, " rows"], Bool[np.ndarray, " rows"]]:
    """Numbers, NaN for empty cells, and a mask of the cells that are numbers or empty."""
    try:
        return pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), np.ones(len(column), bool)
    except pa.ArrowInvalid:
        pass
    values, fine = np.full(len(column), np.nan), np.ones(len(column), bool)
    for row, text in enumerate(column.to_pylist()):
        try:
            values[row] = float(text) if text is not None and text.strip() else np.nan
        except ValueError:
            fine[row] = False
    return values, fine


def _find(header: tuple[str, ...], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _keypoint_column(header: tuple[str, ...]) -> int:
    return next((header.index(name) for name in _KEYPOINT if name in header), -1)
