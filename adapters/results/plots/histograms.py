"""Histograms of the scores of a data set, with the number of rows on each side of a threshold."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator

from adapters.results.plots.style import (
    ABOVE,
    BELOW,
    DIFFER,
    FONT,
    INK,
    MATCH,
    SMALL,
    SOFT,
    TEXT,
    ShownFigure,
    new_figure,
    plain_axes,
    title_of,
)
from adapters.results.report.scores import SORT_COLUMN, Scores

_BINS = 40
_FAR_SHARE = 0.03
"""Share of rows that may lie beyond the low end of an unbounded axis; its first bar includes them."""


class _Kind(NamedTuple):
    """Display settings of a column."""

    axis: str
    limits: tuple[float, float] | None
    threshold: float


_KINDS: Mapping[str, _Kind] = {
    "log_bayes_factor": _Kind("evidence: log Bayes factor, nats", None, 0.0),
    "same_body_probability": _Kind("probability of the same body", (0.0, 1.0), 0.5),
    "consistency": _Kind("consistency", (0.0, 1.0), 0.5),
}
COLUMNS = tuple(_KINDS)
"""Columns of a result that can be shown."""


def score_histogram(
    scores: Scores, column: str | None = None, threshold: float | None = None, title: str | None = None
) -> ShownFigure:
    """A histogram of one column, coloured by the side of a threshold, with the number of rows on each side.

    Args:
        column: one of ``COLUMNS``; by default the one that orders rows: evidence, or consistency with ``--pose rest``.
        threshold: in the column's units; by default the middle: no evidence either way, or one half.

    Raises:
        ValueError: the result has no such column.
    """
    column = SORT_COLUMN[scores.mode] if column is None else column
    if column not in _KINDS or column not in scores.numbers:
        known = ", ".join(name for name in _KINDS if name in scores.numbers)
        raise ValueError(f"no histogram of {column}; this result has: {known}")
    kind = _KINDS[column]
    at = kind.threshold if threshold is None else float(threshold)
    values = scores.numbers[column]
    known = values[~np.isnan(values)].astype(float)
    low, high = kind.limits or _limits(known)
    edges = _edges(low, high, at)
    counts, _ = np.histogram(np.clip(known, low, high), edges)
    figure = new_figure(7.0, 3.2)
    axes = figure.subplots()
    colours = [BELOW if middle < at else ABOVE for middle in (edges[:-1] + edges[1:]) / 2]
    axes.bar(edges[:-1], counts, 0.86 * np.diff(edges), align="edge", color=colours)
    axes.axvline(at, color=INK, linewidth=1.1)
    axes.set_xlim(low - 0.01 * (high - low), high + 0.01 * (high - low))
    axes.set_ylim(0, max(1.0, 1.14 * counts.max(initial=0)))
    axes.set_xlabel(kind.axis, fontsize=TEXT, color=SOFT, fontfamily=FONT)
    axes.set_ylabel("pictures", fontsize=TEXT, color=SOFT, fontfamily=FONT)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    plain_axes(axes)
    axes.grid(axis="y", color="#eeece7", linewidth=0.8)
    axes.set_axisbelow(True)
    below = int(np.sum(known < at))
    sides = ((f"{below:,} below", -6, "right", DIFFER), (f"{len(known) - below:,} at or above", 6, "left", MATCH))
    for text, offset, side, colour in sides:
        axes.annotate(
            text,
            (at, 1.0),
            (offset, -2),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha=side,
            va="top",
            fontsize=TEXT,
            fontweight="bold",
            color=colour,
            fontfamily=FONT,
        )
    if kind.limits is None and len(known) and known.min() < low:
        axes.annotate(
            f"≤ {low:g}", (low, 0), (0, 4), textcoords="offset points", fontsize=SMALL, color=SOFT, fontfamily=FONT
        )
    unscored = len(values) - len(known)
    title_of(figure, title or f"{len(values):,} rows" + (f", {unscored:,} without a score" if unscored else ""))
    return figure


def _limits(known: Float[np.ndarray, " rows"]) -> tuple[float, float]:
    """Limits of the axis: all high values, the low values without the farthest few per cent; at least -3 to 3."""
    if not len(known):
        return -3.0, 3.0
    low = np.floor(min(np.quantile(known, _FAR_SHARE, method="lower"), -3.0))
    return float(low), float(np.ceil(max(known.max(), 3.0)))


def _edges(low: float, high: float, at: float) -> Float[np.ndarray, " edges"]:
    """Edges of equal bars, one of them at the threshold, so that no bar lies on both sides."""
    width = (high - low) / _BINS
    if not low < at < high:
        return np.linspace(low, high, _BINS + 1)
    left, right = np.ceil((at - low) / width - 1e-9), np.ceil((high - at) / width - 1e-9)
    return at + width * np.arange(-left, right + 1)
