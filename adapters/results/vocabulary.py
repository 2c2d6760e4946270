"""The words that table, page, help and documents share: kinds of rows, marks, and definitions of terms.

A row is of one kind. Three kinds are unrelated and are never mixed: another body, a detector that was unsure, and a
picture with too little information.
"""

from collections.abc import Mapping
from enum import IntEnum

import numpy as np
from jaxtyping import Float, UInt8

from adapters.results.cluster_groups import SURE, Membership
from engine.scores import Status

MATCH, DIFFER = 0.9, 0.1
"""A row shows the same body if same_body_probability is at least ``MATCH``, and another body if it is at most
``DIFFER``; between them it is undecided."""


class Kind(IntEnum):
    """Kind of a row, stored as a small integer in the page."""

    ANOTHER_BODY = 0
    UNDECIDED = 1
    SAME_BODY = 2
    TOO_LITTLE = 3
    DETECTOR_UNSURE = 4
    SCORED = 5
    """Scored in rest pose, which has no probabilities."""

    @property
    def label(self) -> str:
        return KIND_LABELS[self]


KIND_LABELS: Mapping[Kind, str] = {
    Kind.ANOTHER_BODY: "another body",
    Kind.UNDECIDED: "undecided",
    Kind.SAME_BODY: "same body",
    Kind.TOO_LITTLE: "too little information",
    Kind.DETECTOR_UNSURE: "detector unsure",
    Kind.SCORED: "scored",
}

RANKED = (Kind.ANOTHER_BODY, Kind.UNDECIDED, Kind.SAME_BODY, Kind.SCORED)
"""Kinds of rows that stand in the queue."""

STATUS_WORDS: Mapping[str, str] = {
    "ok": "scored",
    "low_information": "too little information",
    "too_few_keypoints": "too few keypoints",
    "implausible": "implausible keypoints",
    "not_converged": "no fit found",
    "no_detection": "nobody found",
    "bad_input": "unreadable",
}
"""Meaning of the texts of the column status, in the words of the page."""

MARKS = ("keep", "drop", "unsure")
"""Decisions of a user about a row."""

TERMS: Mapping[str, str] = {
    "look first": "The rows that point most strongly to another body, strongest first, by evidence. Pictures with too "
    "little information and rows where the detector was unsure are not among them.",
    "another body": f"The probability of the same body is {DIFFER} or less.",
    "undecided": f"The probability of the same body lies between {DIFFER} and {MATCH}. The rank still gives the order "
    "in which to look at these rows.",
    "same body": f"The probability of the same body is {MATCH} or more.",
    "too little information": "The keypoints are uninformative: they hold less than 0.3 bits about the body. This does "
    "not indicate another body.",
    "detector unsure": "Nobody was found, too few keypoints were found, or they cannot be a person's. This does not "
    "indicate another body: look at the picture.",
    "scored": "The row has a consistency. Rest pose has no probabilities.",
    "evidence": "The log Bayes factor, in nats, of one body against two bodies for picture and references. 0 is "
    "undecided; +2.2 is 9 to 1 for the same body, −2.2 is 9 to 1 for another.",
    "probability": "The probability of the same body, from the evidence, with a prior probability of one half.",
    "consistency": "The fit of the reference body to these keypoints, compared with the picture's own best body. It "
    "is not a verdict. One free pose fits most bodies, so it is near 1 for most rows.",
    "information": "The information of the keypoints about the body, in bits. Most single pictures hold one or two.",
    "rank": "The place in the data set, the one that points most strongly to another body first.",
    "keypoint distance": "The distance of the detected keypoints from the reference body, fitted to the picture.",
    "OKS": "Object keypoint similarity, as COCO defines it, of the detected keypoints and those of the reference body.",
    "expected": "How many of these rows show another body, from their probabilities and the share of other people in "
    "the data set, which is uncertain itself; so a range. It needs a calibration of the detector (samebody check "
    "makes one from 20 pictures); without it, the order of the rows holds, but their number is unknown.",
    "mark": "Your decision: keep, drop, or unsure. Marks stay in this browser until you clear them; save them as a "
    "file to use them with: samebody apply.",
    "alike": "Pictures that look like another one, by a perceptual hash of the person. They lie on one card, share its "
    "marks, and count together as little more than one picture.",
    "best match": "The person whose body explains the picture best.",
}
"""Definition of every term of the page, in one or two sentences; shown under the mouse and in the page's help."""


MEMBERSHIP_LABELS: Mapping[Membership, str] = {
    Membership.BELONGS: "belongs",
    Membership.DOUBTFUL: "doubtful",
    Membership.ALONE: "alone",
    Membership.TOO_LITTLE: KIND_LABELS[Kind.TOO_LITTLE],
    Membership.DETECTOR_UNSURE: KIND_LABELS[Kind.DETECTOR_UNSURE],
}

CLUSTER_TERMS: Mapping[str, str] = {
    "look first": "The pictures that fit their cluster least, by probability. A picture that is alone in its cluster "
    "is not among them.",
    "cluster": "Pictures that one body explains better than several. Clusters are ordered by certainty: the mean "
    "probability that their pictures belong to them.",
    "belongs": f"The picture belongs to its cluster with a probability of {SURE} or more.",
    "doubtful": f"The probability that the picture belongs to its cluster is below {SURE}: it may show another body.",
    "alone": "No other picture shows a body like this one's, by the keypoints.",
    "too little information": TERMS["too little information"],
    "detector unsure": TERMS["detector unsure"],
    "membership": "The probability that the picture shows the body of its cluster, and not that of another cluster or "
    "of a stranger. The picture itself is left out of the cluster.",
    "margin": "The evidence for its own cluster against the best other one, in nats. Below 0 another cluster suits the "
    "picture better.",
    "own cluster": "The evidence for its own cluster, itself left out, against a stranger, in nats.",
    "rank": "The place in the data set, the picture that fits its cluster least first.",
    "mark": TERMS["mark"],
    "alike": TERMS["alike"],
}
"""Definition of every term of the page of clusters."""


def row_kinds(
    statuses: list[str], probability: Float[np.ndarray, " rows"] | None, consistency: Float[np.ndarray, " rows"]
) -> UInt8[np.ndarray, " rows"]:
    """The kind of each row.

    Args:
        statuses: statuses as in the result file.
        probability: probability of the same body; None in rest pose.
        consistency: NaN if a row could not be scored.
    """
    values = consistency if probability is None else probability
    status = np.array(statuses, dtype=object)
    kinds = np.full(len(values), Kind.SCORED if probability is None else Kind.UNDECIDED, np.uint8)
    if probability is not None:
        kinds[probability >= MATCH] = Kind.SAME_BODY
        kinds[probability <= DIFFER] = Kind.ANOTHER_BODY
    kinds[status == Status.LOW_INFORMATION.label] = Kind.TOO_LITTLE
    usable = (status == Status.OK.label) | (status == Status.LOW_INFORMATION.label)
    kinds[~usable | np.isnan(values)] = Kind.DETECTOR_UNSURE
    return kinds
