"""Result files of any format as a table."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from adapters.keypoints.containers.tables import read_table
from adapters.results.scores import arrow_columns
from adapters.results.writers import check_result_path
from engine.scores import Mode, score_names

SORT_COLUMN: dict[Mode, str] = {"free": "log_bayes_factor", "rest": "consistency"}
"""The column that orders rows if a page cannot hold them all."""


class ScoreFileError(ValueError):
    """A file does not hold scores; the message has the file, the reason and the remedy."""


@dataclass(frozen=True)
class Scores:
    """Rows of a result file, in its order."""

    mode: Mode
    image: list[str]
    instance: list[int]
    status: list[str]
    detail: list[str]
    """Details; empty for rows without one."""
    numbers: dict[str, Float32[np.ndarray, " rows"]]
    """Numbers by column; NaN in rows that could not be scored."""
    best_match: list[str] | None
    """Persons; empty in rows that could not be scored, None if there was one person only."""
    metadata: Mapping[str, str]
    """Metadata of a Parquet file."""

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
        ScoreFileError: the file is missing, damaged, or not a result file.
        ValueError: the suffix is not that of a result.
    """
    check_result_path(path)
    columns = arrow_columns("free", several=True)
    plain = {column.name: pa.string() if column.name == "status" else column.type for column in columns}
    try:
        table, metadata = read_table(path, ScoreFileError, pa.schema(list(plain.items())))
    except FileNotFoundError:
        raise ScoreFileError(f"no result file {path}; make one with: samebody score DATASET --out {path}") from None
    names = set(table.column_names)
    mode: Mode = "free" if "log_bayes_factor" in names else "rest"
    # The columns of fits come together or not at all.
    fits = not names.isdisjoint(set(score_names(mode)) - set(score_names(mode, fits=False)))
    missing = {"image", "instance", "status", *score_names(mode, fits=fits)} - names
    if missing:
        raise ScoreFileError(f"{path}: not a result of samebody score; it lacks {', '.join(sorted(missing))}")
    infinite = [name for name in score_names(mode, fits=fits) if np.isinf(table[name].to_numpy()).any()]
    if infinite:
        raise ScoreFileError(f"{path}: {infinite[0]} is infinite in a row; write the result again: samebody score")
    if table["instance"].null_count:
        raise ScoreFileError(f"{path}: a row has no instance; write the result again: samebody score")
    return _scores(table, metadata, mode)


def _scores(table: pa.Table, metadata: Mapping[str, str], mode: Mode) -> Scores:
    def texts(name: str) -> list[str]:
        return [text or "" for text in table[name].to_pylist()]

    def number(name: str) -> np.ndarray:
        # Results without fits lack their columns.
        if name not in table.column_names:
            return np.full(len(table), np.nan, np.float32)
        return table[name].to_numpy().astype(np.float32)

    return Scores(
        mode=mode,
        image=texts("image"),
        instance=table["instance"].to_pylist(),
        status=texts("status"),
        detail=texts("detail") if "detail" in table.column_names else [""] * len(table),
        numbers={name: number(name) for name in score_names(mode)},
        best_match=texts("best_match") if "best_match" in table.column_names else None,
        metadata=metadata,
    )
