"""The page's data for a user's decisions: kinds, queue, reasons, groups, and the words for all of them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from adapters.keypoints.clips import clip_of
from adapters.results.ranking import Queue, clip_weights, make_queue, with_alike
from adapters.results.report.page_data import ArrayBlock
from adapters.results.report.scores import SORT_COLUMN, Scores
from adapters.results.vocabulary import KIND_LABELS, MARKS, RANKED, STATUS_WORDS, TERMS, Kind, row_kinds

_LOOKS = {
    Kind.ANOTHER_BODY: "differ",
    Kind.UNDECIDED: "unclear",
    Kind.SAME_BODY: "match",
    Kind.TOO_LITTLE: "little",
    Kind.DETECTOR_UNSURE: "doubt",
    Kind.SCORED: "unclear",
}
"""Classes of the style sheet."""


@dataclass(frozen=True)
class Decision:
    """The data of each row before anybody has looked at it."""

    kinds: UInt8[np.ndarray, " rows"]
    ranks: Int[np.ndarray, " rows"]
    """Rank from 1; 0 for rows that are not in the queue."""
    shares: tuple[float, float] | None
    """Lower and upper decile of the share of other bodies; None if unknown."""
    ranked: int
    """Number of rows in the queue, including rows that a page leaves out."""

    def on_page(self, chosen: Int[np.ndarray, " some"], page: "Decision") -> "Decision":
        """The rows of a page, with their ranks among all rows; ``page`` is the decision about them alone."""
        return replace(page, ranks=self.ranks[chosen], ranked=self.ranked)


def queue_of(
    scores: Scores, first: Int[np.ndarray, " rows"] | None = None, of_a_detector: bool = False
) -> tuple[UInt8[np.ndarray, " rows"], Queue]:
    """The kind of each row, and the rows to look at first.

    Args:
        first: for each row, the first of the pictures that look like it (``near_duplicates.first_alike``).
        of_a_detector: True if the calibration is a detector's; otherwise the queue has no expected share (``ranking``).
    """
    numbers = scores.numbers
    kinds = row_kinds(scores.status, numbers.get("same_body_probability"), numbers["consistency"])
    evidence = numbers[SORT_COLUMN[scores.mode]]
    information = numbers.get("information_bits", np.zeros_like(evidence))
    clips = [clip_of(name) for name in scores.image]
    if first is not None:
        clips = with_alike(clips, first)
    weights = clip_weights(clips) if scores.mode == "free" and of_a_detector else None
    return kinds, make_queue(evidence, information, np.isin(kinds, RANKED), weights)


def decide(scores: Scores, first: Int[np.ndarray, " rows"] | None = None, of_a_detector: bool = False) -> Decision:
    """Kinds and ranks of all rows of a result; the arguments are those of ``queue_of``."""
    kinds, queue = queue_of(scores, first, of_a_detector)
    return Decision(kinds, queue.ranks(len(scores)), queue.shares, len(queue.order))


def add_decision(
    block: ArrayBlock,
    decision: Decision,
    reasons: Sequence[str],
    group: Int[np.ndarray, " rows"],
    first: Int[np.ndarray, " rows"],
) -> dict[str, Any]:
    """Put the arrays into the block; returns their entries for the manifest.

    Args:
        reasons: each row's reason in words; empty if nothing is unusual.
        group: the person or cluster of each row.
        first: see ``queue_of``.
    """
    words = sorted({"", *reasons})
    place = {text: number for number, text in enumerate(words)}
    block.add("kind", decision.kinds)
    block.add("rank", decision.ranks.astype("<u4"))
    block.add("reason", np.array([place[text] for text in reasons], np.uint8))
    block.add("group", group.astype("<i4"))
    block.add("alike", first.astype("<u4"))
    return {
        "kinds": [{"name": kind.name.lower(), "label": KIND_LABELS[kind], "look": _LOOKS[kind]} for kind in Kind],
        "marks": list(MARKS),
        "terms": dict(TERMS),
        "status_words": dict(STATUS_WORDS),
        "reasons": words,
        "ranked": decision.ranked,
        "shares": None if decision.shares is None else list(decision.shares),
    }


def result_digest(scores: Scores) -> str:
    """Sixteen hexadecimal digits that change with any name or number of a result: marks of a page belong to it."""
    digest = hashlib.sha256()
    for name, instance in zip(scores.image, scores.instance, strict=True):
        digest.update(f"{name}\n{instance}\n".encode("utf-8", "surrogatepass"))
    for name, values in scores.numbers.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]
