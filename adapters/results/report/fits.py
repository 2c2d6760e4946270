"""Fits the rows of a page, to draw poses, cameras, keypoints and own shapes.

Result files hold scores and no poses. Evidence and fits are deterministic, so computing them again gives those behind
the scores. Evidence from the network has no poses; then each picture is fitted at the reference shape, and from that
pose at its own. A row is found in the keypoint files by the name of its picture and its instance number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.spatial.transform import Rotation

from adapters.jobs.prepared import PreparedBody, body_columns
from adapters.keypoints.readers import KeypointSource
from adapters.keypoints.table import KeypointTable
from adapters.results.reasons import compare_proportions
from adapters.results.report.limbs import compare_limbs
from adapters.results.report.scores import Scores
from engine.batching import AnyArray
from engine.body.keypoint_body import KeypointBody
from engine.evidence.calibration import Calibration, calibrated_pictures
from engine.evidence.shape_evidence import Evidence
from engine.evidence.stages import EvidenceStage, PictureEvidence, calibrated_people
from engine.picture.cameras import WeakPerspective
from engine.picture.outline_places import PLACES, SIDES
from engine.posed.fit import fit_poses, observe_pictures
from engine.posed.outline_fit import Outlines, fit_outlines
from engine.posed.outline_problem import OutlineBody
from engine.posed.results import Described, PosedFit
from engine.posed.scoring import excess_energy, fit_near
from engine.posed.search import PosedContext
from engine.scores import Status
from engine.shape import Shape

_CHUNK_SIZE = 4096


@dataclass(frozen=True)
class SeenKeypoints:
    """Detected keypoints of each row, in the order of the body's schema; rows that were not found have none."""

    found: Bool[np.ndarray, " rows"]
    keypoints_px: Float32[np.ndarray, "rows keypoints 2"]
    confidence: Float32[np.ndarray, "rows keypoints"]
    outline_px: Float32[np.ndarray, "rows places 2"] | None = None
    """NaN where nothing was seen; None if no row has an outline."""
    clothes_m: Float32[np.ndarray, " rows"] | None = None
    """NaN where the clothes are not known; None if those of no row are."""


@dataclass(frozen=True)
class Fits:
    """The drawn data of each row. Rows that could not be fitted are not ``drawn`` and hold zeros."""

    drawn: Bool[np.ndarray, " rows"]
    keypoints_px: Float[np.ndarray, "rows keypoints 2"]
    """Keypoints with swapped left/right labels of arms or legs corrected."""
    residuals_px: Float[np.ndarray, "rows keypoints 2"]
    """Seen minus modelled, at the reference shape."""
    confidence: Float[np.ndarray, "rows keypoints"]
    reference_pose: Float[np.ndarray, "rows joints 3"]
    """Rotation vectors of at most π, global orientation first."""
    reference_camera: Float[np.ndarray, "rows 3"]
    """Pixels per metre, and the place of the body's origin in pixels."""
    own_pose: Float[np.ndarray, "rows joints 3"]
    own_camera: Float[np.ndarray, "rows 3"]
    own_betas: Float[np.ndarray, "rows betas"]
    """The most probable body given the picture's calibrated evidence, which is the evidence behind the scores. If a
    picture is noisier than was assumed, this body is nearer to the average person than its fit."""
    person: Int[np.ndarray, " rows"]
    """Index of the reference among the shapes."""
    limb_change: Float[np.ndarray, "rows limbs"]
    """``limbs.LimbChanges``."""
    limb_deviation: Float[np.ndarray, "rows limbs"]
    limb_shown: Float[np.ndarray, "rows limbs"]
    proportion_deviations: Float[np.ndarray, "rows proportions"]
    """``reasons.Differences``."""


def find_keypoints(scores: Scores, source: KeypointSource, body: KeypointBody) -> SeenKeypoints:
    """The keypoints of every row of a result, at any place in the files.

    Raises:
        ValueError: the files cannot be read, or hold none of the rows.
    """
    place = {key: row for row, key in enumerate(zip(scores.image, scores.instance, strict=True))}
    count, width = len(scores), len(body.schema)
    seen = SeenKeypoints(
        np.zeros(count, bool), np.zeros((count, width, 2), np.float32), np.zeros((count, width), np.float32)
    )
    outlines, outlined = np.full((count, len(PLACES), SIDES), np.nan, np.float32), False
    clothes, dressed = np.full(count, np.nan, np.float32), False
    met = 0
    for table in source:
        rows, places = _matches(table, place)
        met += len(rows)
        keypoints, confidence = body_columns(table, body)
        seen.keypoints_px[places], seen.confidence[places] = keypoints[rows], confidence[rows]
        seen.found[places] = table.status[rows] == Status.OK
        if table.outline_px is not None:
            outlines[places], outlined = table.outline_px[rows], True
        if table.clothes_m is not None:
            clothes[places], dressed = table.clothes_m[rows], True
    if count and not met:
        raise ValueError("the keypoint files hold none of the pictures of the scores; give those that were scored")
    return replace(seen, outline_px=outlines if outlined else None, clothes_m=clothes if dressed else None)


def _matches(table: KeypointTable, place: dict[tuple[str, int], int]) -> tuple[list[int], list[int]]:
    keys = zip(table.image.to_pylist(), table.instance.tolist(), strict=True)
    found = [(row, place[key]) for row, key in enumerate(keys) if key in place]
    return [row for row, _ in found], [at for _, at in found]


@dataclass(frozen=True, eq=False)
class Fitter:
    """Everything that fits of pictures need."""

    context: PosedContext
    evidence_stage: EvidenceStage
    """The source of the scores' evidence."""
    calibration: Calibration
    outline_body: Callable[[], OutlineBody] | None = None
    """Gives the mesh behind silhouettes; without it, outlines are not fitted."""

    @classmethod
    def of(cls, prepared: PreparedBody, people: Sequence[Shape], calibration: Calibration) -> "Fitter":
        """The fitter for scores against these shapes.

        Raises:
            ValueError: the shapes have evidence of the body's network, which is missing.
        """
        solver = prepared.free_solver(shape_solvers=[shape.solver for shape in people])
        context, stage = prepared.context(calibration), prepared.evidence_stage(calibration, solver)
        return cls(
            context, stage, calibration, (lambda: prepared.outline_body) if prepared.sees_outlines(solver) else None
        )


def fit_rows(
    fitter: Fitter,
    seen: SeenKeypoints,
    people: Sequence[Shape],
    person: Int[np.ndarray, " rows"],
    on_progress: Callable[[int, int | None], None] = lambda done, expected: None,
    chosen: Bool[np.ndarray, " rows"] | None = None,
) -> Fits:
    """Fit every row that was found with its own shape and with its reference's.

    Args:
        person: the index in ``people`` of the person that each row is compared with.
        on_progress: called with rows done and rows in all.
        chosen: the rows to fit; all by default. The others keep their keypoints.

    Raises:
        ValueError: a shape was fitted in rest pose.
    """
    rows = np.flatnonzero(seen.found if chosen is None else seen.found & chosen)
    evidence = calibrated_people(people, fitter.calibration)
    betas = np.stack([one.betas for one in people])
    parts = []
    on_progress(0, len(rows))
    # An empty page still makes one, empty, part.
    for start in range(0, max(len(rows), 1), _CHUNK_SIZE):
        at = rows[start : start + _CHUNK_SIZE]
        whose = person[at]
        theirs = Evidence(*(np.asarray(part)[whose] for part in evidence))
        parts.append(_fit_part(fitter, seen, at, whose, betas[whose], theirs))
        on_progress(start + len(at), len(rows))
    fitted = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    whole = {name: _spread(values, rows, len(seen.found)) for name, values in fitted.items()}
    kept = seen.found.copy()
    kept[rows] = False
    whole["keypoints_px"][kept], whole["confidence"][kept] = seen.keypoints_px[kept], seen.confidence[kept]
    return Fits(**{**whole, "person": np.asarray(person)})


def nobody(count: int) -> SeenKeypoints:
    """Rows with scores only."""
    return SeenKeypoints(np.zeros(count, bool), np.zeros((count, 0, 2), np.float32), np.zeros((count, 0), np.float32))


def seen_only(seen: SeenKeypoints) -> Fits:
    """Keypoints without fits, for a page that can draw no body."""
    count = len(seen.found)
    empty = np.zeros((count, 0))
    return Fits(
        drawn=np.zeros(count, bool),
        keypoints_px=seen.keypoints_px,
        residuals_px=np.zeros_like(seen.keypoints_px),
        confidence=np.where(seen.found[:, None], seen.confidence, 0),
        reference_pose=np.zeros((count, 0, 3)),
        reference_camera=np.zeros((count, 3)),
        own_pose=np.zeros((count, 0, 3)),
        own_camera=np.zeros((count, 3)),
        own_betas=empty,
        person=np.zeros(count, int),
        limb_change=empty,
        limb_deviation=empty,
        limb_shown=empty,
        proportion_deviations=empty,
    )


def _fit_part(
    fitter: Fitter,
    seen: SeenKeypoints,
    at: Int[np.ndarray, " part"],
    person: Int[np.ndarray, " part"],
    betas: Float[np.ndarray, "part betas"],
    evidence: Evidence,
) -> dict[str, np.ndarray]:
    context = fitter.context
    columns = (seen.keypoints_px[at], seen.confidence[at])
    outlined = tuple(None if part is None else part[at] for part in (seen.outline_px, seen.clothes_m))
    pictures = fitter.evidence_stage(*columns, *outlined)
    own_evidence = calibrated_pictures(pictures.evidence, fitter.calibration)
    mean, root = fitter.calibration.axes
    own_betas = mean + _most_probable(own_evidence) @ root.T
    own, at_reference, start = _poses(context, pictures, columns, own_betas, betas)
    if outlined[0] is not None and fitter.outline_body is not None:
        seen_outlines = Outlines(outlined[0], np.asarray(np.nan) if outlined[1] is None else outlined[1])
        at_reference = _with_outlines(
            at_reference, *fit_outlines(context, fitter.outline_body(), start, seen_outlines, betas)
        )
    drawn, fitted = np.isfinite(start.energy), start.pictures.observation
    own_betas = np.where(drawn[:, None], own_betas, 0)
    limbs = compare_limbs(context.model.body, own_betas, own_evidence, betas, evidence, root)
    differences = compare_proportions(context.model.body, own_evidence, evidence, mean, root)
    observation = jax.tree.map(np.asarray, observe_pictures(context, *columns))
    height = np.asarray(observation.person_height_px)[:, None, None]
    values = {
        "drawn": drawn,
        "keypoints_px": np.asarray(fitted.points) * height + np.asarray(observation.centre_px)[:, None],
        "residuals_px": np.asarray(at_reference.residuals) * height,
        "confidence": np.asarray(fitted.confidence),
        "reference_pose": _short_way(at_reference.pose),
        "reference_camera": _camera(at_reference.camera_px),
        "own_pose": _short_way(own.pose),
        "own_camera": _camera(own.camera_px),
        "own_betas": own_betas,
        "limb_change": limbs.change,
        "limb_deviation": limbs.deviation,
        "limb_shown": limbs.shown,
        "proportion_deviations": differences.deviations,
    }
    shown = ("keypoints_px", "confidence", "drawn", "own_betas")
    masked = {
        name: value if name in shown else np.where(drawn.reshape(-1, *[1] * (value.ndim - 1)), np.nan_to_num(value), 0)
        for name, value in values.items()
    }
    return {**masked, "person": person}


class _Poses(NamedTuple):
    """Poses and cameras of pictures at their own shapes and at the reference shape."""

    own: PosedFit | Described
    at_reference: PosedFit | Described
    start: PosedFit
    """The fit that the others started from; its pictures have swapped labels corrected."""


def _poses(
    context: PosedContext,
    pictures: PictureEvidence,
    seen: tuple[np.ndarray, np.ndarray],
    own_betas: Float[np.ndarray, "images betas"],
    betas: Float[np.ndarray, "images betas"],
) -> _Poses:
    if pictures.fit is not None:
        own: PosedFit = pictures.fit
        _, at_reference = excess_energy(context, own, betas)
        return _Poses(own, at_reference, own)
    fit = fit_poses(context, observe_pictures(context, *seen), betas)
    return _Poses(fit_near(context, fit, own_betas.astype(np.asarray(fit.energy).dtype)), fit, fit)


def _with_outlines(fit: PosedFit | Described, outlined: Bool[np.ndarray, " images"], found: Described) -> Described:
    """The fits, with those to outlines in rows that have one."""

    def chosen(new: AnyArray, old: AnyArray) -> np.ndarray:
        return np.where(outlined.reshape(-1, *[1] * (np.ndim(old) - 1)), new, old)

    names = [field.name for field in fields(Described)]
    return Described(**{name: jax.tree.map(chosen, getattr(found, name), getattr(fit, name)) for name in names})


def _most_probable(evidence: Evidence) -> np.ndarray:
    """(I + Λ)⁻¹ h of each picture."""
    precision, information = (np.asarray(part, float) for part in evidence)
    return np.linalg.solve(precision + np.eye(precision.shape[-1]), information[..., None])[..., 0]


def _short_way(turns: AnyArray) -> np.ndarray:
    """The same rotations with angles of at most π."""
    pose = np.nan_to_num(np.asarray(turns, float))
    return Rotation.from_rotvec(pose.reshape(-1, 3)).as_rotvec().reshape(pose.shape)


def _camera(camera: WeakPerspective) -> np.ndarray:
    return np.concatenate([np.asarray(camera.scale)[:, None], np.asarray(camera.translation)], axis=1)


def _spread(values: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    whole = np.zeros((count, *values.shape[1:]), values.dtype)
    whole[rows] = values
    return whole
