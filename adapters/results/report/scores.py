"""Result files as a table, whatever their format."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
from jaxtyping import Float32

from adapters.results.scores import arrow_columns
from adapters.results.writers import check_result_path
from engine.scores import Mode, score_names

SORT_COLUMN: dict[Mode, str] = {"free": "log_bayes_factor", "rest": "consistency"}
"""What orders rows where a page cannot hold them all."""


class ScoreFileError(ValueError):
    """A file does not hold scores; the message says which, why and what to do."""


@dataclass(frozen=True)
class Scores:
    """Rows of a result file, in its order."""

    mode: Mode
    image: list[str]
    instance: list[int]
    status: list[str]
    detail: list[str]
    """Empty where there is none."""
    numbers: dict[str, Float32[np.ndarray, " rows"]]
    """By column; NaN where a row could not be scored."""
    best_match: list[str] | None
    """Empty where a row could not be scored; None where there was one person only."""
    metadata: Mapping[str, str]
    """Of a Parquet file."""

    def __len__(self) -> int:
        return len(self.image)

    def rows(self, chosen: np.ndarray) -> "Scores":
        """Some of the rows."""

        def pick(values: list) -> list:
            return [values[row] for row in chosen]

        return Scores(
            mode=self.mode,
            image=pick(self.image),
            instance=pick(self.instance),
            status=pick(self.status),
            detail=pick(self.detail),
            numbers={name: values[chosen] for name, values in self.numbers.items()},
            best_match=None if self.best_match is None else pick(self.best_match),
            metadata=self.metadata,
        )


def read_scores(path: str | os.PathLike[str]) -> Scores:
    """The rows that ``samebody score`` wrote.

    Raises:
        ScoreFileError: missing, damaged, or no result file.
        ValueError: a suffix that no result has.
    """
    check_result_path(path)
    suffix = Path(path).suffix.lower()
    read = {".parquet": _read_parquet, ".csv": _read_csv, ".jsonl": _read_json_lines}[suffix]
    try:
        # Opened here: pyarrow leaves the file open when it finds that it is none of its own.
        with open(path, "rb") as stream:
            table = read(stream)
    except FileNotFoundError:
        raise ScoreFileError(f"no result file {path}; make one with: samebody score DATASET --out {path}") from None
    except (pa.ArrowException, OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ScoreFileError(f"{path}: damaged or no result file ({error})") from error
    names = set(table.column_names)
    mode: Mode = "free" if "log_bayes_factor" in names else "rest"
    missing = {"image", "instance", "status", *score_names(mode)} - names
    if missing:
        raise ScoreFileError(f"{path}: no result of samebody score; it lacks {', '.join(sorted(missing))}")
    try:
        return _scores(table, mode)
    except (pa.ArrowException, TypeError) as error:
        raise ScoreFileError(f"{path}: a column holds what no result has ({error})") from error


def _scores(table: pa.Table, mode: Mode) -> Scores:
    def texts(name: str) -> list[str]:
        return [text or "" for text in table[name].cast(pa.string()).to_pylist()]

    return Scores(
        mode=mode,
        image=texts("image"),
        instance=table["instance"].cast(pa.int32()).to_pylist(),
        status=texts("status"),
        detail=texts("detail") if "detail" in table.column_names else [""] * len(table),
        numbers={
            name: table[name].cast(pa.float32()).to_numpy(zero_copy_only=False).astype(np.float32)
            for name in score_names(mode)
        },
        best_match=texts("best_match") if "best_match" in table.column_names else None,
        metadata={k.decode(): v.decode("utf-8", "replace") for k, v in (table.schema.metadata or {}).items()},
    )


def _read_parquet(stream: IO[bytes]) -> pa.Table:
    with pq.ParquetFile(stream) as file:
        return file.read()


def _read_csv(stream: IO[bytes]) -> pa.Table:
    columns = arrow_columns("free", several=True)
    types = {column.name: pa.string() if column.name == "status" else column.type for column in columns}
    # Texts are taken as they stand: a picture may be called NA.
    return arrow_csv.read_csv(
        stream, convert_options=arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    )


def _read_json_lines(stream: IO[bytes]) -> pa.Table:
    rows = msgspec.json.Decoder(dict).decode_lines(stream.read())
    return pa.Table.from_pylist(rows)
