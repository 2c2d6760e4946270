"""Calibrations on disk: one small JSON that says what it holds and from which data. The shipped one is the default.

{"format": "samebody-calibration", "version": 1, "noise_scale": 1.0, "within_person": [[0.0, ...], ...],
 "group_correlation": 0.9, "keypoint_noise": {"left_ankle": 1.3, ...}, "body_fingerprint": "", "provenance": "..."}
"""

import hashlib
import json
import os
from functools import cache
from importlib import resources
from pathlib import Path
from typing import IO, Any

import numpy as np

from engine.body.files import replace_file
from engine.evidence.calibration import Calibration

FORMAT = "samebody-calibration"
VERSION = 1


class CalibrationFileError(ValueError):
    """A file is not a calibration that can be used here; the message says why and what to do."""


def as_record(calibration: Calibration) -> dict[str, Any]:
    """Plain numbers and texts, for JSON."""
    within = np.asarray(calibration.within_person, float).tolist()
    noise = dict(calibration.keypoint_noise)
    return {"format": FORMAT, "version": VERSION, **vars(calibration), "within_person": within, "keypoint_noise": noise}


def from_record(record: Any) -> Calibration:
    """The calibration behind ``as_record``.

    Raises:
        CalibrationFileError: another kind or version of record, or numbers that are none.
    """
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise CalibrationFileError("no samebody calibration; make one with: samebody calibrate")
    if record.get("version") != VERSION:
        raise CalibrationFileError(f"calibration version {record.get('version')}, this samebody reads {VERSION}")
    try:
        within = np.array(record["within_person"], float)
        if within.ndim != 2 or within.shape[0] != within.shape[1] or not np.isfinite(within).all():
            raise CalibrationFileError(f"within_person has shape {within.shape} or is not finite")
        return Calibration(
            noise_scale=float(record["noise_scale"]),
            within_person=within,
            provenance=str(record["provenance"]),
            group_correlation=float(record["group_correlation"]),
            body_fingerprint=str(record["body_fingerprint"]),
            # Files of before it was estimated do not have it.
            keypoint_noise={str(name): float(factor) for name, factor in record.get("keypoint_noise", {}).items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CalibrationFileError(f"damaged calibration ({error})") from error


def calibration_id(calibration: Calibration) -> str:
    """Twelve hexadecimal digits that change with any number or word of the calibration."""
    return hashlib.sha256(json.dumps(as_record(calibration), sort_keys=True).encode()).hexdigest()[:12]


def save_calibration(path: str | os.PathLike[str], calibration: Calibration) -> None:
    """Write a calibration file, whole or not at all."""
    text = json.dumps(as_record(calibration), indent=1) + "\n"

    def write(stream: IO[bytes]) -> None:
        stream.write(text.encode())

    replace_file(path, write)


def load_calibration(path: str | os.PathLike[str]) -> Calibration:
    """Read a calibration file.

    Raises:
        CalibrationFileError: missing, damaged, of another kind or version.
    """
    try:
        return from_record(json.loads(Path(path).read_text()))
    except FileNotFoundError:
        raise CalibrationFileError(f"no calibration file {path}; make one with: samebody calibrate") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise CalibrationFileError(f"{path}: {error}") from error


@cache
def default_calibration() -> Calibration:
    """The calibration that comes with samebody; its provenance says from which data."""
    text = resources.files("engine.evidence.data").joinpath("default.json").read_text()
    return from_record(json.loads(text))
