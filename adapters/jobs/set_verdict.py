"""Joint verdict about many pictures of one unknown person.

Evidence adds up, so memory does not grow with the number of pictures. Frames of one clip, recognised by their names
(``adapters.keypoints.clips``), share their errors and count less than independent pictures
(``engine.evidence.comparison.fuse_groups``).

First the pictures are tested for showing one person at all (``engine.evidence.one_person``), because a mixture of
people may have anybody's mean body. The calibration weighs the evidence for this test
(``Calibration.one_person_weight``) and bounds the probabilities of a verdict (``Calibration.highest_probability``).
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from adapters.keypoints.clips import clip_of
from adapters.results.evidence_table import full_matrices
from engine.evidence.calibration import Calibration, calibrated_pictures
from engine.evidence.comparison import best_matches, log_bayes_factors
from engine.evidence.one_person import OnePersonTally
from engine.evidence.shape_evidence import Evidence, same_body_probability
from engine.evidence.stages import PRIOR_PROBABILITY, calibrated_people
from engine.shape import Shape

MATCH, DIFFER = 0.9, 0.1
"""A probability decides if it is at least ``MATCH`` or at most ``DIFFER``."""


@dataclass(frozen=True)
class SetVerdict:
    """Verdict about all pictures of a data set together."""

    pictures: int
    """Number of informative pictures."""
    clips: int
    """Number of groups of frames among them; a group counts far less than its frames."""
    best_match: str
    """Name of the best match; empty if there is only one shape."""
    log_bayes_factor: float
    """Nats."""
    margin: float
    """Distance to the second best person, nats; infinite if there is one person."""
    same_body_probability: float
    """Probability that all pictures show the best match, within the bounds of the calibration."""
    one_person_probability: float
    """Probability that all pictures show one person, known or not, within the same bounds."""
    bound: float
    """Upper bound of these probabilities; one minus it is the lower bound."""

    @property
    def in_words(self) -> str:
        """The verdict as a sentence part."""
        if self.one_person_probability <= DIFFER:
            return "several people"
        if self.same_body_probability >= MATCH:
            return "one person with the reference's body"
        if self.one_person_probability >= MATCH and self.same_body_probability <= DIFFER:
            return "one person with another body"
        return "unclear"


class SetTally:
    """Adds up the evidence of batches."""

    def __init__(self, shapes: Sequence[Shape], names: Sequence[str], calibration: Calibration) -> None:
        """
        Args:
            names: names of the shapes, if there are several.
        """
        self._calibration = calibration
        self._names = names or ("",)
        self._people = calibrated_people(shapes, calibration)
        betas = len(shapes[0].betas)
        self._alone = np.zeros((betas, betas + 1))
        self._one_person = OnePersonTally(betas)
        self._clips: dict[str, tuple[int, np.ndarray]] = {}
        self._pictures = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows with the columns of ``evidence_table``."""
        betas = len(self._alone)
        triangle, information = (
            batch.column(name).flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1)
            for name in ("precision", "information")
        )
        raw = Evidence(full_matrices(triangle, betas), information)
        precision, information = (np.asarray(part, np.float64) for part in calibrated_pictures(raw, self._calibration))
        says = np.flatnonzero(np.any(precision != 0, axis=(1, 2)))
        self._pictures += len(says)
        alone = []
        images = batch.column("image").to_pylist()
        for row in says:
            both = np.concatenate([precision[row], information[row, :, None]], axis=1)
            clip = clip_of(images[row])
            if clip is None:
                self._alone += both
                alone.append(row)
            else:
                count, total = self._clips.get(clip, (0, np.zeros_like(both)))
                self._clips[clip] = (count + 1, total + both)
        weight = self._calibration.one_person_weight
        self._one_person.add(Evidence(weight * precision[alone], weight * information[alone]))

    def verdict(self) -> SetVerdict:
        """Verdict about all added rows."""
        correlation = self._calibration.group_correlation
        clips = [part / (1 + (count - 1) * correlation) for count, part in self._clips.values()]
        total = self._alone + sum(clips)
        tally = deepcopy(self._one_person)
        for part in clips:
            part = self._calibration.one_person_weight * part
            tally.add(Evidence(part[None, :, :-1], part[None, :, -1]))
        evidence = Evidence(total[None, :, :-1].astype(np.float32), total[None, :, -1].astype(np.float32))
        found = best_matches(log_bayes_factors(evidence, self._people), 1 - PRIOR_PROBABILITY)
        one_person = float(same_body_probability(np.asarray(tally.log_bayes_factor())))
        bound = self._calibration.highest_probability

        def bounded(probability: float) -> float:
            return float(np.clip(probability, 1 - bound, bound))

        return SetVerdict(
            pictures=self._pictures,
            clips=len(self._clips),
            best_match=self._names[int(found.best[0])],
            log_bayes_factor=float(found.log_bayes_factor[0]),
            margin=float(found.margin[0]),
            same_body_probability=bounded(one_person * float(found.probability[0])),
            one_person_probability=bounded(one_person),
            bound=bound,
        )
