"""The page of groups: the surest group first, with example pictures, and the pictures that fit their group least.

It is the page of scores with other numbers. No bodies are drawn, because a group has no reference.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from adapters.jobs.prepared import prepare
from adapters.keypoints.table import KeypointTable
from adapters.results.cluster_groups import SURE, Group, Membership, groups_by_certainty, memberships
from adapters.results.report.decision import result_digest
from adapters.results.report.fits import SeenKeypoints, seen_only
from adapters.results.report.page import PageParts, write_page
from adapters.results.report.page_data import ArrayBlock, add_fits, add_scores, drawing_texts, row_texts
from adapters.results.report.scores import Scores
from adapters.results.report.thumbnails import Thumbnail, empty_frame, person_box
from adapters.results.vocabulary import CLUSTER_TERMS, MARKS, MEMBERSHIP_LABELS, STATUS_WORDS
from engine import VERSION
from engine.body.model import BodyModel
from engine.scores import Status

EXAMPLES = 6
"""Pictures of a group that are shown beside its name."""

_LOOKS = ("match", "unclear", "unclear", "little", "doubt")
_NUMBERS = ("probability", "margin", "log_bayes_factor")


@dataclass(frozen=True)
class ClusterInputs:
    """The inputs of a page of groups."""

    rows: pa.Table
    """The rows of ``adapters.jobs.cluster_table``."""
    keypoints: KeypointTable
    """The rows' keypoints, in the same order."""
    body: BodyModel
    thumbnails: Sequence[Thumbnail | None]
    alike: Int[np.ndarray, " rows"]
    """``near_duplicates.first_alike``"""
    source: str
    """The name of the result."""
    title: str = "Who is built alike?"
    keep: tuple[Path, ...] = ()
    """Files and folders of the user that the folder of the pictures may not replace."""


def make_cluster_report(inputs: ClusterInputs, out: str | os.PathLike[str]) -> Path | None:
    """Write the page; returns the folder of the pictures if they are beside it.

    Raises:
        ValueError: the folder for the pictures holds other files.
    """
    table, scores = inputs.keypoints, _as_scores(inputs.rows)
    groups, kinds = groups_by_certainty(inputs.rows), memberships(inputs.rows)
    place = np.full(len(scores), -1, "<i4")
    for number, group in enumerate(groups):
        place[group.rows] = number
    prepared = prepare(inputs.body, table.schema)
    keypoints, confidence = prepared.columns(table)
    fits = seen_only(SeenKeypoints(table.status == Status.OK, keypoints, confidence, table.outline_px))
    boxes = [person_box(points, seen > 0) for points, seen in zip(fits.keypoints_px, fits.confidence, strict=True)]
    frames = [
        made.frame if made is not None else empty_frame(box) for made, box in zip(inputs.thumbnails, boxes, strict=True)
    ]
    block = ArrayBlock()
    add_scores(block, scores, np.zeros(len(scores), int))
    add_fits(block, fits, frames, np.array([made is not None for made in inputs.thumbnails], bool))
    block.add("kind", kinds)
    ranks, ranked = _ranks(scores.numbers["probability"], place)
    block.add("rank", ranks)
    block.add("reason", np.zeros(len(scores), np.uint8))
    block.add("group", place)
    block.add("alike", inputs.alike.astype("<u4"))
    manifest = {
        "title": inputs.title,
        "version": VERSION,
        "mode": "clusters",
        "source": inputs.source,
        "summary": {"rows": len(scores)},
        "notes": [],
        "people": [],
        "several": False,
        "lead": _lead(int(np.sum(kinds == Membership.BELONGS)), len(groups)),
        "groups": [f"cluster {group.number}" for group in groups],
        "group_words": [group_words(group) for group in groups],
        "examples": [_examples(group, inputs.alike) for group in groups],
        "grouped_by": "cluster",
        "digest": result_digest(scores),
        "body": inputs.body.name,
        "kinds": _kinds(),
        "marks": list(MARKS),
        "terms": dict(CLUSTER_TERMS),
        "status_words": dict(STATUS_WORDS),
        "reasons": [""],
        "ranked": ranked,
        **row_texts(scores),
        **drawing_texts(prepared.reduced.schema, inputs.body.parents),
        "arrays": block.entries,
    }
    return write_page(out, PageParts(manifest, block.text(), list(inputs.thumbnails)), inputs.keep)


def group_words(group: Group) -> str:
    """``24 pictures, about 22 belong``."""
    count = round(group.belonging)
    belong = "hardly any belongs" if group.belonging < 0.95 else f"about {count} belong{'s' if count == 1 else ''}"
    return f"{len(group.rows):,} pictures, {belong}"


def _lead(sure: int, groups: int) -> str:
    if not groups:
        return "No two of them could be grouped: these pictures are uninformative, or all show different bodies."
    if not sure:
        return "No picture certainly belongs to its cluster: these pictures are too uninformative to group by body."
    return f"{sure:,} belong to their cluster with a probability of {SURE} or more."


def _examples(group: Group, alike: Int[np.ndarray, " rows"]) -> list[int]:
    """The surest pictures of a group; only the surest of pictures that look alike."""
    _, surest = np.unique(alike[group.rows], return_index=True)
    return group.rows[np.sort(surest)[:EXAMPLES]].tolist()


def _kinds() -> list[dict[str, Any]]:
    return [
        {"name": kind.name.lower(), "label": label, "look": look}
        for (kind, label), look in zip(MEMBERSHIP_LABELS.items(), _LOOKS, strict=True)
    ]


def _ranks(probability: np.ndarray, place: Int[np.ndarray, " rows"]) -> tuple[Int[np.ndarray, " rows"], int]:
    """Ranks from 1 for the picture that fits its group least; 0 for pictures without a group."""
    rows = np.flatnonzero(place >= 0)
    ranks = np.zeros(len(place), "<u4")
    ranks[rows[np.argsort(probability[rows], kind="stable")]] = np.arange(1, len(rows) + 1)
    return ranks, len(rows)


def _as_scores(rows: pa.Table) -> Scores:
    return Scores(
        mode="free",
        image=[name or "" for name in rows["image"].to_pylist()],
        instance=rows["instance"].to_pylist(),
        status=rows["status"].to_pylist(),
        detail=[text or "" for text in rows["detail"].to_pylist()],
        numbers={name: np.asarray(rows[name].fill_null(np.nan), np.float32) for name in _NUMBERS},
        best_match=None,
        metadata={},
    )
