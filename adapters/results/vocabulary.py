"""The words that table, page, help and documents share: kinds of rows, marks, and what each term means.

A row is of one kind. Three kinds have nothing to do with each other and are never mixed: another body, a detector that
was unsure, and a picture with too little information.
"""

from collections.abc import Mapping
from enum import IntEnum

import numpy as np
from jaxtyping import Float, UInt8

from adapters.results.cluster_groups import SURE, Membership
from engine.scores import Status

MATCH, DIFFER = 0.9, 0.1
"""A row shows the same body where same_body_probability is at least the one, another body where it is at most the
other; between them it is undecided."""


class Kind(IntEnum):
    """What a row is, stored as a small integer in the page."""

    ANOTHER_BODY = 0
    UNDECIDED = 1
    SAME_BODY = 2
    TOO_LITTLE = 3
    DETECTOR_UNSURE = 4
    SCORED = 5
    """In rest-pose mode there are no probabilities."""

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
"""What the strings of the column status mean, in the words of the page."""

MARKS = ("keep", "drop", "unsure")
"""What a user decides about a row."""

TERMS: Mapping[str, str] = {
    "look first": "The rows that point most strongly to another body, strongest first, by evidence. Pictures with too "
    "little information and rows where the detector was unsure are not among them.",
    "another body": f"The probability of the same body is {DIFFER} or less.",
    "undecided": f"The probability of the same body lies between {DIFFER} and {MATCH}. The rank still tells which of "
    "these rows to look at first.",
    "same body": f"The probability of the same body is {MATCH} or more.",
    "too little information": "The keypoints could not decide either way: they hold less than 0.3 bits about the body. "
    "It is no sign of another body.",
    "detector unsure": "Nobody was found, too few keypoints were, or they cannot be a person's. It is no sign of "
    "another body: look at the picture.",
    "scored": "There is a consistency. The rest-pose mode has no probabilities.",
    "evidence": "The log Bayes factor, in nats: how much better one body explains picture and references than two "
    "bodies do. 0 decides nothing; +2.2 is 9 to 1 for the same body, −2.2 is 9 to 1 for another.",
    "probability": "Of the same body, from the evidence, with even odds before looking.",
    "consistency": "How well the reference body fits these keypoints, compared with the picture's own best body: a "
    "fit to keypoints, not a verdict. One free pose fits most bodies, so it is near 1 for most rows.",
    "information": "How much the keypoints tell about the body, in bits. Most single pictures hold one or two.",
    "rank": "The place in the data set, the one that points most strongly to another body first.",
    "keypoint distance": "How far the detected keypoints lie from those of the reference body, fitted to the picture.",
    "OKS": "Object keypoint similarity, as COCO defines it, of the detected keypoints and those of the reference body.",
    "expected": "How many of these rows show another body, from their probabilities, with the share of other people "
    "estimated from the data set itself. It is said only with a calibration from people who are known (samebody "
    "calibrate --people); without, the order of the rows holds, and their number is not known.",
    "mark": "Your decision: keep, drop, or unsure. Marks stay in this browser until you clear them; save them as a "
    "file to use them with: samebody apply.",
    "alike": "Pictures that look like another one, by a perceptual hash of the person. They lie on one card, share its "
    "marks, and count together as little more than one picture.",
    "best match": "Whose body explains the picture best.",
}
"""Every term of the page, in one or two sentences; shown where the mouse rests on it, and in the page's help."""


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
    "cluster": "Pictures that one body explains better than several. Clusters are ordered by how sure they are: by the "
    "mean probability that their pictures belong to them.",
    "belongs": f"The picture belongs to its cluster with a probability of {SURE} or more.",
    "doubtful": f"The probability that the picture belongs to its cluster is below {SURE}: it may show another body.",
    "alone": "No other picture shows a body like this one's, as far as the keypoints tell.",
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
"""Every term of the page of clusters."""


def row_kinds(
    statuses: list[str], probability: Float[np.ndarray, " rows"] | None, consistency: Float[np.ndarray, " rows"]
) -> UInt8[np.ndarray, " rows"]:
    """The kind of each row.

    Args:
        statuses: as in the result file.
        probability: of the same body; None in rest-pose mode.
        consistency: not a number where a row could not be scored.
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
