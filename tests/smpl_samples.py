"""Small bodies in SMPL's format, for tests: random, but with everything that SMPL has.

Licensed files are never needed. ``sample_model`` gives the arrays under SMPL's names; the writers put them into files
like the official ones: plain, with a sparse regressor, with chumpy's expressions, as Python 2 wrote them.
"""

import io
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from adapters.bodies.smpl_files import JOINT_KEYPOINTS, KeypointOrigin

PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
"""SMPL's tree of joints."""

VERTEX_PICKS = {
    "nose": 3, "left_eye": 14, "right_eye": 15, "left_ear": 92, "right_ear": 65, "head": 35,
    "left_big_toe": 89, "left_small_toe": 79, "left_heel": 32, "right_big_toe": 38, "right_small_toe": 46,
    "right_heel": 26,
}  # fmt: skip
SAMPLE_KEYPOINTS: dict[str, KeypointOrigin] = {**JOINT_KEYPOINTS, **VERTEX_PICKS}
"""Every keypoint that an SMPL body has, at vertices that the samples have."""


def sample_model(seed: int = 0, vertex_count: int = 300, beta_count: int = 10) -> dict[str, np.ndarray]:
    """A body of metres in size, with random shapes, pose blendshapes, weights and regressor.

    The numbers are float64 that float32 can hold: smplx rounds what it reads to float32, even for a float64 model.
    """
    rng = np.random.default_rng(seed)
    joint_count = len(PARENTS)
    heights = rng.normal(0.0, 0.1, (joint_count, 3))
    for joint, parent in enumerate(PARENTS[1:], start=1):
        heights[joint] += heights[parent]
    owner = np.arange(vertex_count) % joint_count
    weights = rng.gamma(0.3, size=(vertex_count, joint_count)) * (rng.random((vertex_count, joint_count)) < 0.15)
    weights[np.arange(vertex_count), owner] += 1.0
    regressor = rng.random((joint_count, vertex_count)) * (owner == np.arange(joint_count)[:, None])
    model = {
        "v_template": heights[owner] + rng.normal(0.0, 0.05, (vertex_count, 3)),
        "shapedirs": rng.normal(0.0, 0.01, (vertex_count, 3, beta_count)),
        "posedirs": rng.normal(0.0, 0.005, (vertex_count, 3, 9 * (joint_count - 1))),
        "J_regressor": _shares(regressor),
        "weights": _shares(weights),
    }
    return {
        **{name: array.astype(np.float32).astype(np.float64) for name, array in model.items()},
        "f": rng.integers(0, vertex_count, (2 * vertex_count, 3)).astype(np.uint32),
        # The root's parent, -1, as the official files have it.
        "kintree_table": np.stack([np.array(PARENTS, np.int64) % 2**32, np.arange(joint_count)]).astype(np.uint32),
    }


def _shares(matrix: np.ndarray) -> np.ndarray:
    """Rows scaled to sum to one, exactly: in multiples of 2⁻²⁰, the largest entry taking what is left."""
    parts = np.floor(matrix / matrix.sum(axis=1, keepdims=True) * 2**20)
    parts[np.arange(len(parts)), parts.argmax(axis=1)] += 2**20 - parts.sum(axis=1)
    return parts / 2**20


def random_pose(seed: int, angle: float = 1.0) -> np.ndarray:
    """A rotation vector for every joint, each coordinate normal with standard deviation ``angle``."""
    return np.random.default_rng(seed).normal(0.0, angle, (len(PARENTS), 3))


def write_npz(path: Path, model: dict[str, Any]) -> Path:
    np.savez(path, **model)
    return path


class _Python2Pickler(pickle._Pickler):
    """Writes text and bytes alike as the byte strings of Python 2."""

    def save_byte_string(self, text: Any) -> None:
        data = text.encode("ascii") if isinstance(text, str) else text
        if self.proto == 0:
            self.write(b"S" + repr(data)[1:].encode("ascii") + b"\n")
        else:
            self.write(b"T" + len(data).to_bytes(4, "little") + data)
        self.memoize(text)

    dispatch = {**pickle._Pickler.dispatch, str: save_byte_string, bytes: save_byte_string}  # noqa: RUF012


def python2_dumps(content: Any, protocol: int = 2) -> bytes:
    """A pickle as Python 2 would have written it, with the module names of its time."""
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol).dump(content)
    renamed = stream.getvalue()
    for new, old in ((b"cnumpy._core.", b"cnumpy.core."), (b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n")):
        renamed = renamed.replace(new, old)
    return renamed


Dumps = Callable[[Any, int], bytes]


def write_pkl(path: Path, model: dict[str, Any], protocol: int = 2, dumps: Dumps = pickle.dumps) -> Path:
    """A pickle with a sparse regressor and the texts that the official files hold besides the arrays."""
    from scipy.sparse import csc_matrix

    sparse = {**model, "J_regressor": csc_matrix(model["J_regressor"]), "bs_style": "lbs", "bs_type": "lrotmin"}
    path.write_bytes(dumps(sparse, protocol))
    return path


@contextmanager
def _standing_for_chumpy() -> Iterator[tuple[type, type]]:
    """Classes with the names and the state of chumpy's, so that pickles of them read like those of chumpy."""

    class Ch:
        pass

    class Select(Ch):
        pass

    modules = {name: ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    for cls, module in ((Ch, "chumpy.ch"), (Select, "chumpy.reordering")):
        cls.__module__, cls.__qualname__ = module, cls.__name__
        setattr(modules[module], cls.__name__, cls)
    sys.modules.update(modules)
    try:
        yield Ch, Select
    finally:
        for name in modules:
            del sys.modules[name]


def write_chumpy_pkl(path: Path, model: dict[str, np.ndarray], protocol: int = 2, dumps: Dumps = pickle.dumps) -> Path:
    """As the files of SMPL 1.0: ``v_template`` and ``weights`` as Ch, ``shapedirs`` as a Select of a Ch."""
    with _standing_for_chumpy() as (ch_class, select_class):

        def chumpy(array: np.ndarray) -> Any:
            node: Any = ch_class()
            node.__dict__.update(
                x=array, _dirty_vars={"x"}, _itr=None, _depends_on_deps={}, _make_dense=False, _make_sparse=False
            )
            return node

        # The components stand in another array, among others.
        shapedirs = model["shapedirs"]
        longer = np.concatenate([np.full_like(shapedirs, 9.0), shapedirs], axis=-1)
        place = np.arange(longer.size).reshape(longer.shape)[..., shapedirs.shape[-1] :]
        select: Any = select_class()
        select.__dict__.update(a=chumpy(longer), idxs=place.ravel(), preferred_shape=shapedirs.shape, _dirty_vars=set())
        nodes = {"v_template": chumpy(model["v_template"]), "weights": chumpy(model["weights"]), "shapedirs": select}
        return write_pkl(path, {**model, **nodes}, protocol, dumps)
