"""Summary of a result for a notebook: counts, verdicts, a histogram and the rows at both ends.

The HTML has no scripts, no style sheets and no external content; all names are escaped.
"""

import base64
from html import escape
from typing import Any

import numpy as np

from adapters.results.plots.histograms import score_histogram
from adapters.results.plots.style import ABOVE, BELOW, DIFFER, INK, MATCH, SOFT
from adapters.results.report.scores import SORT_COLUMN, Scores
from adapters.results.report.summary import summarise
from adapters.results.vocabulary import KIND_LABELS, Kind

_ENDS = 5
"""Number of rows shown at each end."""
_WORDS = {"log_bayes_factor": "evidence, nats", "consistency": "consistency"}
_BOX = f"font:14px/1.45 system-ui,sans-serif;color:{INK};background:#fff;padding:12px 16px;max-width:760px"
_CELL = "padding:2px 10px 2px 0;border:0;background:none"


def scores_html(scores: Scores, name: str) -> str:
    """The summary as HTML.

    Args:
        name: name of the result file.
    """
    summary = summarise(scores)
    median = summary["median_consistency"]
    statuses = ", ".join(f"{count:,} {escape(status)}" for status, count in summary["by_status"].items())
    lines = [
        f'<p style="margin:0"><b>{escape(name)}</b>: {len(scores):,} rows ({statuses or "none"})'
        + ("" if median is None or scores.mode == "free" else f"; median consistency {median:.2f}")
        + "</p>",
        _verdicts(summary) if "match" in summary else "",
        f'<img alt="{escape(_alternative(scores))}" style="width:100%;max-width:640px" src="{_histogram(scores)}">',
        _ends(scores),
    ]
    return f'<div style="{_BOX}">{"".join(lines)}</div>'


def _verdicts(summary: dict[str, Any]) -> str:
    boxes = [
        (summary["match"], KIND_LABELS[Kind.SAME_BODY], f"probability {summary['match_at']} or more", MATCH, "#d8edf0"),
        (
            summary["differ"],
            KIND_LABELS[Kind.ANOTHER_BODY],
            f"probability {summary['differ_at']} or less",
            DIFFER,
            "#fbe5d6",
        ),
        (summary["unclear"], KIND_LABELS[Kind.UNDECIDED], "one picture is often uninformative", SOFT, "#e8e8e6"),
    ]
    shown = "".join(
        f'<div style="flex:1;background:{ground};color:{colour};border-radius:10px;padding:6px 12px">'
        f'<b style="font-size:22px">{count:,}</b> <b>{word}</b><br><small>{why}</small></div>'
        for count, word, why, colour, ground in boxes
    )
    return f'<div style="display:flex;gap:8px;margin:8px 0">{shown}</div>'


def _histogram(scores: Scores) -> str:
    # The figure is in an image element, so that it cannot clash with another figure of the same notebook.
    svg = score_histogram(scores).encoded("svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _alternative(scores: Scores) -> str:
    column = SORT_COLUMN[scores.mode]
    known = scores.numbers[column][~np.isnan(scores.numbers[column])]
    if not len(known):
        return f"Histogram of {column}: no row has a score."
    return f"Histogram of {column}: {len(known):,} rows from {known.min():.2f} to {known.max():.2f}."


def _ends(scores: Scores) -> str:
    """The rows that score lowest and highest."""
    column = SORT_COLUMN[scores.mode]
    values = scores.numbers[column]
    order = np.argsort(values, kind="stable")[: int(np.sum(~np.isnan(values)))]
    if not len(order):
        return ""
    ends = [("lowest", order[:_ENDS])]
    if len(order) > _ENDS:
        ends.append(("highest", order[-min(_ENDS, len(order) - _ENDS) :][::-1]))
    return "".join(_table(scores, column, word, rows) for word, rows in ends)


def _table(scores: Scores, column: str, word: str, rows: np.ndarray) -> str:
    words = {column: _WORDS[column], "same_body_probability": "probability", "information_bits": "bits"}
    shown = [name for name in words if name in scores.numbers]
    heads = "".join(
        f'<th style="{_CELL};text-align:{"left" if i == 0 else "right"};color:{SOFT};font-weight:600">{text}</th>'
        for i, text in enumerate((word, *(words[name] for name in shown)))
    )
    body = "".join(
        f'<tr style="background:none"><td style="{_CELL};text-align:left">{_who(scores, row)}</td>'
        + "".join(
            f'<td style="{_CELL};text-align:right;font-variant-numeric:tabular-nums">'
            f"{_number(name, float(scores.numbers[name][row]))}</td>"
            for name in shown
        )
        + "</tr>"
        for row in rows
    )
    line = f"border-left:3px solid {ABOVE if word == 'highest' else BELOW};padding-left:8px"
    return (
        f'<div style="display:inline-block;vertical-align:top;margin:6px 14px 0 0;{line}">'
        f'<table style="border-collapse:collapse;margin:0;font-size:13px"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _number(column: str, value: float) -> str:
    return f"{value:{'+' if column == 'log_bayes_factor' else ''}.2f}".replace("-", "−")


def _who(scores: Scores, row: int) -> str:
    image, instance = scores.image[row], scores.instance[row]
    who = escape(image) + (f", person {instance}" if instance > 0 else "")
    return who + (f" ({escape(scores.best_match[row])})" if scores.best_match else "")
