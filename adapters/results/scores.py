"""Scores of many pictures in memory: the result of every way of scoring.

scores["log_bayes_factor"]      one column as an array
scores.worst(20)                the rows most unlike the reference, as Scores
scores.to_arrow()               a table with the columns of ``engine.scores``; to_pandas() needs pandas
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int8, Int32

from adapters.results.evidence_table import evidence_columns, evidence_fields
from engine.evidence.shape_evidence import Evidence
from engine.scores import LABELS, Column, Mode, Status, columns_of, score_names

ORDER_COLUMN: dict[Mode, str] = {"free": "log_bayes_factor", "rest": "consistency"}
"""Column by which rows are ranked, lowest first."""

_ARROW_TYPES = {
    "text": pa.string(),
    "integer": pa.int32(),
    "status": pa.dictionary(pa.int8(), pa.string()),
    "number": pa.float32(),
}
_SHOWN_ROWS = 20


def arrow_columns(mode: Mode, *, several: bool = False, fits: bool = True, whole_set: bool = False) -> pa.Schema:
    """``engine.scores.columns_of`` with Arrow's types."""
    chosen = columns_of(mode, several=several, fits=fits, whole_set=whole_set)
    return pa.schema([(column.name, _ARROW_TYPES[column.kind]) for column in chosen])


@dataclass(frozen=True, eq=False)
class Scores:
    """One row per person in a picture, in the order of the pictures."""

    mode: Mode
    image: pa.StringArray
    instance: Int32[np.ndarray, " rows"]
    status: Int8[np.ndarray, " rows"]
    """Codes of ``engine.scores.Status``."""
    numbers: Mapping[str, Float32[np.ndarray, " rows"]]
    """Numbers by column (``engine.scores.score_names``), with ``margin`` if there are several people; NaN if
    unknown."""
    detail: pa.StringArray
    people: tuple[str, ...] = ()
    """Names of the shapes that pictures were compared with, if there were several."""
    best: Int32[np.ndarray, " rows"] | None = None
    """Index in ``people`` of the best match; -1 if a row could not be scored."""
    evidence: Evidence | None = field(default=None, repr=False)
    """Raw evidence of each picture alone; free pose only."""

    def __len__(self) -> int:
        return len(self.instance)

    def __getitem__(self, column: str) -> np.ndarray:
        """A column by name; texts as an array of objects.

        Raises:
            KeyError: these scores have no such column.
        """
        if column in self.numbers:
            return self.numbers[column]
        if column not in self.columns.names:
            raise KeyError(f"no column {column!r}; there are {', '.join(self.columns.names)}")
        return self._column(column).to_numpy(zero_copy_only=False)

    @property
    def fits(self) -> bool:
        """True if the columns of fits at the reference shape exist."""
        return "reprojection_error" in self.numbers

    @property
    def columns(self) -> pa.Schema:
        """Of ``to_arrow``."""
        return arrow_columns(self.mode, several=bool(self.people), fits=self.fits, whole_set=True)

    @property
    def labels(self) -> list[str]:
        """Statuses as texts."""
        return [LABELS[code] for code in self.status.tolist()]

    @property
    def best_match(self) -> list[str | None] | None:
        """Names of the shapes that match best; None if there was one shape."""
        if self.best is None:
            return None
        return [None if number < 0 else self.people[number] for number in self.best.tolist()]

    @cached_property
    def order(self) -> np.ndarray:
        """Row numbers, most unlike the reference first; of equal rows the more informative first; unscored rows
        last."""
        lowest = self.numbers[ORDER_COLUMN[self.mode]]
        informative = self.numbers.get("information_bits", np.zeros(len(self), np.float32))
        return np.lexsort((-informative, lowest))

    @cached_property
    def rank(self) -> Int32[np.ndarray, " rows"]:
        """Position in ``order``, from 1; 0 for rows that could not be scored."""
        rank = np.zeros(len(self), np.int32)
        rank[self.order] = np.arange(1, len(self) + 1)
        return np.where(np.isnan(self.numbers[ORDER_COLUMN[self.mode]]), 0, rank).astype(np.int32)

    @property
    def percentile(self) -> Float32[np.ndarray, " rows"]:
        """Share of the scored rows that are more unlike the reference, 0..100; NaN for rows without a score."""
        scored = max(int((self.rank > 0).sum()), 1)
        return np.where(self.rank > 0, 100 * (self.rank - 1) / scored, np.nan).astype(np.float32)

    def worst(self, count: int = 20) -> "Scores":
        """The rows most unlike the reference, most unlike first; rows without a score are left out."""
        return self.rows(self.order[: min(count, int((self.rank > 0).sum()))])

    def rows(self, chosen: Sequence[int] | np.ndarray) -> "Scores":
        """Some of the rows, in the given order."""
        at = np.asarray(chosen, int)
        evidence = self.evidence
        return replace(
            self,
            image=self.image.take(pa.array(at)),
            instance=self.instance[at],
            status=self.status[at],
            numbers={name: values[at] for name, values in self.numbers.items()},
            detail=self.detail.take(pa.array(at)),
            best=None if self.best is None else self.best[at],
            evidence=None if evidence is None else Evidence(*(np.asarray(part)[at] for part in evidence)),
        )

    def to_arrow(self) -> pa.Table:
        """A table with every column, rank and percentile included."""
        arrays = [self._column(name) for name in self.columns.names]
        return pa.Table.from_arrays(arrays, schema=self.columns)

    def to_batch(self, with_evidence: bool = False) -> pa.RecordBatch:
        """The columns of result files (without rank, which depends on all rows), and those of ``evidence_table``.

        Raises:
            ValueError: there is no evidence.
        """
        columns = arrow_columns(self.mode, several=bool(self.people), fits=self.fits)
        arrays = [self._column(name) for name in columns.names]
        if with_evidence:
            if self.evidence is None:
                raise ValueError("the rest pose has no evidence to keep")
            arrays += evidence_columns(self.evidence)
            columns = pa.schema([*columns, *evidence_fields(np.shape(self.evidence.information)[1])])
        return pa.RecordBatch.from_arrays(arrays, schema=columns)

    def to_pandas(self) -> Any:
        """A pandas DataFrame.

        Raises:
            ImportError: pandas is not installed.
        """
        return self.to_arrow().to_pandas()

    def __repr__(self) -> str:
        counts = {LABELS[code]: int(n) for code, n in enumerate(np.bincount(self.status, minlength=1)) if n}
        lines = [f"Scores of {len(self):,} rows, pose {self.mode}: {counts}"]
        lines += [
            f"  {image}  {value:+.3f}"
            for image, value in zip(self.image[:_SHOWN_ROWS].to_pylist(), self._leading()[:_SHOWN_ROWS], strict=False)
        ]
        return "\n".join(lines + (["  ..."] if len(self) > _SHOWN_ROWS else []))

    def _repr_html_(self) -> str:
        columns = [column for column in columns_of(self.mode, several=bool(self.people), fits=False)]
        table = self.rows(np.arange(min(len(self), _SHOWN_ROWS)))
        head = "".join(f'<th title="{html.escape(column.doc)}">{column.name}</th>' for column in columns)
        cells = [[_cell(value, column) for value in table._column(column.name).to_pylist()] for column in columns]
        body = "".join(f"<tr>{''.join(row)}</tr>" for row in zip(*cells, strict=True))
        more = f"<p>{len(self):,} rows</p>" if len(self) > _SHOWN_ROWS else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"

    def _leading(self) -> np.ndarray:
        return self.numbers[ORDER_COLUMN[self.mode]]

    def _column(self, name: str) -> pa.Array:
        match name:
            case "image" | "detail":
                return getattr(self, name)
            case "instance" | "rank" | "percentile":
                return pa.array(getattr(self, name))
            case "status":
                return pa.DictionaryArray.from_arrays(pa.array(self.status), pa.array(LABELS))
            case "best_match":
                best = np.zeros(len(self), np.int32) if self.best is None else self.best
                return pa.array(self.people, pa.string()).take(pa.array(best, mask=best < 0))
        return pa.array(self.numbers[name])


def concat_scores(parts: Sequence[Scores]) -> Scores:
    """All rows in order.

    Raises:
        ValueError: no parts, or parts of different modes or people.
    """
    if not parts:
        raise ValueError("there are no scores to put together")
    first = parts[0]
    if any((part.mode, part.people) != (first.mode, first.people) for part in parts):
        raise ValueError("the scores are of different modes or people")
    evidence = [part.evidence for part in parts if part.evidence is not None]
    return replace(
        first,
        image=pa.concat_arrays([part.image for part in parts]),
        instance=np.concatenate([part.instance for part in parts]),
        status=np.concatenate([part.status for part in parts]),
        numbers={name: np.concatenate([part.numbers[name] for part in parts]) for name in first.numbers},
        detail=pa.concat_arrays([part.detail for part in parts]),
        best=None if first.best is None else np.concatenate([part.best for part in parts if part.best is not None]),
        evidence=None if not evidence else Evidence(*(np.concatenate(each) for each in zip(*evidence, strict=True))),
    )


def scores_of_table(table: pa.Table) -> Scores:
    """The scores that ``Scores.to_batch`` or a result file holds.

    Raises:
        ValueError: a column is missing or holds values that a result cannot have.
    """
    names = set(table.column_names)
    mode: Mode = "free" if "log_bayes_factor" in names else "rest"
    fits = "reprojection_error" in names
    wanted = {"image", "instance", "status", *score_names(mode, fits=fits)}
    if missing := wanted - names:
        raise ValueError(f"not a result of samebody score; it lacks {', '.join(sorted(missing))}")

    def number(name: str) -> np.ndarray:
        return table[name].cast(pa.float32()).to_numpy(zero_copy_only=False).astype(np.float32)

    def text(name: str) -> pa.StringArray:
        column = table[name].cast(pa.string()).combine_chunks()
        return column if isinstance(column, pa.StringArray) else pa.array(column.to_pylist(), pa.string())

    code = {status.label: int(status) for status in Status}
    statuses = [code.get(label, int(Status.BAD_INPUT)) for label in text("status").to_pylist()]
    numbers = {name: number(name) for name in (*score_names(mode, fits=fits), "margin") if name in names}
    people, best = (), None
    if "best_match" in names:
        matched = text("best_match").to_pylist()
        people = tuple(sorted({name for name in matched if name}))
        best = np.array([people.index(name) if name else -1 for name in matched], np.int32)
    return Scores(
        mode=mode,
        image=text("image"),
        instance=table["instance"].cast(pa.int32()).to_numpy(zero_copy_only=False).astype(np.int32),
        status=np.array(statuses, np.int8),
        numbers=numbers,
        detail=text("detail") if "detail" in names else pa.nulls(len(table), pa.string()),
        people=people,
        best=best,
    )


def _cell(value: Any, column: Column) -> str:
    if value is None or value != value:
        return "<td></td>"
    return f"<td>{value:.3f}</td>" if column.kind == "number" else f"<td>{html.escape(str(value))}</td>"
