"""Scoring a whole data set against a stored reference shape, for a host's ``batch_processor``.

    processor = BatchProcessor(database, smpl_model)
    result = processor.process("anna", images, keypoints)

β is loaded once. Pictures are scored by one engine call per chunk. Chunks give progress, cancelling and bounded memory,
and change no result. Each chunk is stored in its own transaction, and storing a row again replaces it, so a run that
was cancelled or killed can be run again.
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
"""Pictures per chunk: multiples of the engine's tiles, about ten seconds of work on two cores."""

KeypointSource = Callable[[Sequence[str]], Sequence[Any]]
"""Function from names of pictures to the keypoints of each, in any form of ``adapters.host.inputs``, for example
MMPose."""


class Progress(Protocol):
    def __call__(self, done: int, total: int) -> None:
        """Report the numbers of pictures stored so far and in total."""
        ...


@dataclass(frozen=True)
class BatchResult:
    """Result of a run."""

    rows: Sequence[Mapping[str, Any]]
    """Rows as stored, in the order of the pictures: one per person, or one with status ``no_detection``."""
    by_status: Mapping[str, int]
    cancelled: bool
    """True if the run was cancelled; ``rows`` and the stored rows end there."""


class BatchProcessor:
    """Scores data sets against shapes in the host's database. Threads may share it."""

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
            reference_set: set of the references; rows carry its text.
            images: unique names of the pictures.
            keypoints: keypoints of each picture, in any form of ``adapters.host.inputs``; a function that is called
                for each chunk; or, fastest, a tuple of two arrays (N, K, 2) and (N, K), one person in every picture.
            on_progress: called after every chunk.
            cancelled: called before every chunk; True stops the run.

        Raises:
            NoSharedShape: the set has no up-to-date shape.
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
