"""Packs numbers for the browser: one compressed block of typed arrays, and a table of their places.

Lengths and angles are rounded to visible precision: angles to a thousandth of a radian, places to a 32nd of a pixel of
the thumbnail, limbs to a hundredth of a per cent. Integers of two and four bytes are stored as planes of bytes: the low
bytes of all integers come first, then the next bytes. Neighbouring bytes are then similar and compress well. Ten
thousand rows take about 4 MB as text.
"""

import base64
import json
import zlib
from typing import Any

import numpy as np

from adapters.results.report.fits import Fits
from adapters.results.report.limbs import LIMBS
from adapters.results.report.outlines import OutlineDrawings
from adapters.results.report.scores import Scores
from adapters.results.report.thumbnails import Frame
from engine.body.model import BodyModel
from engine.body.schemas import KeypointSchema
from engine.scores import LABELS

_ANGLE, _BETA, _PLACE, _LIMB = 1e-3, 1e-3, 1 / 32, 1e-4
_BONES_PER_VERTEX = 4


class ArrayBlock:
    """Collects named arrays; the page holds ``entries`` and ``text``."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, name: str, values: np.ndarray, step: float = 1.0) -> None:
        """Keep an array as it is; the browser multiplies it by ``step``."""
        values = np.ascontiguousarray(values)
        kind = {"f": "float32", "u": f"uint{8 * values.itemsize}", "i": f"int{8 * values.itemsize}"}[values.dtype.kind]
        content = values.view(np.uint8).reshape(-1, values.itemsize).T.tobytes()
        self.entries[name] = {"type": kind, "at": self._length, "shape": list(values.shape), "step": step}
        self._parts.append(content)
        self._length += len(content)

    def add_rounded(self, name: str, values: np.ndarray, step: float) -> None:
        """Keep multiples of ``step`` as 16-bit integers; larger values are clipped."""
        whole = np.clip(np.rint(np.nan_to_num(np.asarray(values, float)) / step), -32767, 32767)
        self.add(name, whole.astype("<i2"), step)

    def text(self) -> str:
        """Base64 of the deflated block."""
        return base64.b64encode(zlib.compress(b"".join(self._parts), 6)).decode()


def add_scores(block: ArrayBlock, scores: Scores, person: np.ndarray) -> None:
    """Columns of the result file."""
    for name, values in scores.numbers.items():
        block.add(name, values.astype("<f4"))
    codes = {label: code for code, label in enumerate(LABELS)}
    block.add("status", np.array([codes.get(label, len(LABELS) - 1) for label in scores.status], np.uint8))
    block.add("instance", np.array(scores.instance, "<i4"))
    block.add("person", person.astype("<u2"))


def add_fits(block: ArrayBlock, fits: Fits, frames: list[Frame], has_picture: np.ndarray) -> None:
    """The drawn data, in pixels of the thumbnails."""
    place = np.array(frames, float).reshape(-1, 5)
    corner, scale = place[:, None, :2], place[:, 2]
    block.add("frame", place[:, 3:].astype("<u2"))
    block.add("picture", has_picture.astype(np.uint8))
    block.add("drawn", fits.drawn.astype(np.uint8))
    block.add("confidence", np.rint(np.clip(fits.confidence, 0, 1) * 255).astype(np.uint8), 1 / 255)
    block.add_rounded("keypoints", (fits.keypoints_px - corner) * scale[:, None, None], _PLACE)
    block.add_rounded("residuals", fits.residuals_px * scale[:, None, None], _PLACE)
    if not fits.drawn.any():
        return
    for whose, pose, camera in (
        ("reference", fits.reference_pose, fits.reference_camera),
        ("own", fits.own_pose, fits.own_camera),
    ):
        block.add_rounded(f"{whose}_pose", pose, _ANGLE)
        moved = (camera[:, 1:] - corner[:, 0]) * scale[:, None]
        block.add(f"{whose}_camera", np.column_stack([camera[:, 0] * scale, moved]).astype("<f4"))
    block.add_rounded("own_betas", fits.own_betas, _BETA)
    block.add_rounded("limb_change", fits.limb_change, _LIMB)
    block.add_rounded("limb_deviation", fits.limb_deviation, _LIMB)
    block.add("limb_shown", np.rint(np.clip(fits.limb_shown, 0, 1) * 255).astype(np.uint8), 1 / 255)


def add_outlines(block: ArrayBlock, outlines: OutlineDrawings | None, frames: list[Frame]) -> dict[int, str]:
    """Ends of rays in pixels of the thumbnails, with a mark for those that were seen; gives the words by row."""
    if outlines is None:
        return {}
    place = np.array(frames, float).reshape(-1, 5)
    ends = (outlines.ends_px - place[:, None, :2]) * place[:, 2, None, None]
    block.add("edge_seen", np.isfinite(ends[..., 0]).astype(np.uint8))
    block.add_rounded("edges", ends, _PLACE)
    return {row: words for row, words in outlines.words.items() if words}


def add_body(block: ArrayBlock, body: BodyModel, betas: int) -> None:
    """The mesh, shaped and posed in the browser; pose blendshapes move vertices by millimetres and are left out."""
    template = np.asarray(body.v_template, float)
    shapedirs = np.asarray(body.shapedirs, float)[..., :betas]
    block.add_rounded("template", template, np.abs(template).max() / 32767)
    block.add_rounded("shapedirs", shapedirs, np.abs(shapedirs).max() / 32767)
    weights = np.asarray(body.weights, float)
    bones = np.argsort(-weights, axis=1, kind="stable")[:, :_BONES_PER_VERTEX]
    strength = np.take_along_axis(weights, bones, axis=1)
    strength /= strength.sum(axis=1, keepdims=True)
    block.add("bones", bones.astype(np.uint8))
    block.add("bone_weights", np.rint(strength * 255).astype(np.uint8), 1 / 255)
    block.add("faces", np.asarray(body.faces).astype("<u4"))
    regressor = np.asarray(body.J_regressor, float)
    block.add("joints", (regressor @ template).astype("<f4"))
    block.add("joint_shapedirs", np.einsum("jv,vcb->jcb", regressor, shapedirs).astype("<f4"))


def row_texts(scores: Scores) -> dict[str, Any]:
    """Names and remarks of rows."""
    return {
        "images": scores.image,
        "details": {row: text for row, text in enumerate(scores.detail) if text},
        "statuses": list(LABELS),
        "columns": list(scores.numbers),
    }


def drawing_texts(schema: KeypointSchema | None, parents: tuple[int, ...]) -> dict[str, Any]:
    """The description of the drawings' arrays; empty if there are no keypoints."""
    return {
        "keypoint_names": [] if schema is None else list(schema.keypoint_names),
        "edges": [] if schema is None else [list(edge) for edge in schema.edges],
        "parents": list(parents),
        "limbs": [] if schema is None else [name for name, _ in LIMBS],
    }


def safe_json(value: Any) -> str:
    """JSON that is safe inside a script element, for any texts in it."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
