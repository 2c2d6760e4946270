"""Sets of pictures of real people: of one person, or half of each of two; are they told apart?"""

import numpy as np

from benchmarks.identity_metrics import separation
from benchmarks.real_trials import RealPictures, draw_trials
from engine.evidence.calibration import Calibration, calibrated_pictures
from engine.evidence.comparison import evidence_of_groups
from engine.evidence.one_person import one_against_several
from engine.evidence.reliability import expected_calibration_error, reliability
from engine.evidence.shape_evidence import Evidence, same_body_probability

_LEAST_SEEN, _HALF, _DRAWS, _SEED, _SURE = 12, 4, 2, 15, 0.9


def one_or_two(pictures: RealPictures, evidence: Evidence, calibration: Calibration) -> tuple[str, str, str, str]:
    """Counts, area under the ROC curve, calibration error, and how many sets called one person are."""
    rows = np.flatnonzero(~pictures.for_development & (pictures.seen >= _LEAST_SEEN))
    random = np.random.default_rng(_SEED)
    weight = calibration.one_person_weight
    ready = Evidence(*(weight * np.asarray(part, float) for part in calibrated_pictures(evidence, calibration)))
    factors, same = [], []
    for _ in range(_DRAWS):
        draw = draw_trials(pictures, rows, rows, (_HALF, _HALF), random)
        for i in range(len(draw.a)):
            for j in {i, (i + 1) % len(draw.a)}:
                if draw.comparable[i, j]:
                    members = np.concatenate([draw.a[i], draw.b[j]])
                    # Pictures of one camera repeat each other's errors.
                    camera = np.unique(pictures.camera[members], return_inverse=True)[1]
                    own = Evidence(*(part[members] for part in ready))
                    factors.append(one_against_several(evidence_of_groups(own, camera, calibration.group_correlation)))
                    same.append(i == j)
    factors, same = np.array(factors), np.array(same, bool)
    counts = f"{same.sum()} / {(~same).sum()}"
    if not same.any() or same.all():
        return counts, "", "", ""
    probability = np.asarray(same_body_probability(factors))
    error = expected_calibration_error(reliability(probability, same))
    sure = probability > _SURE
    right = f"{same[sure].sum()} of {sure.sum()}"
    return counts, f"{separation(factors, same).auc:.3f}", f"{error:.3f}", right
