"""MMPose's own ``MMPoseInferencer``: models by alias, with MMDetection's person detectors before them.

``MMPoseDetector`` serves models that need no person detector and no download, batches pictures and guards its
checkpoint; this detector adds the features that only the inferencer has. Person detectors of MMDetection need mmcv's
compiled operators (docs/detectors.md); without one the whole picture is one person. If a person detector finds nobody,
the inferencer takes the whole picture for a person; that made-up person is left out here.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from adapters.keypoints.detectors.confidences import LEAST_SCORE, confidences
from adapters.keypoints.detectors.mmpose_detector import checkpoint_rules, library_versions, quietly, seeded
from adapters.keypoints.detectors.mmpose_imports import import_mmpose
from adapters.keypoints.detectors.protocol import Box, Detection, DetectorError, Pixels, file_digest
from adapters.keypoints.readers.file_schema import schema_from_meta_info
from engine.body.schemas import KeypointSchema

_WHOLE_IMAGE = "whole_image"
_PERSON = 0
"""Number of the class in COCO, on which person detectors are trained."""


class MMPoseInferencerDetector:
    """See the module."""

    batch_size = 1

    def __init__(
        self,
        model: str,
        weights: str | None = None,
        person_model: str | None = None,
        person_weights: str | None = None,
        device: str = "cpu",
        trust_weights: bool = False,
        least_score: float = LEAST_SCORE,
    ) -> None:
        """Build the inferencer, which downloads the weights of an alias.

        Args:
            model: alias or config of a 2D model.
            weights: its checkpoint; None leaves it to the inferencer, which has none for a config file.
            person_model: alias or config of MMDetection; None takes the whole picture as one person.

        Raises:
            DetectorError: MMPose is missing, or a model cannot be had.
        """
        import_mmpose()
        from mmpose.apis import MMPoseInferencer

        with quietly(), seeded(), checkpoint_rules(weights, trust_weights):
            try:
                self._inferencer = MMPoseInferencer(
                    pose2d=model,
                    pose2d_weights=weights,
                    device=device,
                    det_model=person_model or _WHOLE_IMAGE,
                    det_weights=person_weights,
                    det_cat_ids=None if person_model is None else [_PERSON],
                )
            except (NotImplementedError, KeyError, FileNotFoundError) as error:
                raise DetectorError(f"MMPoseInferencer cannot be made: {error}") from error
        pose = self._inferencer.inferencer.model
        self.schema: KeypointSchema = schema_from_meta_info(pose.dataset_meta, model)
        self._least_score = least_score
        self._person_model = person_model
        state = hashlib.sha256()
        for name, values in pose.state_dict().items():
            state.update(name.encode() + values.detach().cpu().numpy().tobytes())
        persons = f"{person_model} {file_digest(person_weights) if person_weights else 'published'}"
        self.identity = (
            f"MMPoseInferencer {library_versions()} {model} weights {state.hexdigest()[:16]} persons {persons} "
            f"{device} score>={least_score:g}"
        )

    def detect(
        self, pictures: Sequence[Pixels], boxes: Sequence[Sequence[Box] | None] | None = None
    ) -> list[list[Detection]]:
        """See ``Detector.detect``.

        Raises:
            DetectorError: boxes are given, which the inferencer ignores for top-down models.
        """
        if boxes is not None:
            raise DetectorError("MMPoseInferencer takes no boxes; leave out --person-model and --download")
        people = []
        with quietly():
            for picture in pictures:
                (result,) = self._inferencer(picture, batch_size=1, return_vis=False)
                found = [self._person(instance, picture) for instance in result["predictions"][0]]
                people.append([person for person in found if person is not None])
        return people

    def _person(self, instance: dict, picture: Pixels) -> Detection | None:
        keypoints = np.array(instance["keypoints"], np.float32)
        confidence = confidences(
            np.array(instance["keypoint_scores"], np.float32), keypoints, picture.shape, self._least_score
        )
        ((x1, y1, x2, y2),) = instance.get("bbox", ((0, 0, *picture.shape[1::-1]),))
        whole = (x1, y1, x2, y2) == (0, 0, *picture.shape[1::-1])
        if not confidence.any() or (whole and self._person_model is not None):
            return None
        return Detection(
            keypoints,
            confidence,
            (float(x1), float(y1), float(x2), float(y2)),
            min(float(instance.get("bbox_score", 1.0)), 1.0),
        )
