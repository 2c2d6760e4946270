"""Scoring a whole data set against a stored reference shape: what a host's ``batch_processor`` calls.

    processor = BatchProcessor(database, smpl_model)
    result = processor.process("anna", images, keypoints)

β is loaded once. Pictures are scored by one engine call per chunk; chunks exist for progress, cancelling and bounded
memory, and change no result. Each chunk is stored in a transaction of its own, and storing a row again replaces it: a
run that was cancelled or died is simply run again.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from adapters.host.database.connect import HostDatabase
from adapters.host.database.score_store import score_rows, store_scores
from adapters.host.database.shape_store import load_shared_shape
from adapters.host.inputs import array_table, as_body, keypoint_table
from adapters.jobs.scorer import Scorer
from adapters.keypoints.table import KeypointTable
from engine.body.schemas import COCO_17, KeypointSchema
from engine.scores import Mode

_CHUNK_SIZE: Mapping[Mode, int] = {"free": 1024, "rest": 16384}
"""Multiples of the engine's tiles; about ten seconds of work on two cores."""

KeypointSource = Callable[[Sequence[str]], Sequence[Any]]
"""From the names of some pictures to the keypoints of each, in any form of ``host_inputs``: MMPose on a chunk, say."""


class Progress(Protocol):
    def __call__(self, done: int, total: int) -> None:
        """Pictures stored so far, and in all."""
        ...


@dataclass(frozen=True)
class BatchResult:
    """What a run did."""

    rows: Sequence[Mapping[str, Any]]
    """As they were stored, in the order of the pictures: a row per person, or one that says that nobody was found."""
    by_status: Mapping[str, int]
    cancelled: bool
    """Then ``rows`` ends where the run was stopped, and so does what was stored."""


class BatchProcessor:
    """Scores data sets against shapes in the host's database. May be shared by threads."""

    def __init__(self, database: HostDatabase, smpl_model: Any, schema: KeypointSchema = COCO_17) -> None:
        """
        Args:
            smpl_model: the body that the stored shapes belong to; see ``smpl_optimizer``.
            schema: the keypoints of the data sets.
        """
        self._database = database
        self._body = as_body(smpl_model)
        self._schema = schema

    def process(
        self,
        reference_set: Any,
        images: Sequence[str],
        keypoints: Sequence[Any] | KeypointSource | tuple[Any, Any],
        on_progress: Progress = lambda done, total: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> BatchResult:
        """Score every person in every picture, in the mode that the shape was fitted in, and store the rows.

        Args:
            reference_set: as in the references; its text is what the rows say.
            images: how the pictures are called; each once.
            keypoints: of each picture, in any form of ``host_inputs``; a function that is asked for them chunk by
                chunk; or, fastest, a tuple of two arrays (N, K, 2) and (N, K) with one person in every picture.
            on_progress: called after every chunk.
            cancelled: asked before every chunk; True stops the run.

        Raises:
            NoSharedShape: the set has no shape that is up to date.
            ValueError: the shape belongs to another body, a picture is named twice, or numbers of pictures differ.
        """
        if len(set(images)) != len(images):
            ((image, _),) = Counter(images).most_common(1)
            raise ValueError(f"{image} is named more than once; its rows could not be told apart")
        shape = load_shared_shape(self._database, reference_set)
        scorer = Scorer(self._body, self._schema, shape)
        rows: list[Mapping[str, Any]] = []
        statuses: Counter[str] = Counter()
        chunk = _CHUNK_SIZE[scorer.mode]
        for start in range(0, len(images), chunk):
            if cancelled():
                return BatchResult(rows, dict(statuses), cancelled=True)
            named = images[start : start + chunk]
            table = self._table(named, keypoints, start, len(images))
            scores = scorer(table)
            made = score_rows(str(reference_set), shape.digest, scores)
            with self._database.sessions.begin() as session:
                store_scores(session, self._database.scores, made)
            rows += made
            statuses.update(row["status"] for row in made)
            on_progress(start + len(named), len(images))
        return BatchResult(rows, dict(statuses), cancelled=False)

    def _table(
        self,
        images: Sequence[str],
        keypoints: Sequence[Any] | KeypointSource | tuple[Any, Any],
        start: int,
        total: int,
    ) -> KeypointTable:
        stop = start + len(images)
        if callable(keypoints):
            return keypoint_table(images, keypoints(images), self._schema)
        if isinstance(keypoints, tuple) and len(keypoints) == 2 and np.ndim(keypoints[0]) == 3:
            points, confidence = keypoints
            if len(points) != total or len(confidence) != total:
                raise ValueError(f"{total} pictures, keypoints for {len(points)} and confidence for {len(confidence)}")
            return array_table(images, points[start:stop], confidence[start:stop], self._schema)
        if len(keypoints) != total:
            raise ValueError(f"{total} pictures, keypoints for {len(keypoints)}")
        return keypoint_table(images, keypoints[start:stop], self._schema)
