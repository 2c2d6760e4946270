"""Keypoints in whatever form a Python program has them, as one table: paths, tables, arrays, results of MMPose."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adapters.host.inputs import array_table, keypoint_table
from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import KeypointTable
from engine.body.schemas import find_schema


def any_table(keypoints: Any, confidence: Any = None, schema: str | None = None) -> KeypointTable:
    """A table of everybody in all pictures.

    Args:
        keypoints: a path or several, of keypoint files or folders of them; a ``KeypointTable``; an array (pictures,
            keypoints, 2) with ``confidence``; or one entry per picture in a form of ``adapters.host.inputs``, such as
            what MMPoseInferencer yields. Pictures without names are called by their numbers.
        confidence: (pictures, keypoints), 0 (not seen) to 1; only for an array.
        schema: of the keypoints, where their number does not tell.

    Raises:
        ValueError: it is none of these, or a file cannot be read.
    """
    if isinstance(keypoints, KeypointTable):
        return keypoints
    if isinstance(keypoints, (str, os.PathLike)):
        keypoints = [keypoints]
    if _are_paths(keypoints):
        return read_keypoints([Path(path) for path in keypoints], find_schema(schema) if schema else None)
    if confidence is not None:
        points, scores = np.asarray(keypoints), np.asarray(confidence)
        one = points.ndim == 2
        points, scores = (points[None], scores[None]) if one else (points, scores)
        return array_table([str(number) for number in range(len(points))], points, scores, schema)
    pictures = keypoints if isinstance(keypoints, (list, tuple, np.ndarray)) else list(keypoints)
    return keypoint_table([str(number) for number in range(len(pictures))], list(pictures), schema)


def _are_paths(values: Any) -> bool:
    return isinstance(values, Sequence) and len(values) > 0 and all(isinstance(v, (str, os.PathLike)) for v in values)
