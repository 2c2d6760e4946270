"""A person's shape, and its file: one small .npz with β, its evidence and its provenance.

Besides ``betas`` (float32) the file holds ``header``, a JSON text, and for the free pose the fused evidence of the
references (``precision``, ``information``), so that nothing is fitted again to compare pictures with it. The evidence
is raw: the shape's calibration, or else the shipped one, is applied on use. The same fit writes the same bytes: the
file contains neither a time stamp nor a path. References have the names that the reader of keypoints gives.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from engine.body.files import replace_file
from engine.body.files.arrays import read_arrays, save_arrays
from engine.body.files.records import typed_record
from engine.body.keypoint_body import KeypointBody
from engine.evidence.bounds import check_betas, check_evidence
from engine.evidence.calibration import Calibration
from engine.evidence.calibration_file import as_record, calibration_id, from_record
from engine.evidence.limbs import LIMBS
from engine.evidence.one_person import OUTLIER
from engine.evidence.shape_evidence import Evidence
from engine.scores import LABELS, Mode, Status

FORMAT = "samebody-shape"
VERSION = 1
LARGEST_SHAPE_BYTES = 32 << 20
"""Largest size of the arrays; the header has its own bound. 300 components with evidence take 0.4 MB."""


class ShapeFileError(ValueError):
    """A file is not a shape that can be used here; the message says why and what to do."""


@dataclass(frozen=True)
class Reference:
    """One picture that the shape was fitted to."""

    image: str
    instance: int
    status: str
    """A ``Status`` label."""
    reprojection_error: float | None
    """Error at the fitted shape, person heights; None if it could not be computed."""
    log_bayes_factor: float | None = None
    """Log Bayes factor of one body against two for this picture and all others together, nats
    (``engine.evidence.one_person``); None if there is nothing to compare."""
    dropped: bool = False
    """True if the picture was left out of the fit because it does not look like the others."""
    limbs: tuple[float | None, ...] | None = None
    """Logarithms of the lengths of ``engine.evidence.limbs.LIMBS`` in pixels, None if a limb is not seen. The field is
    None in rest pose and in older files."""
    clothes_m: float | None = None
    """Thickness of the clothes (``engine.picture.clothes``) that acted on the evidence of the picture's outline; None
    if it was not known, or if no outline was used."""

    def __post_init__(self) -> None:
        if self.limbs is not None and len(self.limbs) != len(LIMBS):
            raise ValueError(f"a reference has {len(self.limbs)} limbs, expected {len(LIMBS)}")
        if self.instance < 0:
            raise ValueError(f"instance {self.instance} of {self.image[:80]!a} is negative")
        if self.status not in LABELS:
            raise ValueError(f"a reference has the status {self.status[:40]!a}; there are: {', '.join(LABELS)}")

    @property
    def used(self) -> bool:
        """True if β depends on this picture: it was fitted, converged or not, and was not left out."""
        return self.status in (Status.OK.label, Status.NOT_CONVERGED.label) and not self.dropped

    @property
    def outlier(self) -> bool:
        """True if the picture does not look like the others."""
        return self.log_bayes_factor is not None and self.log_bayes_factor < OUTLIER


@dataclass(frozen=True, eq=False)
class Shape:
    """The shape of the person looked for, and its history. Immutable."""

    betas: Float32[np.ndarray, " betas"]
    body_name: str
    body_fingerprint: str
    """Fingerprint of the body; scoring checks it, because β has no meaning with another body."""
    schema: str
    """Keypoint schema of the references; scoring may use another."""
    mode: Mode
    solver: str = "auto"
    noise_level: float = 0.0
    """Noise level of the fit, in person heights (``engine.picture.noise.NoiseModel``)."""
    converged: bool = True
    samebody_version: str = ""
    references: tuple[Reference, ...] = field(default=())
    evidence: Evidence | None = None
    """Fused raw evidence of all used references, without that of limbs; None in rest pose, and if only β was given."""
    calibration: Calibration | None = None
    """Calibration of the references' detector; None means the shipped one."""

    def __repr__(self) -> str:
        betas = " ".join(f"{beta:+.2f}" for beta in self.betas[:10]) + (" ..." if len(self.betas) > 10 else "")
        used = f"{self.used_references} of {max(len(self.references), 1)} references used"
        return f"Shape of {self.body_name}, pose {self.mode}, solver {self.solver}, {used}: betas {betas}"

    @property
    def used_references(self) -> int:
        """Number of pictures in the evidence; 1 if the references are not known."""
        return max(1, sum(reference.used for reference in self.references))

    @property
    def limb_logs(self) -> Float[np.ndarray, "references limbs"]:
        """Limb lengths of the used references, NaN if a limb is not seen."""
        kept = [reference.limbs for reference in self.references if reference.used and reference.limbs is not None]
        return np.array(kept, float).reshape(len(kept), len(LIMBS))

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal digits. Scores against shapes with the same digest are comparable."""
        digest = hashlib.sha256(np.asarray(self.betas, "<f4").tobytes())
        for part in () if self.evidence is None else self.evidence:
            digest.update(np.asarray(part, "<f4").tobytes())
        if len(self.limb_logs):
            digest.update(np.asarray(self.limb_logs, "<f8").tobytes())
        calibration = "" if self.calibration is None else calibration_id(self.calibration)
        digest.update(f"{self.body_fingerprint} {self.mode} {self.used_references} {calibration}".encode())
        return digest.hexdigest()[:32]

    def check_body(self, body: KeypointBody, fingerprint: str) -> None:
        """Check that β belongs to this body.

        Raises:
            ShapeFileError: it belongs to another; the message names both.
        """
        if fingerprint != self.body_fingerprint:
            raise ShapeFileError(
                f"the shape was fitted with body {self.body_name!r} ({self.body_fingerprint}), not with "
                f"{body.name!r} ({fingerprint}); give the same --body as for the fit"
            )
        if len(self.betas) != body.beta_count:
            raise ShapeFileError(f"the shape has {len(self.betas)} betas, the body {body.name!r} {body.beta_count}")

    def check(self) -> None:
        """Check that a person may have this shape, and pictures this evidence.

        Raises:
            ShapeFileError: a number is not finite or out of its bounds (``engine.evidence.bounds``).
        """
        try:
            check_betas(self.betas)
            if self.evidence is not None:
                check_evidence(*(np.asarray(part) for part in self.evidence), beta_count=len(self.betas))
            if self.calibration is not None:
                self.calibration.check_size(len(self.betas))
        except ValueError as error:
            remedy = "fit again, with references that fit the --pose"
            raise ShapeFileError(f"no body has this shape: {error}; {remedy}") from error

    def record(self) -> dict[str, Any]:
        """Everything but the arrays (β and evidence), for JSON."""
        values = {name: getattr(self, name) for name in _RECORDED}
        references = [asdict(reference) for reference in self.references]
        calibration = None if self.calibration is None else as_record(self.calibration)
        return {**values, "references": references, "calibration": calibration}

    @classmethod
    def from_record(
        cls, record: Mapping[str, Any], betas: Float32[np.ndarray, " betas"], evidence: Evidence | None
    ) -> "Shape":
        """The shape that a ``record`` describes.

        Raises:
            ShapeFileError: the record is damaged.
        """
        try:
            values = dict(record)
            stored = values.pop("calibration")
            calibration = None if stored is None else from_record(stored)
            typed = vars(typed_record(_Record, values))
            shape = cls(betas=betas, evidence=evidence, calibration=calibration, **typed)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ShapeFileError(f"the shape's record is damaged ({error})") from error
        shape.check()
        return shape

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a shape file, whole or not at all.

        Raises:
            ShapeFileError: as for ``check``; a file with such a shape could not be read.
        """
        self.check()
        header = {"format": FORMAT, "version": VERSION, **self.record()}
        arrays = {"betas": self.betas} | ({} if self.evidence is None else self.evidence._asdict())
        floats = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        replace_file(path, lambda stream: save_arrays(stream, header, floats))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Shape":
        """Read a shape file.

        Raises:
            ShapeFileError: missing, damaged, of another kind or version, or with numbers that no shape has.
        """
        path = Path(path)
        try:
            header, arrays = read_arrays(path, ShapeFileError, LARGEST_SHAPE_BYTES, called=str(path))
        except FileNotFoundError:
            raise ShapeFileError(f"no shape file {path}; make one with: samebody fit REFERENCES --out {path}") from None
        if not isinstance(header, dict) or header.pop("format", None) != FORMAT:
            raise ShapeFileError(f"{path}: an .npz, but not a samebody shape; make one with: samebody fit")
        version = header.pop("version", None)
        if version != VERSION:
            raise ShapeFileError(
                f"{path}: shape file version {str(version)[:20]}, this samebody reads {VERSION}; fit again"
            )
        header.pop("digest", None)
        try:
            betas, *evidence = _arrays(arrays)
            return cls.from_record(header, betas, Evidence(*evidence) if evidence else None)
        except ShapeFileError as error:
            raise ShapeFileError(f"{path}: {error}") from error


_RECORDED = (
    "body_name",
    "body_fingerprint",
    "schema",
    "mode",
    "solver",
    "noise_level",
    "converged",
    "samebody_version",
)


@dataclass(frozen=True)
class _Record:
    """Fields of a header, besides the calibration, which has its own record."""

    body_name: str
    body_fingerprint: str
    schema: str
    mode: Mode
    solver: str
    noise_level: float
    converged: bool
    samebody_version: str
    references: tuple[Reference, ...]


def _arrays(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """β, or β, Λ and h."""
    names = sorted(arrays)
    if names not in (["betas"], ["betas", "information", "precision"]):
        raise ShapeFileError(f"damaged: it holds {', '.join(names)[:200]}")
    for name, array in arrays.items():
        if array.dtype != np.float32 or array.ndim != 1 + (name == "precision"):
            raise ShapeFileError(f"damaged: {name} is {array.dtype}{array.shape}")
    return [arrays[name] for name in ("betas", "precision", "information") if name in arrays]
