"""A person's shape, and its file: one small .npz with β, what is known of it, how it was made and from what.

Besides ``betas`` (float32) the file holds ``header``, a JSON text, and for the free pose the fused evidence of the
references (``precision``, ``information``), so that nothing is fitted again to compare pictures with it. The evidence
is raw: a calibration is applied when it is used, the shape's own or, without one, the shipped one. The same fit writes
the same bytes: there is no time stamp in it, and no path; references are named as the reader of keypoints names them.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float32

from engine.body.files import replace_file
from engine.body.keypoint_body import KeypointBody
from engine.evidence.calibration import Calibration
from engine.evidence.calibration_file import as_record, calibration_id, from_record
from engine.evidence.shape_evidence import Evidence
from engine.scores import Mode, Status

FORMAT = "samebody-shape"
VERSION = 1


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
    """Person heights at the fitted shape; None where it could not be computed."""

    @property
    def used(self) -> bool:
        """Whether β depends on this picture: it could be fitted, converged or not."""
        return self.status in (Status.OK.label, Status.NOT_CONVERGED.label)


@dataclass(frozen=True, eq=False)
class Shape:
    """Who is looked for: one body shape and its history. Immutable."""

    betas: Float32[np.ndarray, " betas"]
    body_name: str
    body_fingerprint: str
    """β has no meaning without its body: scoring compares this with the body at hand."""
    schema: str
    """Keypoint schema of the references; scoring may use another."""
    mode: Mode
    solver: str = "auto"
    noise_level: float = 0.0
    """Of the fit, in person heights (``engine.rest.problem.NoiseModel``)."""
    converged: bool = True
    samebody_version: str = ""
    references: tuple[Reference, ...] = field(default=())
    evidence: Evidence | None = None
    """Fused evidence of all used references, raw; None in rest pose, and where β alone was handed over."""
    calibration: Calibration | None = None
    """Of the references' detector; None means the shipped one."""

    @property
    def used_references(self) -> int:
        """How many pictures the evidence is the sum of; 1 where the references are not known."""
        return max(1, sum(reference.used for reference in self.references))

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal digits: scores against shapes of the same digest are comparable."""
        digest = hashlib.sha256(np.asarray(self.betas, "<f4").tobytes())
        for part in () if self.evidence is None else self.evidence:
            digest.update(np.asarray(part, "<f4").tobytes())
        calibration = "" if self.calibration is None else calibration_id(self.calibration)
        digest.update(f"{self.body_fingerprint} {self.mode} {self.used_references} {calibration}".encode())
        return digest.hexdigest()[:32]

    def check_body(self, body: KeypointBody, fingerprint: str) -> None:
        """Whether β belongs to this body.

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
        """The shape behind ``record``.

        Raises:
            ShapeFileError: the record is damaged.
        """
        values = dict(record)
        try:
            references = tuple(Reference(**reference) for reference in values.pop("references"))
            stored = values.pop("calibration")
            calibration = None if stored is None else from_record(stored)
            return cls(betas=betas, evidence=evidence, references=references, calibration=calibration, **values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ShapeFileError(f"the shape's record is damaged ({error})") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a shape file, whole or not at all."""
        header = {"format": FORMAT, "version": VERSION, **self.record()}
        arrays = {"betas": self.betas} | ({} if self.evidence is None else self.evidence._asdict())

        def write(stream: IO[bytes]) -> None:
            floats = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
            np.savez(stream, allow_pickle=False, header=np.array(json.dumps(header)), **floats)

        replace_file(path, write)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Shape":
        """Read a shape file.

        Raises:
            ShapeFileError: missing, damaged, of another kind or version, or with betas that are not finite.
        """
        path = Path(path)
        header, betas, evidence = _read(path)
        if not isinstance(header, dict) or header.pop("format", None) != FORMAT:
            raise ShapeFileError(f"{path}: an .npz, but not a samebody shape; make one with: samebody fit")
        version = header.pop("version", None)
        if version != VERSION:
            raise ShapeFileError(f"{path}: shape file version {version}, this samebody reads {VERSION}; fit again")
        if betas.ndim != 1 or betas.dtype != np.float32 or not np.isfinite(betas).all():
            raise ShapeFileError(f"{path}: damaged, betas are {betas.dtype}{betas.shape} or not finite")
        if evidence is not None and not _fits(evidence, len(betas)):
            raise ShapeFileError(
                f"{path}: damaged, the shape evidence does not fit {len(betas)} betas or is not finite"
            )
        try:
            return cls.from_record(header, betas, evidence)
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


def _read(path: Path) -> tuple[Any, np.ndarray, Evidence | None]:
    try:
        # Opened here: NumPy leaves the file open when it finds that it is no archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            header, betas = json.loads(str(stored["header"])), stored["betas"]
            evidence = Evidence(stored["precision"], stored["information"]) if "precision" in stored else None
            return header, betas, evidence
    except FileNotFoundError:
        raise ShapeFileError(f"no shape file {path}; make one with: samebody fit REFERENCES --out {path}") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ShapeFileError(
            f"{path}: damaged, or no shape file ({type(error).__name__}); make one with: samebody fit"
        ) from error


def _fits(evidence: Evidence, count: int) -> bool:
    shapes = (np.shape(evidence.precision), np.shape(evidence.information))
    return shapes == ((count, count), (count,)) and all(np.isfinite(array).all() for array in evidence)
