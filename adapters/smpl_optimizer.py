"""Functions for a host's ``vision_engine``: one β from reference keypoints, and a consistency for each picture.

    beta = optimize_shared_beta([{"keypoints": (K, 2), "confidence": (K,)}, ...], smpl_model)          (10,) float32
    consistency = compute_fitting_consistency({"keypoints": ..., "confidence": ...}, beta, smpl_model)     0..1

``smpl_model`` is a live ``smplx.SMPL`` or a samebody body; β has a meaning for that body only. ``adapters.host.inputs``
lists the forms of keypoints; lists, NumPy arrays and torch tensors are equivalent. Coordinates are pixels, x right, y
down. Confidence 0 means "not seen"; such a point has no effect.

mode="free" (the default): every picture has its own pose and camera. mode="rest" is the original recipe: the body
stands in a T-pose and only shape and camera are fitted. If people do not stand in a T-pose, its result measures the
pose.

The same keypoints give the same bits, in any order of calls and from any thread. Compiled code and precomputed data of
a body are kept, so only the first call is slow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from adapters.host.inputs import as_body, as_shape, keypoint_table, readable, reference_table
from adapters.jobs.fit import FitSettings, fit_references
from adapters.jobs.scorer import Scorer
from engine.body.model import BodyModel
from engine.body.schemas import KeypointSchema
from engine.picture.cameras import WeakPerspective
from engine.scores import Mode


def optimize_shared_beta(
    keypoints_list: Sequence[Any],
    smpl_model: Any,
    *,
    mode: Mode = "free",
    schema: KeypointSchema | str | None = None,
) -> Float32[np.ndarray, "10"]:
    """The one shape that explains all reference pictures of a person best, under the prior β ~ N(0, I).

    Args:
        keypoints_list: one entry per reference picture, each with one person. References without a person, or with
            fewer than four keypoints, have no effect.
        schema: by default the known one with that number of keypoints (17: COCO).

    Raises:
        ValueError: a reference cannot be read, none can be used, or ``smpl_model`` is not a body.
    """
    images = [f"reference {i}" for i in range(len(keypoints_list))]
    table = reference_table(images, list(keypoints_list), schema)
    return fit_references(table, as_body(smpl_model), FitSettings(person="all", mode=mode)).betas


def compute_fitting_consistency(
    dataset_keypoints: Any,
    reference_beta: Any,
    smpl_model: Any,
    *,
    mode: Mode = "free",
    schema: KeypointSchema | str | None = None,
) -> float:
    """Consistency of a picture with the reference shape, 0..1; the picture that β was fitted to scores 1.

    mode="free": exp(−excess/threshold). The excess is the log likelihood of the picture's own shape minus that of the
    reference shape, in nats, by the evidence of the body's network (``engine.evidence.amortised.stage``) or, for a body
    without one, by fits (``engine.posed.scoring``). It needs β only, without evidence of the references.
    mode="rest": exp(−reprojection error/threshold) (``engine.picture.misfit``).

    Args:
        dataset_keypoints: one picture; or a list of pictures with one person each, or of several people in one
            picture: then the mean over those that can be scored.
        reference_beta: result of ``optimize_shared_beta`` for the same body and mode.

    Raises:
        ValueError: the picture cannot be read or has too few keypoints to be scored. (``BodyAnalyzer`` returns a
            status instead.)
    """
    table = readable(keypoint_table(["the picture"], [dataset_keypoints], schema))
    body = as_body(smpl_model)
    scores = Scorer(body, table.schema, as_shape(reference_beta, body, mode))(table)
    known = scores["consistency"]
    known = known[np.isfinite(known)]
    if not len(known):
        raise ValueError(f"the picture cannot be scored: {scores.labels[0]}")
    return float(np.mean(known, dtype=np.float64))


class SMPLOptimizer:
    """Joints of a mesh and their projection, for hosts that draw a fitted body over a picture."""

    def __init__(self, smpl_model: Any, joint_regressor: Any = None) -> None:
        """
        Args:
            smpl_model: see the docstring of this module.
            joint_regressor: (joints, vertices), dense or sparse; by default the model's own.

        Raises:
            ValueError: the regressor does not fit the mesh.
        """
        self.body: BodyModel = as_body(smpl_model)
        given: Any = self.body.J_regressor if joint_regressor is None else joint_regressor
        dense = given.toarray() if hasattr(given, "toarray") else given
        self.joint_regressor = _floats(dense)
        vertices = self.body.v_template.shape[0]
        if self.joint_regressor.ndim != 2 or self.joint_regressor.shape[1] != vertices:
            raise ValueError(
                f"joint_regressor has shape {self.joint_regressor.shape}, expected (joints, {vertices}) for "
                f"{self.body.name}"
            )

    def vertices_to_joints(self, vertices: Any) -> Float[np.ndarray, "*images joints 3"]:
        """Joints of a mesh, or of many along leading axes, in the unit of the vertices.

        Raises:
            ValueError: another number of vertices than the model has.
        """
        mesh = _floats(vertices)
        expected = (self.joint_regressor.shape[1], 3)
        if mesh.shape[-2:] != expected:
            raise ValueError(f"vertices have shape {mesh.shape}, expected (..., {expected[0]}, 3)")
        return self.joint_regressor @ mesh

    def project_to_2d(self, joints_3d: Any, camera: Any) -> Float[np.ndarray, "*images joints 2"]:
        """Projection of points by a weak-perspective camera: s·(x, −y) + t, in pixels for s in pixels per metre.

        Args:
            joints_3d: (..., joints, 3) in metres; x to the subject's left, y up.
            camera: (s, tx, ty), {"scale": s, "translation": (tx, ty)}, or an
                ``engine.picture.cameras.WeakPerspective``; with the leading axes of ``joints_3d``, or without axes.

        Raises:
            ValueError: points or camera have another form.
        """
        points = _floats(joints_3d)
        if points.ndim < 2 or points.shape[-1] != 3:
            raise ValueError(f"joints_3d have shape {points.shape}, expected (..., joints, 3)")
        if isinstance(camera, Mapping):
            scale, translation = _floats(camera["scale"]), _floats(camera["translation"])
        elif isinstance(camera, WeakPerspective):
            scale, translation = _floats(camera.scale), _floats(camera.translation)
        else:
            numbers = _floats(camera)
            if numbers.shape[-1:] != (3,):
                raise ValueError(f"camera has shape {numbers.shape}, expected (..., 3): scale and translation")
            scale, translation = numbers[..., 0], numbers[..., 1:]
        if translation.shape != (*scale.shape, 2):
            raise ValueError(f"camera has scale {scale.shape} and translation {translation.shape}, expected (..., 2)")
        plane = points[..., :2] * np.array([1, -1], points.dtype)
        return scale[..., None, None] * plane + translation[..., None, :]


def _floats(values: Any) -> np.ndarray:
    plain = values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
    return plain if plain.dtype == np.float64 else plain.astype(np.float32)
