"""Masks of people by MMDetection's instance segmentation, beside any detector of keypoints.

``MaskedDetector`` asks a detector for people and a segmentation model for masks, and gives each person the outline of
the mask that holds the person's keypoints (``outlines.whose``). Models without compiled operators run with mmcv-lite
(SOLO, SOLOv2, YOLACT, Mask2Former); others need mmcv (docs/detectors.md).
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from adapters.keypoints.detectors.mmpose_detector import (
    LEAST_BOX_SCORE,
    checkpoint_rules,
    library_versions,
    quietly,
    seeded,
    shipped_config,
)
from adapters.keypoints.detectors.mmpose_imports import import_mmpose
from adapters.keypoints.detectors.protocol import Box, Detection, Detector, DetectorError, Pixels, file_digest
from adapters.keypoints.outlines.mask_arrays import MOST_MASKS, Mask
from adapters.keypoints.outlines.whose import outlines_of_people
from adapters.keypoints.readers.columnar.outline_column import PLACES_DIGEST
from engine.body.schemas import KeypointSchema

_PERSON = "person"


class MaskModel:
    """One of MMDetection's models for instance segmentation."""

    def __init__(
        self,
        config: str,
        checkpoint: str | None = None,
        device: str = "cpu",
        trust_checkpoint: bool = False,
        least_score: float = LEAST_BOX_SCORE,
    ) -> None:
        """Build the model and load its weights.

        Args:
            config: a config file, or the name of one that MMDetection ships, without ``.py``.
            checkpoint: a file; None leaves the weights random, the same ones every time.
            trust_checkpoint: load a checkpoint that is more than arrays and plain values.
            least_score: a mask with a lower score is left out.

        Raises:
            DetectorError: MMDetection is missing, there is no such config, or the checkpoint is refused or broken.
        """
        path = mask_config(config)
        from mmdet.apis import init_detector

        with quietly(), seeded(), checkpoint_rules(checkpoint, trust_checkpoint):
            self._model: Any = init_detector(str(path), checkpoint, device=device)
        classes: list[str] = list(self._model.dataset_meta.get("classes") or ())
        if _PERSON not in classes:
            raise DetectorError(f"{path}: the model knows no class {_PERSON}")
        self._person = classes.index(_PERSON)
        self._least_score = least_score
        text = hashlib.sha256(str(self._model.cfg.pretty_text).encode()).hexdigest()[:16]
        weights = "random" if checkpoint is None else file_digest(checkpoint)
        self.identity = (
            f"{library_versions()} mmdet {metadata.version('mmdet')} config {text} weights {weights} {device} "
            f"score>={least_score:g} places {PLACES_DIGEST}"
        )

    def masks(self, picture: Pixels) -> list[Mask]:
        """The masks of the people in a picture, the most certain ones first.

        Raises:
            DetectorError: the model gives no masks, or needs an operator that is not installed.
        """
        from mmdet.apis import inference_detector

        # A fresh thread: the caller's own number of threads in torch stays as it is, and bits do not depend on it.
        with quietly(), ThreadPoolExecutor(1, initializer=_one_core) as pool:
            try:
                sample: Any = pool.submit(inference_detector, self._model, picture).result()
            except NotImplementedError as error:
                raise DetectorError(str(error)) from error
        found = sample.pred_instances
        if "masks" not in found:
            raise DetectorError("the mask model finds boxes only; give a config for instance segmentation")
        scores = found.scores.detach().cpu().numpy()
        people = (found.labels.detach().cpu().numpy() == self._person) & (scores >= self._least_score)
        chosen = np.flatnonzero(people)[np.argsort(-scores[people], kind="stable")][:MOST_MASKS]
        masks = np.asarray(found.masks.detach().cpu().numpy())[chosen].astype(bool)
        return [mask.astype(np.uint8) * np.uint8(255) for mask in masks if mask.any()]


class MaskedDetector:
    """A detector whose people have outlines from a mask model."""

    def __init__(self, detector: Detector, model: MaskModel) -> None:
        self._detector, self._model = detector, model
        self.schema: KeypointSchema = detector.schema
        self.identity = f"{detector.identity} masks {model.identity}"
        self.batch_size = detector.batch_size

    def detect(
        self, pictures: Sequence[Pixels], boxes: Sequence[Sequence[Box] | None] | None = None
    ) -> list[list[Detection]]:
        """See ``Detector.detect``."""
        found = self._detector.detect(pictures, boxes)
        return [self._outlined(people, picture) for people, picture in zip(found, pictures, strict=True)]

    def _outlined(self, people: list[Detection], picture: Pixels) -> list[Detection]:
        if not people:
            return people
        points, confidence = (np.stack([getattr(one, name) for one in people]) for name in ("keypoints", "confidence"))
        outlines, _ = outlines_of_people(self._model.masks(picture), points, confidence, self.schema)
        return [replace(person, outline_px=outline) for person, outline in zip(people, outlines, strict=True)]


def mask_config(config: str) -> Path:
    """The file of a config that is given by path or by the name that MMDetection ships it under.

    Raises:
        DetectorError: there is no such config, or no MMDetection.
    """
    import_mmpose()
    import mmdet

    return shipped_config(config, mmdet, "MMDetection")


def _one_core() -> None:
    import torch

    torch.set_num_threads(1)
