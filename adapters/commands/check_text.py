"""What ``samebody check`` prints: how many of which kind, the references, and the pictures to look at first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Int

from adapters.results.vocabulary import KIND_LABELS, RANKED, Kind, row_kinds

if TYPE_CHECKING:
    import numpy as np

    from adapters.jobs.check import Check
    from adapters.results.ranking import Queue
    from adapters.results.scores import Scores


FIRST = 20
COLUMNS = ("rank", "evidence", "picture", "kind", "what differs most")

_CALIBRATED = {
    "given": "the given calibration",
    "pictures": "calibrated on these pictures",
    "shipped": "the shipped calibration",
}


@dataclass(frozen=True)
class CheckText:
    """The lines and the table."""

    lines: tuple[str, ...]
    title: str
    first: tuple[tuple[str, ...], ...]
    """Rows of ``COLUMNS``; of pictures that look alike, only the first."""


def summary_of(found: Check, scores: Scores, alike: Int[np.ndarray, " rows"]) -> CheckText:
    """A check in words.

    Args:
        alike: of each row, the first picture of those that look like it.
    """
    import numpy as np

    from adapters.keypoints.clips import clip_of
    from adapters.results.ranking import clip_weights, make_queue, with_alike

    probability = scores.numbers.get("same_body_probability")
    kinds = row_kinds(scores.labels, probability, scores.numbers["consistency"])
    counts = ", ".join(f"{int(np.sum(kinds == kind)):,} {KIND_LABELS[kind]}" for kind in Kind if np.any(kinds == kind))
    names = scores.image.to_pylist()
    people = _people(int(np.sum(scores.instance >= 0)), len(set(names)))
    counted = found.calibration.of_a_detector
    weights = clip_weights(with_alike([clip_of(name) for name in names], alike)) if counted else None
    evidence, bits = scores.numbers["log_bayes_factor"], scores.numbers["information_bits"]
    queue = make_queue(evidence, bits, np.isin(kinds, RANKED), weights)
    heads = _heads(queue, alike)
    first = tuple(
        (
            str(place),
            f"{round(float(evidence[row]), 1) + 0.0:+.1f}",  # never -0.0
            _name(names[row], int(scores.instance[row]), count),
            KIND_LABELS[Kind(kinds[row])],
            found.reasons[row],
        )
        for place, (row, count) in enumerate(heads[:FIRST], 1)
    )
    return CheckText(
        lines=(f"{people}, {_CALIBRATED[found.calibrated_by]}", counts, _references(found)),
        title=_title(queue, [row for row, _ in heads[:FIRST]]),
        first=first,
    )


def _people(people: int, pictures: int) -> str:
    """``1 person in 3 pictures``; rows of pictures without anybody are no people."""
    who, what = "person" if people == 1 else "people", "picture" if pictures == 1 else "pictures"
    return f"{people:,} {who} in {pictures:,} {what}"


def failed_pictures(scores: Scores) -> dict[str, list[str]]:
    """Names of the pictures with a row that could not be scored, by status."""
    from engine.scores import LABELS, SCORED

    failed: dict[str, list[str]] = {}
    for name, status in zip(scores.image.to_pylist(), scores.status.tolist(), strict=True):
        if status not in SCORED:
            failed.setdefault(LABELS[status], []).append(name)
    return failed


def _heads(queue: Queue, alike: Int[np.ndarray, " rows"]) -> list[tuple[int, int]]:
    """The first row of each group of pictures that look alike, in the order of the queue, and the size of the group."""
    sizes: dict[int, int] = {}
    for group in alike[queue.order].tolist():
        sizes[group] = sizes.get(group, 0) + 1
    heads, seen = [], set()
    for row in queue.order.tolist():
        group = int(alike[row])
        if group not in seen:
            seen.add(group)
            heads.append((row, sizes[group]))
    return heads


def _title(queue: Queue, rows: list[int]) -> str:
    import numpy as np

    from adapters.results.ranking import range_of_others

    if queue.shares is None or not rows:
        return "look at these first, the most unlike the references first (uncalibrated: their order counts, not 0)"
    low, high = range_of_others(queue.evidence[np.isin(queue.order, rows)], queue.shares)
    return f"look at these first: expect {low} to {high} of {len(rows)} to show another body"


def _name(image: str, instance: int, alike: int) -> str:
    who = f", person {instance + 1}" if instance > 0 else ""
    return f"{image}{who}" + (f" (+{alike - 1} alike)" if alike > 1 else "")


def _references(found: Check) -> str:
    used, whole = found.shape.used_references, len(found.shape.references)
    counts = f"references: {used} of {whole} used" if used < whole else f"references: {used} used"
    disagree = [one for one in found.references if one.disagrees]
    if not disagree:
        return f"{counts}, none disagrees with the others" if found.references else counts
    named = "; ".join(f"{one.image}{f' ({one.reason})' if one.reason else ''}" for one in disagree[:5])
    more = f" and {len(disagree) - 5} more" if len(disagree) > 5 else ""
    verb = "disagrees" if len(disagree) == 1 else "disagree"
    return f"{counts}, {len(disagree)} {verb} with the others: {named}{more}"
