"""SMPL for samebody: from a live ``smplx`` model, or from the official files into a body file.

    body = export_live_model(smplx.create("models", "smpl"))        an smplx model that is already in memory
    export_smpl("models/smpl", "neutral", "body.npz")               what ``samebody export-body smplx`` does

Neither needs smplx or torch to be installed: a live model brings them along, files are read by ``smpl_files``.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from adapters.bodies.smpl_files import (
    KeypointOrigin,
    build_smpl_body,
    find_smpl_file,
    gender_of,
    load_smpl_file,
    smpl_provenance,
)
from engine.body.body_file import BodyFileError, read_header, save_body
from engine.body.model import BodyModel


def export_live_model(model: Any, keypoints: Mapping[str, KeypointOrigin] | None = None) -> BodyModel:
    """The body of an ``smplx.SMPL`` or ``smplx.SMPLLayer``, with the shape components that the model has loaded.

    Write it with ``engine.body.body_file.save_body``.

    Args:
        keypoints: for models of another mesh; by default see ``smpl_files``.

    Raises:
        SmplFileError: the model is not SMPL; the message names SMPL-X and similar models.
        ValueError: the object is not an smplx model.
    """
    try:
        # smplx keeps posedirs as features × (vertices · 3).
        vertices = _numpy(model.v_template)
        parents = _numpy(model.parents)
        arrays = {
            "v_template": vertices,
            "shapedirs": _numpy(model.shapedirs),
            "posedirs": _numpy(model.posedirs).T.reshape(*vertices.shape, -1),
            "J_regressor": _numpy(model.J_regressor),
            "weights": _numpy(model.lbs_weights),
            "f": _numpy(model.faces_tensor),
            "kintree_table": np.stack([parents, np.arange(len(parents))]),
        }
        gender = str(model.gender)
    except AttributeError as error:
        raise ValueError(
            f"{type(model).__name__} is no smplx model ({error}); make one with smplx.SMPL(...)"
        ) from error
    return build_smpl_body(arrays, gender, f"the {type(model).__name__} model", keypoints)


def _numpy(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def export_smpl(
    model_path: str | os.PathLike[str], gender: str, out: str | os.PathLike[str], beta_count: int = 10
) -> BodyModel:
    """Turn an official SMPL file into a body file, and return the body.

    Args:
        model_path: the file, or a folder in which to look for the file of ``gender``.
        beta_count: how many shape components to keep; official files have 10 or 300.

    Raises:
        SmplFileError: the file does not exist, or is not an SMPL model.
        ValueError: the file has fewer shape components, or ``out`` cannot be written.
    """
    file = find_smpl_file(model_path, gender)
    named_like_one = gender_of(os.path.basename(out)) is not None
    if os.path.exists(out) and (os.path.samefile(file, out) or (named_like_one and not _is_body_file(out))):
        raise ValueError(f"{out} is a model file of SMPL's and would be overwritten; give another --out")
    body = load_smpl_file(file, gender).with_betas(beta_count)
    save_body(out, body, smpl_provenance(file, gender))
    return body


def _is_body_file(path: str | os.PathLike[str]) -> bool:
    """True if a file is a body that samebody wrote, and may be overwritten."""
    try:
        read_header(path)
    except BodyFileError:
        return False
    return True
