"""samebody's own body file: one .npz without pickles, self-describing, optionally quantised.

Besides the arrays of ``BodyModel`` it holds ``header``, a JSON text with the format, its version, and the body's name,
origin and licence. A quantised array is stored as int16 and has a companion
``<array>_step``: value = int × step. Weights are stored so that the integers of a row sum to the same number in any
order, which keeps a left/right symmetric body exactly symmetric.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from engine.body.files import replace_file
from engine.body.files.arrays import HEADER_NAME, StoredArrays, check_digest, open_arrays, save_arrays
from engine.body.model import BodyModel, tree_levels

FORMAT = "samebody-body"
VERSION = 1
LARGEST_BODY_BYTES = 256 << 20
"""SMPL with 300 shape components takes 100 MiB."""
_INT16_MAX = 32767
_ROW_WEIGHTS = {"weights", "J_regressor", "keypoint_vertices"}
_ARRAYS = (
    "v_template",
    "shapedirs",
    "posedirs",
    "J_regressor",
    "weights",
    "faces",
    "keypoint_vertices",
    "keypoint_joints",
    "keypoint_names",
    "parents",
)


class BodyFileError(ValueError):
    """A file is not a body that samebody can use; the message says which file, what is wrong and what to do."""


@dataclass(frozen=True)
class BodyProvenance:
    """Origin and licence of a body; every body file carries them."""

    name: str
    """Shown to users and recorded in shape files: ``Anny-24 (SMPL layout)``, ``SMPL neutral``."""
    source: str
    """Package and version, or file name and digest, that it was made from."""
    licence: str
    details: str = ""
    """Figures and settings of the script that made it."""


def _quantise_rows(name: str, matrix: np.ndarray) -> np.ndarray:
    """Rows of weights as integers in proportion; reading divides by their sum, so rows must sum to one (or zero)."""
    sums = matrix.sum(axis=1)
    if not np.all((np.abs(sums - 1) < 1e-3) | (sums == 0)) or np.any(np.abs(matrix) > 1):
        raise ValueError(f"{name}: only weights within -1..1 that sum to one can be quantised; save the body as floats")
    return np.rint(matrix * _INT16_MAX).astype(np.int16)


def save_body(
    path: str | os.PathLike[str], body: BodyModel, provenance: BodyProvenance, quantise: bool = False
) -> None:
    """Write a body file, beside its place first and renamed when whole.

    Args:
        quantise: store int16 instead of float; loses up to 1/65,534 of each array's largest value.
    """
    arrays: dict[str, np.ndarray] = {
        "faces": np.asarray(body.faces, np.int32),
        "keypoint_names": np.array(body.keypoint_names),
        "parents": np.array(body.parents, np.int32),
        "keypoint_joints": np.asarray(body.keypoint_joints),
    }
    for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "keypoint_vertices"):
        values = np.asarray(getattr(body, name))
        if not quantise or not values.size:
            arrays[name] = values
        elif name in _ROW_WEIGHTS:
            arrays[name] = _quantise_rows(name, np.asarray(values, np.float64))
        else:
            # One step per shape component: the step of the first would be too coarse for the weak components.
            axes = (0, 1) if values.ndim == 3 else None
            step = np.abs(np.asarray(values, np.float64)).max(axis=axes) / _INT16_MAX
            arrays[name] = np.rint(values / np.where(step == 0, 1, step)).astype(np.int16)
            arrays[f"{name}_step"] = step
    header = {"format": FORMAT, "version": VERSION, **asdict(provenance)}

    replace_file(path, lambda stream: save_arrays(stream, header, arrays, compressed=True))


def _dequantise(name: str, stored: Mapping[str, np.ndarray]) -> np.ndarray:
    values = stored[name]
    if values.dtype != np.int16:
        return values
    if name in _ROW_WEIGHTS:
        # An integer sum is the same in any order, so mirrored rows get bit-identical weights.
        sums = values.sum(axis=1, keepdims=True, dtype=np.int64)
        return values / np.where(sums == 0, 1, sums)
    return values * stored[f"{name}_step"]


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The description in a body file.

    Raises:
        BodyFileError: not a samebody body file.
    """
    path = Path(path)
    with _opened(path) as stored:
        return _checked_header(stored.json_header(), path)


@contextmanager
def _opened(path: Path) -> Iterator[StoredArrays]:
    try:
        with open_arrays(path, BodyFileError, LARGEST_BODY_BYTES) as stored:
            yield stored
    except FileNotFoundError:
        raise BodyFileError(f"no body file {path}") from None


def _checked_header(header: Any, path: Path) -> dict[str, Any]:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise BodyFileError(f"{path.name}: an .npz, but not a samebody body; make one with: samebody export-body smplx")
    if header.get("version") != VERSION:
        raise BodyFileError(
            f"{path.name}: body file version {str(header.get('version'))[:20]}, this samebody reads {VERSION}; "
            "export the body again with this version"
        )
    return header


def load_body(path: str | os.PathLike[str]) -> BodyModel:
    """Read a body file.

    Raises:
        BodyFileError: missing, damaged, of another format or version, or with arrays that do not fit together.
    """
    path = Path(path)
    with _opened(path) as opened:
        header = _checked_header(opened.json_header(), path)
        stored = {name: opened.read(name) for name in opened.names if name != HEADER_NAME}
        check_digest(header, stored)
    missing = [name for name in _ARRAYS if name not in stored]
    if missing:
        raise BodyFileError(f"{path.name}: damaged, arrays are missing: {', '.join(missing)}")
    try:
        arrays = {name: _dequantise(name, stored) for name in _ARRAYS}
        body_name = str(header["name"])
    except (KeyError, ValueError, TypeError) as error:
        raise BodyFileError(f"{path.name}: damaged ({type(error).__name__}: {error})") from error
    return build_body(arrays, body_name, path.name)


def build_body(arrays: Mapping[str, np.ndarray], name: str, origin: str) -> BodyModel:
    """A body from arrays, checked for shape, sense and finiteness.

    Raises:
        BodyFileError: something does not fit; the message names ``origin`` and the array.
    """
    for key in ("parents", "keypoint_names"):
        if arrays[key].ndim != 1:
            raise BodyFileError(f"{origin}: {key} has shape {arrays[key].shape}, expected a plain list")
    joints, keypoints = len(arrays["parents"]), len(arrays["keypoint_names"])
    vertices = len(arrays["v_template"]) if arrays["v_template"].ndim else 0
    if not joints or not vertices:
        raise BodyFileError(f"{origin}: a body without {'vertices' if joints else 'joints'}")
    expected = {
        "v_template": (vertices, 3),
        "shapedirs": (vertices, 3, None),
        "posedirs": (vertices, 3, None),
        "J_regressor": (joints, vertices),
        "weights": (vertices, joints),
        "faces": (None, 3),
        "keypoint_vertices": (keypoints, vertices),
        "keypoint_joints": (keypoints, joints),
    }
    for key, shape in expected.items():
        actual = arrays[key].shape
        if len(actual) != len(shape) or any(e is not None and e != a for e, a in zip(shape, actual, strict=True)):
            raise BodyFileError(f"{origin}: {key} has shape {actual}, expected {str(shape).replace('None', 'any')}")
        if arrays[key].dtype.kind not in ("iu" if key == "faces" else "fiu"):
            raise BodyFileError(f"{origin}: {key} holds {arrays[key].dtype}, expected numbers")
        if not np.isfinite(arrays[key]).all():
            raise BodyFileError(f"{origin}: {key} holds NaN or infinity")
    features = arrays["posedirs"].shape[-1]
    if features not in (0, 9 * (joints - 1)):
        raise BodyFileError(f"{origin}: posedirs has {features} pose features, expected 0 or {9 * (joints - 1)}")
    if arrays["faces"].size and not 0 <= arrays["faces"].min() <= arrays["faces"].max() < vertices:
        raise BodyFileError(f"{origin}: faces name vertices that do not exist")
    if not np.allclose(arrays["weights"].sum(axis=1), 1, atol=1e-3):
        raise BodyFileError(f"{origin}: skinning weights do not sum to one")
    names = tuple(str(keypoint) for keypoint in arrays["keypoint_names"])
    if len(set(names)) != keypoints:
        raise BodyFileError(f"{origin}: keypoint names are not unique")
    try:
        parents = tuple(int(parent) for parent in arrays["parents"])
        tree_levels(parents)
    except ValueError as error:
        raise BodyFileError(f"{origin}: {error}") from error
    digest = hashlib.sha256()
    for key in expected:
        digest.update(np.ascontiguousarray(arrays[key], np.int32 if key == "faces" else np.float32).tobytes())
    dtype = jnp.result_type(float)
    floats = {k: jnp.asarray(np.asarray(v, dtype), dtype) for k, v in arrays.items() if k in expected and k != "faces"}
    return BodyModel(
        **floats,
        faces=jnp.asarray(np.asarray(arrays["faces"], np.int32), np.int32),
        keypoint_names=names,
        parents=parents,
        name=name,
        fingerprint=digest.hexdigest()[:16],
    )
