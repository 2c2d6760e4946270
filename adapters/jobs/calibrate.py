"""Calibrating from the keypoints of pictures, with or without labels of the people in them.

Labels are a CSV with the columns ``image`` and ``person``, and with ``instance`` if pictures show several people.
Pictures are named as in the results of ``samebody score``. The column ``group`` names the clip or camera of pictures
that repeat their errors; without it, clips are found by the pictures' names (``adapters.keypoints.clips``). Rows of
keypoints without a label are left out.
"""

import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from adapters.jobs.prepared import COMPUTING, PreparedBody, prepare
from adapters.keypoints.clips import clip_of
from adapters.keypoints.table import KeypointTable, concat_tables, take_rows
from engine.body.model import BodyModel
from engine.evidence.calibration import Calibration
from engine.evidence.calibration_estimate import LEAST_PICTURES, CalibrationReport, calibrate, calibrate_unlabelled
from engine.evidence.calibration_file import default_calibration
from engine.evidence.keypoint_noise import MOST_PICTURES, keypoint_noise
from engine.evidence.limbs import SeenLimbs
from engine.evidence.population import body_population
from engine.evidence.shape_evidence import Evidence
from engine.evidence.stages import PictureEvidence
from engine.scores import Status

LARGEST_LABELS_BYTES = 256 << 20


class Label(NamedTuple):
    """The label of one person in one picture."""

    person: str
    group: str | None
    """None if the picture is its own group."""


Labels = dict[tuple[str, int | None], Label]
"""Labels by image and instance; instance None stands for the only person in the picture."""


class LabelledRows(NamedTuple):
    """Rows of a table that have a label and keypoints; people and groups are numbered from 0."""

    rows: np.ndarray
    person: np.ndarray
    group: np.ndarray


def read_labels(path: str | os.PathLike[str]) -> Labels:
    """A labels file.

    Raises:
        ValueError: the file is missing or lacks columns, a picture is named twice, or an instance is not a number.
    """
    labels: Labels = {}
    try:
        if os.path.getsize(path) > LARGEST_LABELS_BYTES:
            raise ValueError(f"{path}: larger than any labels file ({LARGEST_LABELS_BYTES >> 20} MiB)")
        with open(path, newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream)
            if not {"image", "person"} <= set(rows.fieldnames or ()):
                raise ValueError(f"{path}: the first line must name the columns image and person")
            for line, row in enumerate(rows, 2):
                text = row.get("instance") or ""
                if text and not (text.isascii() and text.isdecimal() and len(text) < 10):
                    raise ValueError(f"{path}, line {line}: instance {text[:20]!a} is no number")
                if not row["image"] or not row["person"]:
                    raise ValueError(f"{path}, line {line}: it has no image or no person")
                key = (row["image"], int(text) if text else None)
                if key in labels:
                    raise ValueError(f"{path}, line {line}: {row['image'][:80]} is labelled twice")
                clip = row["group"] if "group" in row else clip_of(row["image"])
                labels[key] = Label(row["person"], clip or None)
    except FileNotFoundError:
        raise ValueError(f"no labels file {path}; it is a CSV with the columns image and person") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: {error}; labels are a CSV in UTF-8 with the columns image and person") from error
    return labels


def people_of(table: KeypointTable, labels: Labels) -> LabelledRows:
    """The rows that have a label and keypoints, with the person and the clip of each.

    Raises:
        ValueError: a label without a picture, or one label for several people in a picture.
    """
    images = table.image.to_pylist()
    rows, found, seen = [], [], set()
    for row, (image, instance) in enumerate(zip(images, table.instance.tolist(), strict=True)):
        key = (image, instance) if (image, instance) in labels else (image, None)
        if key not in labels:
            continue
        if key[1] is None and key in seen:
            raise ValueError(f"{image} shows several people; number the labelled one in a column instance")
        seen.add(key)
        if table.status[row] == Status.OK:
            rows.append(row)
            found.append(labels[key])
    missing = labels.keys() - seen
    if missing:
        raise ValueError(f"{len(missing)} labels have no keypoints, the first: {min(image for image, _ in missing)}")
    # Two people of one clip are two groups; a picture outside clips is a group.
    groups = [
        f"row {row}" if label.group is None else f"clip of {label}" for row, label in zip(rows, found, strict=True)
    ]
    return LabelledRows(np.array(rows, int), _numbered([label.person for label in found]), _numbered(groups))


def _numbered(names: list[str]) -> np.ndarray:
    return np.unique(names, return_inverse=True)[1] if names else np.zeros(0, int)


def calibrate_from_labels(
    table: KeypointTable, labels: Labels, body: BodyModel, provenance: str, solver: str = "auto"
) -> CalibrationReport:
    """Fit every labelled picture on its own; estimate the noise of keypoints, the population as the detector shows it,
    and the variation of one person's apparent shape.

    Args:
        provenance: the data and the detector; kept in the file.
        solver: the source of evidence, with the values of ``adapters.jobs.scorer.ScoreSettings``.

    Raises:
        ValueError: labels do not fit the pictures, or there are too few of them.
    """
    labelled = people_of(table, labels)
    if len(labelled.rows) < 2:
        raise ValueError("no labelled picture has keypoints; are the images named as in the results of samebody score?")
    own = _own_pictures(table, labelled.rows, body, solver)
    known = np.unique(labelled.person[own.known], return_inverse=True)[1]
    prior = body_population(body.fingerprint, body.beta_count)
    group = labelled.group[own.known]
    report = calibrate(own.evidence, known, provenance, group, own.keypoint_noise, prior, own.limbs)
    return _of_body(report, body)


def calibrate_from_pictures(
    table: KeypointTable, body: BodyModel, provenance: str, solver: str = "auto"
) -> CalibrationReport:
    """Calibrate without labels: the noise of keypoints and the mean of the population as the detector shows it.

    At most ``MOST_PICTURES`` rows are taken, evenly spread.

    Args:
        provenance: the data and the detector; kept in the file.
        solver: as for ``calibrate_from_labels``.

    Raises:
        ValueError: too few pictures have keypoints.
    """
    rows = np.flatnonzero(table.status == Status.OK)
    if len(rows) > MOST_PICTURES:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_PICTURES).round().astype(int)]
    if len(rows) < LEAST_PICTURES:
        raise ValueError(f"{len(rows)} pictures with keypoints are too few for a calibration; give {LEAST_PICTURES}")
    return _unlabelled(_own_pictures(table, rows, body, solver), provenance, body)


def calibrate_on_dataset(
    tables: Iterable[KeypointTable], body: BodyModel, fitted: Calibration, provenance: str, solver: str = "auto"
) -> CalibrationReport:
    """A calibration from the pictures that are to be scored, for shapes that are fitted already.

    The noise of keypoints acts on fits, so it stays what it was for the shapes. Memory does not grow with rows.

    Args:
        fitted: the calibration that the shapes were fitted with.
        provenance: the data and the detector; kept in the file.
        solver: the solver that will score the pictures.

    Raises:
        ValueError: too few pictures have keypoints.
    """
    table = _spread_rows(tables, MOST_PICTURES)
    if table is None or len(table) < LEAST_PICTURES:
        count = 0 if table is None else len(table)
        raise ValueError(f"{count} pictures with keypoints are too few for a calibration; give {LEAST_PICTURES}")
    prepared = prepare(body, table.schema)
    seen = prepared.seen(table)
    with COMPUTING:
        pictures = prepared.evidence_without_limbs(fitted, solver)(*seen)
    own = _OwnPictures.of(pictures, prepared, (seen.keypoints, seen.confidence), fitted.keypoint_noise)
    return _unlabelled(own, provenance, body)


def calibration_advice(calibration: Calibration) -> str | None:
    """Advice for scores that were made without a calibration of their detector; None if they have one."""
    if calibration.of_a_detector:
        return None
    return (
        "uncalibrated for this detector: score again with --calibrate-on-dataset, or make a calibration for fit and "
        "score from 200 pictures of many people: samebody calibrate PICTURES --out calibration.json"
    )


def _spread_rows(tables: Iterable[KeypointTable], most: int) -> KeypointTable | None:
    """At most so many readable rows, at least half of them if there are more, evenly spread; None without a table."""
    kept: list[KeypointTable] = []
    step, seen, count = 1, 0, 0
    for table in tables:
        rows = np.flatnonzero(table.status == Status.OK)
        chosen = rows[(seen + np.arange(len(rows))) % step == 0]
        seen += len(rows)
        kept.append(take_rows(table, chosen))
        count += len(chosen)
        while count > most:
            whole = concat_tables(kept[0].schema, kept)
            kept = [take_rows(whole, np.arange(0, len(whole), 2))]
            step, count = 2 * step, len(kept[0])
    return concat_tables(kept[0].schema, kept) if kept else None


class _OwnPictures(NamedTuple):
    """The data of a calibration."""

    evidence: Evidence
    """Evidence of the pictures that have any."""
    limbs: SeenLimbs | None
    """Limb lengths of the same pictures; None if the schema lacks ends of limbs."""
    known: np.ndarray
    """The rows of those pictures."""
    keypoint_noise: Mapping[str, float]

    @classmethod
    def of(
        cls,
        pictures: PictureEvidence,
        prepared: PreparedBody,
        columns: tuple[np.ndarray, np.ndarray],
        keypoint_noise: Mapping[str, float],
    ) -> "_OwnPictures":
        known = np.asarray(pictures.known)
        evidence = Evidence(*(np.asarray(part)[known] for part in pictures.evidence))
        return cls(evidence, prepared.seen_limbs(*(values[known] for values in columns)), known, keypoint_noise)


def _own_pictures(table: KeypointTable, rows: np.ndarray, body: BodyModel, solver: str) -> _OwnPictures:
    """Evidence of the rows that have any, and the noise of keypoints.

    The noise of keypoints is estimated from fits. The network was trained on all kinds of detectors and needs none.
    """
    prepared = prepare(body, table.schema)
    seen = prepared.seen(table).rows(rows)
    stage, factors = prepared.evidence_without_limbs(solver=solver), {}
    if prepared.free_solver(solver) != "amortised":
        factors = keypoint_noise(prepared.context(), stage(*seen).fit)
        # All later fits use this noise. Estimating it again would drift (results.md, "Identity").
        with_factors = replace(default_calibration(), keypoint_noise=factors)
        stage = prepared.evidence_without_limbs(with_factors, solver)
    return _OwnPictures.of(stage(*seen), prepared, (seen.keypoints, seen.confidence), factors)


def _unlabelled(own: _OwnPictures, provenance: str, body: BodyModel) -> CalibrationReport:
    prior = body_population(body.fingerprint, body.beta_count)
    return _of_body(calibrate_unlabelled(own.evidence, provenance, own.keypoint_noise, prior, own.limbs), body)


def _of_body(report: CalibrationReport, body: BodyModel) -> CalibrationReport:
    fingerprint = body.fingerprint if report.calibration.depends_on_body else ""
    return replace(report, calibration=replace(report.calibration, body_fingerprint=fingerprint))
