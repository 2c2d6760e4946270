"""Comparison of one picture, or a batch, with the reference shape, for a host's ``vision_engine``.

    analyzer = BodyAnalyzer(manager.load_smpl_model())
    result = analyzer.analyze("a.jpg", keypoints, optimized_beta)
    result.consistency_3d           0..1, or None with a reason in result.reason

``result.ratios`` holds 2D proportions of the keypoints, whether or not the 3D fit succeeds. They depend on pose and
view and hardly tell bodies apart (benchmarks/results.md, "Identity"); they are for display.
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from adapters.host.inputs import as_body, as_shape, keypoint_table
from adapters.jobs.scorer import Scorer, ScoreSettings
from adapters.keypoints.table import KeypointTable
from adapters.results.scores import Scores
from engine.body.schemas import KeypointSchema
from engine.scores import LABELS, Mode, Status

NO_KEYPOINTS = "no keypoints were given, and the analyzer has no detector"
NO_BETA = "no reference shape: set reference images first"
_REASONS = {
    Status.TOO_FEW_KEYPOINTS: "too few keypoints were seen to fit a body",
    Status.NO_DETECTION: "nobody was found in the picture",
    Status.BAD_INPUT: "the keypoints cannot be read",
    Status.NOT_CONVERGED: "the fit did not converge",
}

_SHOULDERS, _HIPS = ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")

Detector = Callable[[str], Any]
"""Function from the path of a picture to its keypoints, in any form of ``adapters.host.inputs``."""


@dataclass(frozen=True)
class BodyAnalysis:
    """Analysis of one person in one picture. Unknown numbers are None."""

    image: str
    instance: int
    """Number of the person in the picture; -1 if nobody was found."""
    status: str
    """A ``Status`` label, or "no_reference" if there is no shape to compare with."""
    consistency_3d: float | None
    """0..1; the picture that the shape was fitted to scores 1."""
    reason: str | None
    """Reason why ``consistency_3d`` is None."""
    same_body_probability: float | None = None
    """It needs the evidence of the references, as stored by ``adapters.host.database``; β alone gives None."""
    log_bayes_factor: float | None = None
    """Nats."""
    information_bits: float | None = None
    """Information of the picture about the body."""
    reprojection_error: float | None = None
    """Error at the reference shape, person heights. This and the next two come from fits (``BodyAnalyzer``)."""
    reprojection_error_px: float | None = None
    oks: float | None = None
    ratios: dict[str, float | None] = field(default_factory=dict)
    """2D proportions; see ``body_ratios``."""


class BodyAnalyzer:
    """Compares pictures with a reference shape."""

    def __init__(
        self,
        smpl_model: Any,
        detector: Detector | None = None,
        mode: Mode = "free",
        schema: KeypointSchema | str | None = None,
        fit: bool = False,
    ) -> None:
        """
        Args:
            smpl_model: the body that β belongs to.
            detector: finds keypoints if none are given.
            mode: pose mode that a bare β was fitted in (see ``smpl_optimizer``); a ``Shape`` has its own.
            schema: schema of the keypoints; by default the known one with that number of keypoints.
            fit: fit every picture at the shape too, for reprojection error and OKS, if the evidence comes from the
                body's network. Fits take most of the time.
        """
        self._smpl_model = smpl_model
        self._settings = ScoreSettings(fit=fit)
        self._detector = detector
        self._mode: Mode = mode
        self._schema = schema

    def analyze(
        self, image_path: str | os.PathLike[str], keypoints: Any = None, optimized_beta: Any = None
    ) -> BodyAnalysis:
        """Analyse one picture; if it shows several people, the first detected one. A bad picture does not raise.

        Args:
            image_path: passed to the detector and reported back; the file is not opened here.
            keypoints: keypoints in any form of ``adapters.host.inputs``; by default the detector's.
            optimized_beta: result of ``optimize_shared_beta``, or a ``Shape`` from ``adapters.host.database``,
                which has the evidence that a probability needs.

        Raises:
            ValueError: ``optimized_beta`` is not a shape of this body.
        """
        return self.analyze_batch([image_path], [keypoints], optimized_beta)[0]

    def analyze_batch(
        self,
        image_paths: Sequence[str | os.PathLike[str]],
        keypoints: Sequence[Any] | None = None,
        optimized_beta: Any = None,
    ) -> list[BodyAnalysis]:
        """Analyse everybody in all pictures, in order, by one engine call. Results equal single calls, bit for bit.

        Raises:
            ValueError: ``optimized_beta`` is not a shape of this body, or the lists differ in length.
        """
        images = [os.fspath(path) for path in image_paths]
        given = list(keypoints) if keypoints is not None else [None] * len(images)
        if len(given) != len(images):
            raise ValueError(f"{len(images)} pictures, keypoints for {len(given)}")
        asked = [i for i, own in enumerate(given) if own is None]
        if self._detector is not None:
            for i in asked:
                given[i] = detected(self._detector, images[i])
        table = keypoint_table(images, given, self._schema)
        ratios = body_ratios(table)
        unasked = {images[i] for i in asked} if self._detector is None else set()
        names = table.image.to_pylist()
        if optimized_beta is None:
            return [
                BodyAnalysis(
                    names[i],
                    int(table.instance[i]),
                    "no_reference",
                    None,
                    NO_KEYPOINTS if names[i] in unasked and table.instance[i] < 0 else NO_BETA,
                    ratios={name: _known(column[i]) for name, column in ratios.items()},
                )
                for i in range(len(table))
            ]
        body = as_body(self._smpl_model)
        scores = Scorer(body, table.schema, as_shape(optimized_beta, body, self._mode), self._settings)(table)
        return [_analysis(scores, names[i], i, ratios, names[i] in unasked) for i in range(len(table))]


def _analysis(
    scores: Scores, image: str, row: int, ratios: dict[str, Float[np.ndarray, " images"]], no_keypoints: bool
) -> BodyAnalysis:
    numbers = {name: _known(column[row]) for name, column in scores.numbers.items()}
    status, instance = Status(int(scores.status[row])), int(scores.instance[row])
    consistency, reason = numbers.pop("consistency"), None
    if consistency is None:
        detail = scores.detail[row].as_py()
        reason = NO_KEYPOINTS if no_keypoints and instance < 0 else _REASONS.get(status, LABELS[status])
        reason = f"{reason}: {detail}" if detail else reason
    return BodyAnalysis(
        image=image,
        instance=instance,
        status=LABELS[status],
        consistency_3d=consistency,
        reason=reason,
        same_body_probability=numbers.get("same_body_probability"),
        log_bayes_factor=numbers.get("log_bayes_factor"),
        information_bits=numbers.get("information_bits"),
        reprojection_error=numbers.get("reprojection_error"),
        reprojection_error_px=numbers.get("reprojection_error_px"),
        oks=numbers.get("oks"),
        ratios={name: _known(column[row]) for name, column in ratios.items()},
    )


def detected(detector: Detector, image: str) -> Any:
    """The detector's result for a picture, or its exception, which fails the row and not the batch."""
    try:
        return detector(image)
    except Exception as error:  # the host's code, on a file that may be anything
        return error


def _known(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def body_ratios(table: KeypointTable) -> dict[str, Float[np.ndarray, " images"]]:
    """2D proportions of everybody in the table; NaN if a required keypoint was not seen.

    ``shoulders_to_hips``: width of the shoulders over that of the hips. ``legs_to_torso``: thigh and shin over the
    distance from the middle of the shoulders to that of the hips; ``arms_to_torso`` likewise. ``thighs_to_shins``,
    ``upper_to_lower_arms``. Limbs are means of left and right, or the side that was seen.
    """
    column = dict(zip(table.schema.keypoint_names, range(len(table.schema)), strict=True))
    points = np.where((table.confidence > 0)[..., None], table.keypoints, np.nan).astype(np.float64)
    unseen = np.full((len(table), 2), np.nan)

    def at(name: str) -> np.ndarray:
        return points[:, column[name]] if name in column else unseen

    def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.hypot(*(a - b).T)

    def limb(upper: str, lower: str) -> np.ndarray:
        sides = np.stack([between(at(f"{side}_{upper}"), at(f"{side}_{lower}")) for side in ("left", "right")])
        seen = np.isfinite(sides)
        total = np.where(seen, sides, 0).sum(axis=0)
        return np.where(seen.any(axis=0), total / np.maximum(seen.sum(axis=0), 1), np.nan)

    def over(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(b > 0, a / np.where(b > 0, b, 1), np.nan)

    shoulders, hips = (between(at(pair[0]), at(pair[1])) for pair in (_SHOULDERS, _HIPS))
    torso = between((at(_SHOULDERS[0]) + at(_SHOULDERS[1])) / 2, (at(_HIPS[0]) + at(_HIPS[1])) / 2)
    thighs, shins = limb("hip", "knee"), limb("knee", "ankle")
    upper_arms, lower_arms = limb("shoulder", "elbow"), limb("elbow", "wrist")
    return {
        "shoulders_to_hips": over(shoulders, hips),
        "legs_to_torso": over(thighs + shins, torso),
        "arms_to_torso": over(upper_arms + lower_arms, torso),
        "thighs_to_shins": over(thighs, shins),
        "upper_to_lower_arms": over(upper_arms, lower_arms),
    }
