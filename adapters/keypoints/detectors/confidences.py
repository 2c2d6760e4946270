"""From a model's keypoint scores to confidences, for each family of models.

A confidence is the weight of a keypoint in a fit: 1 is a keypoint placed as well as this kind of keypoint can be, 0 is
a keypoint without effect. The meaning of a score depends on the model's training:

    heatmap      HRNet, ViTPose: the maximum of a heatmap that was trained on Gaussians of height 1. Near 1 on a clear
                 peak, low on a smeared one. Clipped to 0..1.
    simcc        RTMPose, RTMW, SimCC: the smaller of the two axes' maxima, as in MMPose. The axes are trained with a
                 softmax, which does not determine their height; in practice clear peaks lie around 0.6 to 1.1.
                 Clipped to 0..1.
    probability  RTMO, RLE: a sigmoid, between 0 and 1 already.

The meaning differs between families, but the rules are the same: a score below ``LEAST_SCORE`` counts as not seen.
Top-down models give a place for every keypoint, even if the picture does not show it, and MMPose draws nothing below
this score either. A keypoint outside of the picture also counts as not seen. The effect of the rules on fits is in
benchmarks/results.md, "Photographs". Files that MMPose has written hold raw scores; their reader applies the same
threshold (``adapters.keypoints.readers.file_rules``).
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
