"""Calibration of a picture's evidence: the constants of a detector and its population, and their application.

A detector is more or less noisy than was assumed, noisier at some keypoints than at others, and repeats its errors in
neighbouring frames; clothes and hair change one person's apparent shape. A calibration holds constants for these
effects and the provenance of their data (``engine.evidence.calibration_estimate`` and
``engine.evidence.keypoint_noise`` estimate them). The noise of single keypoints acts on the fits. Everything else acts
on the evidence, when it is used:

    Λ' = ((Λ/s²)⁻¹ + W)⁻¹,   h' = Λ' Λ⁻¹ h   with noise scale s and within-person covariance W.

If the population as the detector shows it is known, the substitution β = μ + R x with R Rᵀ = B gives x ~ N(0, I)
(``engine.evidence.population``):

    Λ'' = Rᵀ Λ' R,   h'' = Rᵀ (h' − Λ' μ).

A model of limb lengths (``engine.evidence.limbs``) adds further evidence: to a picture's evidence when that is
computed, and to a shape's evidence when shapes are compared (``engine.evidence.stages.calibrated_people``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from engine.batching import AnyArray, map_samples
from engine.evidence.bounds import LARGEST_VARIANCE, check_betas, check_factor, check_semidefinite
from engine.evidence.comparison import GROUP_CORRELATION
from engine.evidence.limbs import SHARE, LimbModel
from engine.evidence.population import covariance_root, whitened
from engine.evidence.shape_evidence import Evidence, weaken
from engine.picture.noise import NoiseModel

_TILE_SIZE = 1024


@dataclass(frozen=True)
class Calibration:
    """The constants with which evidence of a detector's pictures is calibrated."""

    noise_scale: float
    """Actual keypoint noise over the noise that the fit assumed."""
    within_person: Float[np.ndarray, "betas betas"]
    """Covariance of one person's apparent shape from picture to picture, in squared standard deviations."""
    provenance: str
    """The data behind the numbers."""
    group_correlation: float = GROUP_CORRELATION
    """Correlation of errors within one clip or camera (``engine.evidence.comparison.fuse_groups``)."""
    body_fingerprint: str = ""
    """The body that the components of ``within_person`` belong to; empty if that is zero and fits any body."""
    keypoint_noise: Mapping[str, float] = field(default_factory=dict)
    """Actual over assumed noise by name of keypoint, equal for left and right; 1 for keypoints that are not named. It
    acts on the fit, so references and pictures must be fitted with the same values."""
    mean: Float[np.ndarray, " betas"] | None = None
    """μ: mean apparent shape of the population; None stands for the body model's mean, 0."""
    between_people: Float[np.ndarray, "betas betas"] | None = None
    """B: covariance of people's apparent shapes; None stands for the body model's covariance, I."""
    people_known: bool = False
    """True if the calibration was made from labelled pictures."""
    limbs: LimbModel | None = None
    """The model of limb lengths; None if limbs give no evidence of their own."""

    def __repr__(self) -> str:
        known = (
            ("people", self.people_known), ("mean", self.mean is not None), ("noise of keypoints", self.keypoint_noise),
            ("limbs", self.limbs is not None),
        )  # fmt: skip
        holds = ", ".join(name for name, is_known in known if is_known)
        return f"Calibration from {self.provenance}: noise scale {self.noise_scale:.3f}" + (
            f", {holds}" if holds else ""
        )

    def __post_init__(self) -> None:
        check_factor(self.noise_scale, "noise_scale")
        within = np.asarray(self.within_person)
        check_semidefinite(within, len(within), LARGEST_VARIANCE, "within_person")
        if not 0 <= self.group_correlation <= 1:
            raise ValueError(f"group_correlation is {self.group_correlation}: it must lie between 0 and 1")
        for name, factor in self.keypoint_noise.items():
            check_factor(factor, f"keypoint_noise of {name}")
        if self.mean is not None:
            check_betas(np.asarray(self.mean))
        if self.between_people is not None:
            covariance_root(self.between_people)
            check_semidefinite(np.asarray(self.between_people), len(within), LARGEST_VARIANCE, "between_people")
        if self.limbs is not None and np.shape(self.limbs.by_betas)[1] != len(within):
            raise ValueError(
                f"the limb model has {np.shape(self.limbs.by_betas)[1]} shape components, not {len(within)}"
            )

    @property
    def of_a_detector(self) -> bool:
        """True if the calibration was made from a detector's pictures instead of synthetic ones."""
        return self.people_known or self.mean is not None

    @property
    def highest_probability(self) -> float:
        """The highest probability that a verdict about many pictures may have, and one minus the lowest.

        Slight overconfidence in each picture becomes strong overconfidence in the sum of many. The bound follows from
        the measured calibration on held-out people (benchmarks/results.md, "Real people"). Without a calibration of the
        detector no verdict is decided: four pictures against four are 0.26 to 0.36 too sure.
        """
        if self.people_known:
            return 0.999
        return 0.99 if self.of_a_detector else 0.8

    @property
    def one_person_weight(self) -> float:
        """Factor for calibrated evidence in the test for one person.

        It takes back the reduction for errors that limbs share with the other evidence. The reduction is cautious where
        two sides are compared; here it would make pictures of several people agree.
        """
        return 1.0 if self.limbs is None else 1 / SHARE

    @property
    def depends_on_body(self) -> bool:
        """True if any number belongs to the components of a certain body."""
        parts = (self.mean, self.between_people, self.limbs)
        return any(part is not None for part in parts) or bool(np.any(self.within_person))

    @property
    def axes(self) -> tuple[Float[np.ndarray, " betas"], Float[np.ndarray, "betas betas"]]:
        """μ and R, with which β = μ + R x and x ~ N(0, I)."""
        betas = len(self.within_person)
        mean = np.zeros(betas) if self.mean is None else np.asarray(self.mean, float)
        return mean, np.eye(betas) if self.between_people is None else covariance_root(self.between_people)

    def check_size(self, beta_count: int) -> None:
        """Check that the values that depend on a body have this number of shape components.

        Raises:
            ValueError: they have another number.
        """
        if self.depends_on_body and len(self.within_person) != beta_count:
            raise ValueError(
                f"the calibration is about {len(self.within_person)} shape components, the shape has {beta_count}; "
                "make one for this body: samebody calibrate --body"
            )

    def check_body(self, fingerprint: str) -> None:
        """Check that the within-person covariance belongs to this body.

        Raises:
            ValueError: it belongs to another body.
        """
        if self.body_fingerprint not in ("", fingerprint):
            raise ValueError(
                f"the calibration was made with body {self.body_fingerprint}, not with {fingerprint}; make one "
                "for this body: samebody calibrate --body"
            )


def calibrated_noise(assumed: NoiseModel, calibration: Calibration) -> NoiseModel:
    """The noise with which pictures of this detector are fitted."""
    return assumed.with_factors(calibration.keypoint_noise)


def calibrated(evidence: Evidence, calibration: Calibration, pictures: int = 1) -> Evidence:
    """Evidence about the person: at the actual noise, with the within-person covariance, in a population with mean 0
    and covariance I.

    Args:
        pictures: the number of pictures that the evidence is the sum of. Their own variations average out; this is
            exact if all of them are equally informative.
    """
    within = np.asarray(calibration.within_person) / max(pictures, 1)
    alone = Evidence(*(np.asarray(part)[None] for part in evidence))
    return Evidence(*(part[0] for part in calibrated_pictures(alone, replace(calibration, within_person=within))))


def calibrated_pictures(evidence: Evidence, calibration: Calibration) -> Evidence:
    """``calibrated`` for many pictures."""
    precision, information = (np.asarray(part) for part in evidence)
    if not calibration.depends_on_body:
        scale = precision.dtype.type(1 / calibration.noise_scale**2)
        return Evidence(scale * precision, scale * information)
    parameters = (calibration.noise_scale, np.asarray(calibration.within_person), *calibration.axes)
    return map_samples(_calibrated, parameters, Evidence(precision, information), _TILE_SIZE, concurrent=False)


def _calibrated(parameters: tuple[AnyArray | float, AnyArray, AnyArray, AnyArray], evidence: Evidence) -> Evidence:
    noise_scale = parameters[0]
    dtype = evidence.precision.dtype
    within, mean, root = (jnp.asarray(part, dtype) for part in parameters[1:])
    scale = jnp.asarray(1 / noise_scale**2, dtype)
    scaled = Evidence(scale * evidence.precision, scale * evidence.information)
    return whitened(weaken(scaled, within), mean, root)
