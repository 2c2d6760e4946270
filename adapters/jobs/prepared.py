"""Reduced bodies and contexts of fits, built once per body, keypoint schema and noise, and then reused.

Calls from all threads are computed one at a time: the engine keeps all cores busy by itself, and JAX's CPU backend can
lock up if two threads run batched linear algebra at once.
"""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np

from adapters.bodies.networks import amortised_model
from adapters.keypoints.table import KeypointTable
from engine.body.keypoint_body import KeypointBody, reduce_body
from engine.body.model import BodyModel
from engine.body.schemas import KeypointSchema
from engine.evidence.amortised.evidence import AmortisedModel
from engine.evidence.amortised.stage import joint_evidence, picture_evidence
from engine.evidence.calibration import Calibration, calibrated_noise
from engine.evidence.calibration_file import default_calibration
from engine.evidence.limbs import LimbModel, SeenLimbs, limb_logs, limb_slopes, with_limbs
from engine.evidence.stages import EvidenceStage, PictureEvidence
from engine.picture.noise import NoiseModel
from engine.posed.fit import POSED_NOISE, make_context
from engine.posed.outline_fit import Outlines, with_outlines
from engine.posed.outline_problem import OutlineBody, make_outline_body
from engine.posed.scoring import fit_own
from engine.posed.search import PosedContext
from engine.simulation.surface import make_surface

NETWORK_SOLVERS = ("amortised", "joint")
"""Sources of evidence that need the body's network: the network alone, and fits and network together."""

FitStage = Callable[[np.ndarray, np.ndarray], PictureEvidence]
"""The evidence of fits, which use keypoints and confidence."""
OutlineStage = Callable[[PictureEvidence, Outlines], PictureEvidence]
"""The evidence of fits with outlines, which start from those of keypoints."""

COMPUTING = threading.RLock()
"""Lock that is held while the engine computes."""


@dataclass(frozen=True, eq=False)
class PreparedBody:
    """One body, reduced to the keypoints of one detector."""

    body: BodyModel
    reduced: KeypointBody
    _contexts: dict[NoiseModel, PosedContext] = field(default_factory=dict)

    def context(self, calibration: Calibration | None = None) -> PosedContext:
        """The context of free-pose fits at the noise of a calibrated detector, by default the shipped calibration."""
        noise = calibrated_noise(POSED_NOISE, default_calibration() if calibration is None else calibration)
        with COMPUTING:
            if noise not in self._contexts:
                self._contexts[noise] = make_context(self.reduced, noise=noise)
            return self._contexts[noise]

    @cached_property
    def amortised(self) -> AmortisedModel | None:
        """The body's evidence network; None if it has no network.

        Raises:
            ValueError: a network is there but cannot be used.
        """
        return amortised_model(self.body)

    def free_solver(
        self, name: str = "auto", focal_length_px: float | None = None, shape_solvers: Collection[str] = ()
    ) -> str:
        """Source of the evidence of free poses, by ``free_solver`` of this module."""
        return free_solver(self.body, name, focal_length_px, shape_solvers)

    def evidence_stage(
        self, calibration: Calibration | None = None, solver: str = "auto", focal_length_px: float | None = None
    ) -> EvidenceStage:
        """The first stage of a score, for a calibrated detector, by default the shipped calibration."""
        stage = self.evidence_without_limbs(calibration, solver, focal_length_px)
        limbs = None if calibration is None else calibration.limbs
        return stage if limbs is None else partial(_with_limbs, stage, limbs, self.reduced.schema)

    def evidence_without_limbs(
        self, calibration: Calibration | None = None, solver: str = "auto", focal_length_px: float | None = None
    ) -> EvidenceStage:
        """``evidence_stage`` without the evidence of limbs, as shapes keep it."""
        chosen = self.free_solver(solver, focal_length_px)
        focal_px = np.inf if focal_length_px is None else focal_length_px
        if chosen not in NETWORK_SOLVERS or self.amortised is None:
            return partial(_fitted, partial(fit_own, self.context(calibration), solver=chosen, focal_px=focal_px))
        noise = calibrated_noise(POSED_NOISE, default_calibration() if calibration is None else calibration)
        network = partial(picture_evidence, self.amortised, self.reduced.schema, noise)
        if chosen == "amortised":
            return network
        context = self.context(calibration)
        outlined = partial(self._fit_outlines, context) if self.sees_outlines(chosen) else None
        return partial(_jointly, partial(fit_own, context), outlined, network)

    def sees_outlines(self, solver: str) -> bool:
        """True if a source of evidence uses outlines."""
        return solver in NETWORK_SOLVERS and self.amortised is not None and self.amortised.network.sees_outlines

    @cached_property
    def outline_body(self) -> OutlineBody:
        """The mesh behind silhouettes of fits.

        Raises:
            ValueError: the body has no mesh.
        """
        return make_outline_body(make_surface(self.body))

    def _fit_outlines(self, context: PosedContext, pictures: PictureEvidence, outlines: Outlines) -> PictureEvidence:
        return with_outlines(context, self.outline_body, pictures, outlines)

    @cached_property
    def limb_slopes(self) -> np.ndarray | None:
        """Change of limbs with β (``engine.evidence.limbs``); None if keypoints of limbs are missing."""
        return limb_slopes(self.reduced)

    def seen_limbs(self, keypoints: np.ndarray, confidence: np.ndarray) -> SeenLimbs | None:
        """Limbs of pictures in the body's columns; None if keypoints of limbs are missing."""
        if self.limb_slopes is None:
            return None
        return SeenLimbs(limb_logs(keypoints, confidence, self.reduced.schema), self.limb_slopes)

    def columns(self, table: KeypointTable) -> tuple[np.ndarray, np.ndarray]:
        """The table's keypoints and confidences in the order of the body's own keypoints.

        Raises:
            ValueError: the table lacks a keypoint of the body.
        """
        return body_columns(table, self.reduced)

    def seen(self, table: KeypointTable) -> "Seen":
        """The arguments of an evidence stage.

        Raises:
            ValueError: the table lacks a keypoint of the body.
        """
        return Seen(*self.columns(table), table.outline_px, table.clothes_m)


class Seen(NamedTuple):
    """Everything that was seen in pictures, in the body's columns."""

    keypoints: np.ndarray
    confidence: np.ndarray
    outline_px: np.ndarray | None = None
    clothes_m: np.ndarray | None = None

    def rows(self, chosen: np.ndarray) -> "Seen":
        """Some of the pictures."""
        outlined = (None if part is None else part[chosen] for part in (self.outline_px, self.clothes_m))
        return Seen(self.keypoints[chosen], self.confidence[chosen], *outlined)


def free_solver(
    body: BodyModel, name: str = "auto", focal_length_px: float | None = None, shape_solvers: Collection[str] = ()
) -> str:
    """Source of the evidence of free poses.

    ``auto`` is the source that the shapes to compare with have their evidence from, because a calibration holds for one
    source. Without shapes, and if they differ, it is the body's network (``amortised``); it is ``lm`` (fits) if the
    body has no network, or if the focal length is known, which the network does not take.

    Raises:
        ValueError: the network is requested, but the body has no network or the focal length is known.
    """
    if name == "auto":
        known = {solver if solver in NETWORK_SOLVERS else "lm" for solver in shape_solvers if solver != "auto"}
        if focal_length_px is not None:
            name = "lm"
        elif len(known) == 1:
            name = known.pop()
        else:
            name = "lm" if amortised_model(body) is None else "amortised"
    if name in NETWORK_SOLVERS and focal_length_px is not None:
        raise ValueError("the evidence network takes no focal length; use --solver lm with --focal-length")
    if name in NETWORK_SOLVERS and amortised_model(body) is None:
        raise ValueError(
            f"{body.name} has no evidence network; train one (samebody train-evidence --body FILE), or use --solver lm"
        )
    return name


def _with_limbs(
    stage: EvidenceStage,
    limbs: LimbModel,
    schema: KeypointSchema,
    keypoints: np.ndarray,
    confidence: np.ndarray,
    *outlined: np.ndarray | None,
) -> PictureEvidence:
    pictures = stage(keypoints, confidence, *outlined)
    logs = limb_logs(keypoints, confidence, schema)
    return pictures._replace(evidence=with_limbs(pictures.evidence, limbs, logs, np.asarray(pictures.known)))


def _fitted(
    fits: FitStage, keypoints: np.ndarray, confidence: np.ndarray, *outlined: np.ndarray | None
) -> PictureEvidence:
    return fits(keypoints, confidence)


def _jointly(
    fits: FitStage,
    outlined: OutlineStage | None,
    network: EvidenceStage,
    keypoints: np.ndarray,
    confidence: np.ndarray,
    outline_px: np.ndarray | None = None,
    clothes_m: np.ndarray | None = None,
) -> PictureEvidence:
    """Evidence of fits and of the network, with outlines in fits where clothes are known.

    Pictures with an outline in clothes that are not known have the evidence of the network alone: a fit would take a
    dress for the body.
    """
    fitted, seen = fits(keypoints, confidence), network(keypoints, confidence, outline_px, clothes_m)
    if outlined is None or outline_px is None or seen.outlined is None:
        return joint_evidence(fitted, seen)
    clothes = np.broadcast_to(np.asarray(np.nan if clothes_m is None else clothes_m, np.float32), len(keypoints))
    known = np.isfinite(clothes)
    if known.any():  # otherwise the mesh behind silhouettes need not be made
        fitted = outlined(fitted, Outlines(np.where(known[:, None, None], outline_px, np.nan), clothes))
    return joint_evidence(fitted, seen, alone=seen.outlined & ~known)


def body_columns(table: KeypointTable, body: KeypointBody) -> tuple[np.ndarray, np.ndarray]:
    """The table's keypoints and confidences in the order of the body's own keypoints.

    Raises:
        ValueError: the table lacks a keypoint of the body.
    """
    columns = table.schema.columns_of(body.schema.keypoint_names)
    if min(columns) < 0:
        missing = set(body.schema.keypoint_names) - set(table.schema.keypoint_names)
        raise ValueError(
            f"the keypoints are {table.schema.name}, but {body.schema.name} is needed: "
            f"{', '.join(sorted(missing))} are not among them"
        )
    if columns == tuple(range(len(table.schema))):
        return table.keypoints, table.confidence
    return np.ascontiguousarray(table.keypoints[:, columns]), np.ascontiguousarray(table.confidence[:, columns])


@dataclass(frozen=True)
class _Key:
    """Two bodies with one key give β the same meaning and have the same keypoints."""

    fingerprint: str
    keypoint_names: tuple[str, ...]
    beta_count: int
    schema: KeypointSchema
    body: BodyModel = field(compare=False)


@lru_cache(maxsize=8)
def _prepared(key: _Key) -> PreparedBody:
    return PreparedBody(key.body, reduce_body(key.body, key.schema))


def prepare(body: BodyModel, schema: KeypointSchema) -> PreparedBody:
    """A body reduced to the keypoints of a schema; built when it is first asked for.

    Raises:
        ValueError: the body has none of the schema's keypoints.
    """
    with COMPUTING:
        return _prepared(_Key(body.fingerprint, body.keypoint_names, body.beta_count, schema, body))
