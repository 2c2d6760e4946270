"""From a model's keypoint scores to confidences, for each family of models.

A confidence is the weight of a keypoint in a fit: 1 is a keypoint placed as well as this kind of keypoint can be, 0 one
that has no effect. Scores are what a model was trained to give where a keypoint is, and mean different things:

    heatmap      HRNet, ViTPose: the maximum of a heatmap that was trained on Gaussians of height 1. Near 1 on a clear
                 peak, low on a smeared one. Clipped to 0..1.
    simcc        RTMPose, RTMW, SimCC: the smaller of the two axes' maxima, as MMPose has it. The axes are trained with
                 a softmax, which says nothing about their height; in practice clear peaks lie around 0.6 to 1.1.
                 Clipped to 0..1.
    probability  RTMO, RLE: a sigmoid, between 0 and 1 already.

The families differ in what their scores mean, not in what is done with them: in every one a score below ``LEAST_SCORE``
counts as not seen. Top-down models put every keypoint somewhere, also those that the picture does not show, and MMPose
draws nothing below this score either. Nor is a keypoint seen that lies outside of the picture. What the rules do to
fits is in benchmarks/results.md, "Photographs". Files that MMPose has written carry the scores themselves; reading them
applies the same threshold (``adapters.keypoints.readers.file_rules``).
"""

import numpy as np
from jaxtyping import Float, Float32

LEAST_SCORE = 0.3


def confidences(
    scores: Float[np.ndarray, " keypoints"],
    keypoints: Float[np.ndarray, "keypoints 2"],
    picture_shape: tuple[int, ...],
    least_score: float = LEAST_SCORE,
) -> Float32[np.ndarray, " keypoints"]:
    """Confidences of one person's keypoints.

    Args:
        picture_shape: height and width come first.
        least_score: a keypoint with a lower score counts as not seen.
    """
    height, width = picture_shape[:2]
    # Pixel centres are whole numbers, so a picture reaches half a pixel beyond the first and the last.
    inside = ((keypoints >= -0.5) & (keypoints <= (width - 0.5, height - 0.5))).all(axis=1)
    seen = inside & (np.nan_to_num(scores, nan=-np.inf) >= least_score)
    return np.where(seen, np.clip(np.where(seen, scores, 0), 0, 1), 0).astype(np.float32)
