"""The engine as host applications see it: fit one shape to references, score pictures against a shape.

    engine = shape_engine(smpl_model, schema)         built once per body and schema, then found again
    shape = engine.fit(references)                    a ``Shape``: β, evidence, history
    scores = engine.score(pictures, shape)

One call at a time is computed, whatever thread it comes from: the engine keeps all cores busy by itself, and JAX's CPU
backend can lock up where two threads run batched linear algebra at once.
"""

import threading
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float32, Int8

from adapters.host.inputs import BETA_COUNT, as_body
from adapters.jobs.fit import body_columns, fit_rows
from adapters.keypoints.table import KeypointTable
from engine.body.keypoint_body import KeypointBody, reduce_body
from engine.body.model import BodyModel
from engine.body.schemas import COCO_17, KeypointSchema
from engine.evidence.shape_evidence import Evidence
from engine.posed.fit import make_context
from engine.posed.scoring import score_posed_pictures
from engine.posed.search import PosedContext
from engine.rest.fit import score_rest_pictures
from engine.scores import SCORE_NAMES, Mode, Status
from engine.shape import Shape

_NEEDS_REFERENCE_EVIDENCE = ("same_body_probability", "log_bayes_factor")

_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class ScoreColumns:
    """Scores of many pictures, one row per row of the table that was scored."""

    status: Int8[np.ndarray, " images"]
    numbers: dict[str, Float32[np.ndarray, " images"]]
    """One array for each of ``engine.scores.SCORE_NAMES``; NaN where a number cannot be given."""


@dataclass(frozen=True, eq=False)
class ShapeEngine:
    """One body, as one detector sees it."""

    body: BodyModel
    reduced: KeypointBody

    @cached_property
    def _context(self) -> PosedContext:
        return make_context(self.reduced)

    def _check_keypoints(self, table: KeypointTable) -> None:
        missing = set(self.reduced.schema.keypoint_names) - set(table.schema.keypoint_names)
        if missing:
            raise ValueError(
                f"the keypoints are {table.schema.name}, this engine was made for {self.reduced.schema.name}: "
                f"{', '.join(sorted(missing))} are not among them"
            )

    def fit(self, references: KeypointTable, mode: Mode = "free") -> Shape:
        """One shape for everybody in the table.

        Raises:
            ValueError: nobody has enough keypoints.
        """
        rows = np.flatnonzero(references.status == Status.OK)
        if not len(rows):
            raise ValueError("nobody was found in the reference pictures; there is nothing to fit")
        self._check_keypoints(references)
        with _ONE_AT_A_TIME:
            context = None if mode == "rest" else self._context
            return fit_rows(references, rows, self.body, self.reduced, context)

    def score(
        self, pictures: KeypointTable, reference: Shape | Float32[np.ndarray, " betas"], mode: Mode = "free"
    ) -> ScoreColumns:
        """Every row of the table against one shape, in one engine call.

        Args:
            reference: a shape with what its references said; or β alone. Then consistency is the same, for it needs
                nothing but β; probability and Bayes factor, which need to know how sure β is, are NaN.

        Raises:
            ValueError: the table's keypoints are not this engine's.
        """
        self._check_keypoints(pictures)
        keypoints, confidence = body_columns(pictures, self.reduced)
        if isinstance(reference, np.ndarray):
            reference = Shape(reference, self.body.name, self.body.fingerprint, self.reduced.schema.name, mode)
        with _ONE_AT_A_TIME:
            if mode == "rest":
                scores: Any = score_rest_pictures(self.reduced, reference.betas, keypoints, confidence)
            else:
                known = _no_evidence() if reference.evidence is None else reference.evidence
                person = replace(reference, evidence=known)
                scores = score_posed_pictures(self._context, person, keypoints, confidence)
        unknown = np.full(len(pictures), np.nan, np.float32)
        numbers = {name: np.asarray(getattr(scores, name, unknown), np.float32) for name in SCORE_NAMES}
        if reference.evidence is None:
            numbers |= dict.fromkeys(_NEEDS_REFERENCE_EVIDENCE, unknown)
        # A row that could not be read keeps its own status; the engine only saw a picture without keypoints.
        status = np.where(pictures.status == Status.OK, scores.status, pictures.status).astype(np.int8)
        return ScoreColumns(status, numbers)


def _no_evidence() -> Evidence:
    return Evidence(np.zeros((BETA_COUNT, BETA_COUNT), np.float32), np.zeros(BETA_COUNT, np.float32))


@dataclass(frozen=True)
class _Key:
    """Two bodies with one key give β the same meaning and are seen alike."""

    fingerprint: str
    keypoint_names: tuple[str, ...]
    schema: KeypointSchema
    body: BodyModel = field(compare=False)


_building = threading.Lock()


@lru_cache(maxsize=8)
def _built(key: _Key) -> ShapeEngine:
    return ShapeEngine(key.body, reduce_body(key.body, key.schema))


def shape_engine(smpl_model: Any, schema: KeypointSchema = COCO_17) -> ShapeEngine:
    """The engine of a body (``host_inputs.as_body``) and a schema; built when it is first asked for.

    Raises:
        ValueError: it is no body, or has none of the schema's keypoints.
    """
    body = as_body(smpl_model)
    with _building:
        return _built(_Key(body.fingerprint, body.keypoint_names, schema, body))
