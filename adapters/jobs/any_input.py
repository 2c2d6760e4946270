"""Keypoints, bodies and shapes in the forms that Python programs use: paths, arrays, objects."""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adapters.bodies.find import find_body
from adapters.host.inputs import array_table, keypoint_table
from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import KeypointTable, with_clothes
from engine.body.model import BodyModel
from engine.body.schemas import find_schema
from engine.picture.clothes import Clothes
from engine.shape import Shape


def any_table(keypoints: Any, confidence: Any = None, schema: str | None = None) -> KeypointTable:
    """A table of everybody in all pictures.

    Args:
        keypoints: a path or several, of keypoint files or folders of them; a ``KeypointTable``; an array (pictures,
            keypoints, 2) with ``confidence``; or one entry per picture in a form of ``adapters.host.inputs``, such as
            results of MMPoseInferencer. Pictures without names are named by their numbers.
        confidence: (pictures, keypoints), 0 (not seen) to 1; only for an array.
        schema: schema of the keypoints, if their number does not determine it.

    Raises:
        ValueError: another form, or a file cannot be read.
    """
    if isinstance(keypoints, KeypointTable):
        return keypoints
    if isinstance(keypoints, (str, os.PathLike)) or _are_paths(keypoints):
        return read_keypoints(any_paths(keypoints), find_schema(schema) if schema else None)
    if confidence is not None:
        points, scores = np.asarray(keypoints), np.asarray(confidence)
        one = points.ndim == 2
        points, scores = (points[None], scores[None]) if one else (points, scores)
        return array_table([str(number) for number in range(len(points))], points, scores, schema)
    pictures = keypoints if isinstance(keypoints, (list, tuple, np.ndarray)) else list(keypoints)
    return keypoint_table([str(number) for number in range(len(pictures))], list(pictures), schema)


def outlined_table(table: KeypointTable, masks: str | os.PathLike[str] | None, clothes: Clothes) -> KeypointTable:
    """The table with outlines from a folder of masks, and with known clothes. Masks that cannot be used are warned of.

    Raises:
        ValueError: there are no masks in the folder, or no such clothes.
    """
    if masks is not None:
        from adapters.keypoints.outlines.mask_folder import add_outlines, find_masks

        table, summary = add_outlines(table, find_masks(masks))
        for problem in summary.problems():
            warnings.warn(problem, stacklevel=3)
    return with_clothes(table, clothes)


def any_body(body: str | BodyModel) -> BodyModel:
    """A body, given as such or by name or file.

    Raises:
        ValueError: there is no such body.
    """
    return find_body(body) if isinstance(body, str) else body


def any_people(shape: str | os.PathLike[str] | Shape | Mapping[str, Shape]) -> Shape | Mapping[str, Shape]:
    """A shape, given as such or by file, or several by name.

    Raises:
        ValueError: the file is not a shape.
    """
    return Shape.load(shape) if isinstance(shape, (str, os.PathLike)) else shape


def any_paths(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """One path or several, as a list."""
    return [Path(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]


def _are_paths(values: Any) -> bool:
    return isinstance(values, Sequence) and len(values) > 0 and all(isinstance(v, (str, os.PathLike)) for v in values)
