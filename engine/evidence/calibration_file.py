"""Calibrations on disk: a small JSON file with format, numbers and provenance. The shipped one is the default.

{"format": "samebody-calibration", "version": 3, "noise_scale": 1.0, "within_person": [[0.0, ...], ...],
 "group_correlation": 0.9, "keypoint_noise": {"left_ankle": 1.3, ...}, "body_fingerprint": "",
 "mean": [0.0, ...] or null, "between_people": [[1.0, ...], ...] or null, "people_known": false, "provenance": "...",
 "limbs": {"mean": [...], "by_betas": [[...], ...], "total": [[...], ...], "within": [[...], ...]} or null}

Version 1 had no population (``mean``, ``between_people``), and version 2 had no ``limbs``. Missing parts are read as
absent.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import IO, Any

import numpy as np

from engine.body.files import replace_file
from engine.body.files.records import typed_value
from engine.evidence.calibration import Calibration
from engine.evidence.limbs import LimbModel

FORMAT = "samebody-calibration"
VERSION = 3
_READ_VERSIONS = (1, 2, 3)
_POPULATION = ("mean", "between_people")
LARGEST_FILE_BYTES = 16 << 20
"""A calibration with 300 shape components takes 4 MiB."""


class CalibrationFileError(ValueError):
    """A file is not a usable calibration; the message has the reason and the remedy."""


def as_record(calibration: Calibration) -> dict[str, Any]:
    """Plain numbers and texts, for JSON."""
    fields = _plain(vars(calibration))
    limbs = None if calibration.limbs is None else _plain(vars(calibration.limbs))
    noise = dict(calibration.keypoint_noise)
    return {"format": FORMAT, "version": VERSION, **fields, "keypoint_noise": noise, "limbs": limbs}


def from_record(record: Any) -> Calibration:
    """The calibration behind ``as_record``.

    Raises:
        CalibrationFileError: the record is of another kind or version, or a number is invalid.
    """
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise CalibrationFileError("not a samebody calibration; make one with: samebody calibrate")
    if record.get("version") not in _READ_VERSIONS:
        raise CalibrationFileError(f"calibration version {record.get('version')}, this samebody reads up to {VERSION}")
    try:
        within = _numbers(record["within_person"])
        if within.ndim != 2 or within.shape[0] != within.shape[1]:
            raise CalibrationFileError(f"within_person has shape {within.shape}")
        mean, between = (None if record.get(name) is None else _numbers(record[name]) for name in _POPULATION)
        for values, shape in ((mean, within.shape[:1]), (between, within.shape)):
            if values is not None and values.shape != shape:
                raise CalibrationFileError(f"the population has shape {values.shape}, within_person {within.shape}")
        return Calibration(
            noise_scale=typed_value(float, record["noise_scale"], "noise_scale"),
            within_person=within,
            provenance=typed_value(str, record["provenance"], "provenance"),
            group_correlation=typed_value(float, record["group_correlation"], "group_correlation"),
            body_fingerprint=typed_value(str, record["body_fingerprint"], "body_fingerprint"),
            # Older files do not have all of these.
            keypoint_noise=typed_value(dict[str, float], record.get("keypoint_noise", {}), "keypoint_noise"),
            mean=mean,
            between_people=between,
            people_known=typed_value(bool, record.get("people_known", True), "people_known"),
            limbs=_limbs(record.get("limbs")),
        )
    except (KeyError, TypeError, OverflowError, ValueError) as error:
        raise CalibrationFileError(f"damaged calibration ({error})") from error


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}


def _limbs(record: Any) -> LimbModel | None:
    if record is None:
        return None
    names = ("mean", "by_betas", "total", "within")
    return LimbModel(**{name: _numbers(record[name]) for name in names})


def _numbers(values: Any) -> np.ndarray:
    numbers = np.array(values, float)
    if not np.isfinite(numbers).all():
        raise CalibrationFileError("a number is not finite")
    return numbers


def calibration_id(calibration: Calibration) -> str:
    """Twelve hexadecimal digits that change with any number or word of the calibration."""
    return hashlib.sha256(json.dumps(as_record(calibration), sort_keys=True).encode()).hexdigest()[:12]


def save_calibration(path: str | os.PathLike[str], calibration: Calibration) -> None:
    """Write a calibration file, whole or not at all."""
    record = as_record(calibration)
    text = json.dumps({**record, "digest": _digest(record)}, indent=1) + "\n"

    def write(stream: IO[bytes]) -> None:
        stream.write(text.encode())

    replace_file(path, write)


def load_calibration(path: str | os.PathLike[str]) -> Calibration:
    """Read a calibration file.

    Raises:
        CalibrationFileError: the file is missing, damaged, or of another kind or version.
    """
    try:
        record = _read(path)
        if isinstance(record, dict):
            stored = record.pop("digest", None)
            if stored is not None and stored != _digest(record):
                raise CalibrationFileError("damaged or changed since it was written; make it again: samebody calibrate")
        return from_record(record)
    except FileNotFoundError:
        raise CalibrationFileError(f"no calibration file {path}; make one with: samebody calibrate") from None
    except RecursionError as error:
        raise CalibrationFileError(f"{path}: nested too deeply") from error
    except (OSError, ValueError) as error:
        raise CalibrationFileError(f"{path}: {error}") from error


def _read(path: str | os.PathLike[str]) -> Any:
    with open(path, "rb") as stream:
        text = stream.read(LARGEST_FILE_BYTES + 1)
    if len(text) > LARGEST_FILE_BYTES:
        raise CalibrationFileError(f"larger than any calibration ({LARGEST_FILE_BYTES >> 20} MiB)")
    return json.loads(text)


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]


@cache
def default_calibration() -> Calibration:
    """The calibration that comes with samebody; its provenance names the data."""
    text = resources.files("engine.evidence.data").joinpath("default.json").read_text()
    return from_record(json.loads(text))
