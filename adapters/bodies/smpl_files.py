"""Official SMPL model files (.pkl or .npz) as bodies of samebody's, without chumpy, torch or smplx.

    file = find_smpl_file("models/smpl", "neutral")
    body = load_smpl_file(file, "neutral")

Keypoints. Limbs are SMPL's joints. Face and feet are the vertices that smplx reads them from (its ``vertex_ids`` for
SMPL and SMPL+H, which share a mesh). The top of the head is vertex 411, the leaf of the head joint in HybrIK (Li et
al., CVPR 2021). ``neck`` and ``hip`` are the middles of the shoulders and of the hips, as COCO-trained detectors and
OpenPose define them, not SMPL's joints of these names. Vertex numbers are valid only for SMPL's mesh (6,890 vertices).
A body with another mesh and no table of its own has only the keypoints that are made of joints.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from adapters.bodies.model_folder import gender_of, model_like_files, what_was_seen
from adapters.bodies.pickled_arrays import array_from
from adapters.bodies.safe_pickle import SafePickleError, read_pickle
from engine.body.body_file import BodyProvenance, build_body
from engine.body.files.arrays import open_arrays
from engine.body.model import BodyModel
from engine.body.schema_tables import SMPL_24

GENDERS = ("neutral", "male", "female")
SMPL_LICENCE = (
    "SMPL body model licence (smpl.is.tue.mpg.de/modellicense.html): registered users only, not to be passed on"
)
WHERE_TO_GET_SMPL = (
    "SMPL's files come from https://smpl.is.tue.mpg.de after a free registration; put them into models/smpl/ "
    "or say where they are with --model-path"
)
SMPL_VERTEX_COUNT = 6890

KeypointOrigin = int | tuple[str, ...]
"""The place of a keypoint: a vertex, or the middle of joints."""

JOINT_KEYPOINTS: Mapping[str, KeypointOrigin] = {
    **{
        f"{side}_{limb}": (f"{side}_{limb}",)
        for limb in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in ("left", "right")
    },
    "neck": ("left_shoulder", "right_shoulder"),
    "hip": ("left_hip", "right_hip"),
}
SMPL_KEYPOINTS: Mapping[str, KeypointOrigin] = {
    **JOINT_KEYPOINTS,
    "nose": 332,
    "left_eye": 2800,
    "right_eye": 6260,
    "left_ear": 583,
    "right_ear": 4071,
    "head": 411,
    "left_big_toe": 3216,
    "left_small_toe": 3226,
    "left_heel": 3387,
    "right_big_toe": 6617,
    "right_small_toe": 6624,
    "right_heel": 6787,
}

_ARRAYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f", "kintree_table")
LARGEST_ARRAYS_BYTES = 256 << 20
"""SMPL with 300 shape components, in float64 as its makers write it, takes 130 MiB."""
_OTHER_MODELS = {5: "FLAME", 16: "MANO", 52: "SMPL+H", 55: "SMPL-X"}


class SmplFileError(ValueError):
    """A file is not a usable SMPL model; the message has the reason and the source of SMPL's files."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}. {WHERE_TO_GET_SMPL}")


def find_smpl_file(model_path: str | os.PathLike[str], gender: str) -> Path:
    """The model file of a gender, by its official name, in a folder or some levels below it; or the file.

    Raises:
        SmplFileError: there is none, or the file's name has another gender; the message lists the files found.
    """
    if gender not in GENDERS:
        raise SmplFileError(f"no SMPL model of gender {gender!r}; there are: {', '.join(GENDERS)}")
    path = Path(model_path)
    if path.is_file():
        if gender_of(path.name) not in (None, gender):
            raise SmplFileError(f"{path.name} is the {gender_of(path.name)} model, but {gender} was asked for")
        return path
    if not path.is_dir():
        raise SmplFileError(f"there is no file or folder {path}")
    found = model_like_files(path)
    files = [file for file in found if gender_of(file.name)]
    for file in files:
        if gender_of(file.name) == gender:
            return file
    others = sorted({str(gender_of(file.name)) for file in files})
    seen = f"only {' and '.join(others)}" if others else "no SMPL files at all"
    initial = gender if gender == "neutral" else gender[0]
    raise SmplFileError(
        f"{path} holds {seen}, {gender} was asked for: "
        f"expected SMPL_{gender.upper()}.pkl, SMPL_{gender.upper()}.npz or basicmodel_{initial}_lbs_10_207_0_v1.1.0.pkl"
        f"{what_was_seen(path, found, gender)}"
    )


def load_smpl_file(
    path: str | os.PathLike[str], gender: str, keypoints: Mapping[str, KeypointOrigin] | None = None
) -> BodyModel:
    """An SMPL model with all shape components of its file, in JAX's default precision.

    Args:
        keypoints: for bodies of another mesh; by default see the head of this module.

    Raises:
        SmplFileError: the file is damaged, is not an SMPL model, or holds anything but data.
    """
    path = Path(path)
    try:
        arrays = _read_arrays(path)
    except SafePickleError as error:
        raise SmplFileError(str(error)) from error
    return build_smpl_body(arrays, gender, path.name, keypoints)


def smpl_provenance(path: str | os.PathLike[str], gender: str) -> BodyProvenance:
    """The name and the digest of the file that a body was made from."""
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return BodyProvenance(f"SMPL {gender}", f"{Path(path).name}, sha256 {digest}", SMPL_LICENCE)


def build_smpl_body(
    arrays: Mapping[str, np.ndarray], gender: str, origin: str, keypoints: Mapping[str, KeypointOrigin] | None = None
) -> BodyModel:
    """A body from the arrays of an SMPL model, named as in its files.

    Raises:
        SmplFileError: the arrays are of another model, or do not fit together.
    """
    tree = arrays["kintree_table"]
    if tree.ndim != 2 or tree.shape[0] != 2 or tree.dtype.kind not in "iu":
        raise SmplFileError(
            f"{origin}: kintree_table has shape {tree.shape} of {tree.dtype}, expected integers (2, 24)"
        )
    if tree.shape[1] != len(SMPL_24):
        model = _OTHER_MODELS.get(tree.shape[1], "another model")
        raise SmplFileError(f"{origin} holds {model} ({tree.shape[1]} joints), not SMPL ({len(SMPL_24)} joints)")
    # The root's parent is written as 2³² − 1.
    parents = np.concatenate([[-1], tree[0, 1:].astype(np.int64)])
    vertex_count = len(arrays["v_template"]) if arrays["v_template"].ndim else 0
    if keypoints is None:
        keypoints = SMPL_KEYPOINTS if vertex_count == SMPL_VERTEX_COUNT else JOINT_KEYPOINTS
    of_vertices, of_joints = _keypoint_weights(keypoints, vertex_count, origin)
    fields = {
        **{name: arrays[name] for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")},
        "faces": arrays["f"],
        "parents": parents,
        "keypoint_vertices": of_vertices,
        "keypoint_joints": of_joints,
        "keypoint_names": np.array(list(keypoints)),
    }
    try:
        return build_body(fields, f"SMPL {gender}", origin)
    except ValueError as error:
        raise SmplFileError(str(error)) from error


def _keypoint_weights(
    keypoints: Mapping[str, KeypointOrigin], vertex_count: int, origin: str
) -> tuple[np.ndarray, np.ndarray]:
    of_vertices = np.zeros((len(keypoints), vertex_count))
    of_joints = np.zeros((len(keypoints), len(SMPL_24)))
    for row, (name, place) in enumerate(keypoints.items()):
        if isinstance(place, tuple):
            of_joints[row, [SMPL_24.index(joint) for joint in place]] = 1 / len(place)
        elif 0 <= place < vertex_count:
            of_vertices[row, place] = 1
        else:
            raise SmplFileError(f"{origin} has {vertex_count} vertices, but the keypoint {name} is at vertex {place}")
    return of_vertices, of_joints


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with open(path, "rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise SmplFileError(f"cannot read {path}: {error.strerror}") from error
    if not start:
        raise SmplFileError(f"{path.name} is empty")
    if start.startswith(b"version https://git-lfs"):
        raise SmplFileError(f"{path.name} is a Git LFS pointer, not the file itself; fetch it with: git lfs pull")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise SmplFileError(f"{path.name} is a web page, saved in place of the file; log in and download it again")
    return _read_npz(path) if start.startswith(b"PK") else _read_pkl(path)


def _read_pkl(path: Path) -> dict[str, np.ndarray]:
    entries = read_pickle(path)
    _require_arrays(path, entries)
    arrays = {}
    for name in _ARRAYS:
        try:
            arrays[name] = array_from(entries[name])
        except SafePickleError as error:
            raise SmplFileError(f"{path.name}: {name}: {error}") from error
    return arrays


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with open_arrays(path, SmplFileError, LARGEST_ARRAYS_BYTES) as stored:
        _require_arrays(path, dict.fromkeys(stored.names))
        return {name: stored.read(name) for name in _ARRAYS}


def _require_arrays(path: Path, entries: Mapping[str, object]) -> None:
    missing = [name for name in _ARRAYS if name not in entries]
    inside = [name for name in entries if name.lower().endswith((".pkl", ".npz"))]
    if missing and inside:
        raise SmplFileError(f"{path.name} is an archive with {', '.join(inside[:5])} in it; unpack it first")
    if missing:
        raise SmplFileError(f"{path.name} is no SMPL model: it has no {', '.join(missing)}")
