"""A person's shape on disk: one small .npz that says what it is, how it was made and from what.

Besides ``betas`` (float32) it holds ``header``, a JSON text, and for posed fits the fused shape evidence of the
references (``precision``, ``information``), so that nothing is fitted again to compare pictures with it. The evidence
is raw: a calibration is applied when it is used, the one in the header or, without one, the one that is shipped. The
same fit writes the same bytes: there is no time stamp in it, and no path; references are named as the reader of
keypoints names them.
"""

import json
import os
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from jaxtyping import Float32

from engine.body.files import replace_file
from engine.body.keypoint_body import KeypointBody
from engine.evidence.shape_evidence import Evidence
from engine.scores import Status

FORMAT = "samebody-shape"
VERSION = 1

Mode = Literal["rest", "free"]


class ShapeFileError(ValueError):
    """A file is not a shape that can be used here; the message says why and what to do."""


@dataclass(frozen=True)
class Reference:
    """One picture that the shape was fitted to."""

    image: str
    instance: int
    status: str
    """A ``Status`` label; only references that are ``ok`` had a say."""
    reprojection_error: float | None
    """Person heights at the fitted shape; None where it could not be computed."""


@dataclass(frozen=True)
class PersonShape:
    """A fitted shape and its history."""

    betas: Float32[np.ndarray, " betas"]
    body_name: str
    body_fingerprint: str
    """β means nothing without its body: scoring compares this with the body at hand."""
    schema: str
    """Keypoint schema of the references; scoring may use another."""
    mode: Mode
    solver: str
    noise_level: float
    """Of the fit, in person heights (``engine.rest.problem.NoiseModel``)."""
    converged: bool
    samebody_version: str
    references: tuple[Reference, ...] = field(default=())
    evidence: Evidence | None = None
    """What the references say about the body, raw; None in rest-pose mode, which cannot tell."""
    calibration: dict[str, Any] | None = None
    """How far this detector's evidence can be trusted (``engine.evidence.calibration_file.as_record``); None: as is
    shipped."""

    @property
    def used_references(self) -> int:
        """How many pictures had a say."""
        return sum(reference.status == Status.OK.label for reference in self.references)

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


def save_shape(path: str | os.PathLike[str], shape: PersonShape) -> None:
    """Write a shape file, whole or not at all."""
    fields = {name: value for name, value in vars(shape).items() if name not in ("betas", "evidence", "references")}
    references = [asdict(reference) for reference in shape.references]
    header = {"format": FORMAT, "version": VERSION, **fields, "references": references}
    arrays = {"betas": shape.betas} | ({} if shape.evidence is None else shape.evidence._asdict())

    def write(stream: IO[bytes]) -> None:
        floats = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        np.savez(stream, allow_pickle=False, header=np.array(json.dumps(header)), **floats)

    replace_file(path, write)


def load_shape(path: str | os.PathLike[str]) -> PersonShape:
    """Read a shape file.

    Raises:
        ShapeFileError: missing, damaged, of another kind or version, or with betas that are not finite.
    """
    path = Path(path)
    try:
        # Opened here: NumPy leaves the file open when it finds that it is no archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            header, betas = json.loads(str(stored["header"])), stored["betas"]
            evidence = Evidence(stored["precision"], stored["information"]) if "precision" in stored else None
    except FileNotFoundError:
        raise ShapeFileError(f"no shape file {path}; make one with: samebody fit REFERENCES --out {path}") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ShapeFileError(
            f"{path}: damaged, or no shape file ({type(error).__name__}); make one with: samebody fit"
        ) from error
    if not isinstance(header, dict) or header.pop("format", None) != FORMAT:
        raise ShapeFileError(f"{path}: an .npz, but not a samebody shape; make one with: samebody fit")
    version = header.pop("version", None)
    if version != VERSION:
        raise ShapeFileError(f"{path}: shape file version {version}, this samebody reads {VERSION}; fit again")
    if betas.ndim != 1 or betas.dtype != np.float32 or not np.isfinite(betas).all():
        raise ShapeFileError(f"{path}: damaged, betas are {betas.dtype}{betas.shape} or not finite")
    if evidence is not None and not _fits(evidence, len(betas)):
        raise ShapeFileError(f"{path}: damaged, the shape evidence does not fit {len(betas)} betas or is not finite")
    try:
        references = tuple(Reference(**reference) for reference in header.pop("references"))
        return PersonShape(betas=betas, references=references, evidence=evidence, **header)
    except (KeyError, TypeError) as error:
        raise ShapeFileError(f"{path}: damaged header ({error})") from error


def _fits(evidence: Evidence, count: int) -> bool:
    shapes = (np.shape(evidence.precision), np.shape(evidence.information))
    return shapes == ((count, count), (count,)) and all(np.isfinite(array).all() for array in evidence)
