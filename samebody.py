"""samebody in Python: compare the body in each picture with the body in reference pictures.

    import samebody as sb
    anna = sb.fit("references/")
    scores = sb.score("pictures/", anna)
    print(scores.worst(20))
    anna.save("anna.npz")
    sb.check("references/", "keypoints.parquet", "checked/", images="pictures/")   # all steps, and a page

Keypoints are given as paths, tables, arrays or results of MMPose (``fit`` lists the forms). Heavy libraries are loaded
when a function is called, and compiled code is kept for the next start (``SAMEBODY_CACHE``).
"""

import importlib
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.jobs.check import Check, CheckSettings
    from adapters.jobs.fit import FitSettings
    from adapters.jobs.score import RunSettings, ScoreSummary
    from adapters.jobs.scorer import ScoreSettings
    from adapters.keypoints.table import KeypointTable
    from adapters.results.scores import Scores
    from engine.body.model import BodyModel
    from engine.evidence.calibration import Calibration
    from engine.picture.clothes import Clothes
    from engine.shape import Shape

    Path = str | os.PathLike[str]

_LAZY = {
    "Calibration": "engine.evidence.calibration",
    "Check": "adapters.jobs.check",
    "CheckSettings": "adapters.jobs.check",
    "FitSettings": "adapters.jobs.fit",
    "RunSettings": "adapters.jobs.score",
    "ScoreSettings": "adapters.jobs.scorer",
    "Scores": "adapters.results.scores",
    "Shape": "engine.shape",
}

__all__ = [
    "Calibration", "Check", "CheckSettings", "FitSettings", "RunSettings", "ScoreSettings", "Scores", "Shape",
    "calibrate", "check", "cluster", "detect", "fit", "read_keypoints", "score", "score_file",
]  # fmt: skip


def fit(
    references: Any,
    confidence: Any = None,
    *,
    body: "str | BodyModel" = "anny24",
    schema: str | None = None,
    settings: "FitSettings | None" = None,
) -> "Shape":
    """Fit one body shape to all reference pictures of a person.

    Args:
        references: a path or several, of keypoint files or folders of them; a result of ``read_keypoints``, which also
            takes masks, or of ``detect``; an array (pictures, keypoints, 2) with ``confidence``; or a list with the
            keypoints of each picture: ``{"keypoints": (K, 2), "confidence": (K,)}``, an array (K, 3), MMPose's
            instances or a result of MMPoseInferencer.
        confidence: (pictures, keypoints), 0 (not seen) to 1; only with an array.
        body: ``anny24``, a body file, or a body.
        schema: schema of the keypoints, if neither files nor their number determine it.
        settings: pose, solver, calibration, focal length, choice among several people in a picture.

    Raises:
        ValueError: the keypoints cannot be read, or no person in them can be used.
    """
    _start()
    from adapters.jobs.any_input import any_body, any_table
    from adapters.jobs.fit import fit_references

    return fit_references(any_table(references, confidence, schema), any_body(body), settings)


def score(
    pictures: Any,
    shape: "Shape | Path | Mapping[str, Shape]",
    confidence: Any = None,
    *,
    body: "str | BodyModel" = "anny24",
    schema: str | None = None,
    settings: "ScoreSettings | None" = None,
) -> "Scores":
    """Score every person in every picture against a shape, or against the best matching of several.

    Args:
        pictures: in any form that ``fit`` takes.
        shape: a result of ``fit``, a shape file, or several shapes by name.
        body: body of the shape.
        settings: threshold, solver, calibration, focal length; by default those of the shape.

    Raises:
        ValueError: the keypoints cannot be read, or the shape belongs to another body.
    """
    _start()
    from adapters.jobs.any_input import any_body, any_people, any_table
    from adapters.jobs.score import score_table
    from adapters.jobs.scorer import Scorer

    table = any_table(pictures, confidence, schema)
    return score_table(Scorer(any_body(body), table.schema, any_people(shape), settings), table)


def score_file(
    dataset: "Path | Sequence[Path]",
    shape: "Shape | Path | Mapping[str, Shape]",
    out: "Path",
    *,
    body: "str | BodyModel" = "anny24",
    settings: "ScoreSettings | None" = None,
    run: "RunSettings | None" = None,
) -> "ScoreSummary":
    """Score keypoint files of any size into a file (.parquet, .csv or .jsonl), in bounded memory.

    Args:
        dataset: keypoint files, or folders of them.
        run: resuming, kept evidence, progress.

    Raises:
        ValueError: a file cannot be read or written, or the shape belongs to another body.
    """
    _start()
    from adapters.jobs.any_input import any_body, any_paths, any_people
    from adapters.jobs.score import score_to_file
    from adapters.keypoints.readers import open_keypoints

    return score_to_file(open_keypoints(any_paths(dataset)), any_body(body), any_people(shape), out, settings, run)


def check(
    references: Any,
    pictures: Any,
    out: "Path | None" = None,
    *,
    images: "Path | None" = None,
    body: "str | BodyModel" = "anny24",
    settings: "CheckSettings | None" = None,
) -> "Check":
    """Find pictures of somebody else than the references' person: fit, check references, calibrate, score, explain.

    Args:
        references: keypoints in any form that ``fit`` takes, like ``pictures``. Use ``detect`` for photographs first.
        out: a folder for the page, the scores, the shape and the calibration; by default nothing is written.
        images: the folder that holds the pictures, for the page and to find pictures that look alike.
        settings: solver and calibration; by default the pictures are used for calibration.

    Raises:
        ValueError: keypoints cannot be read, or no person in the references can be used.
    """
    _start()
    from adapters.jobs.any_input import any_body, any_table
    from adapters.jobs.check import check as check_tables
    from adapters.jobs.check_folder import FolderSettings, look_at, write_check

    asked = any_table(pictures, None, None)
    looks = look_at(asked, None if images is None else pathlib.Path(images))
    found = check_tables(any_table(references, None, None), asked, any_body(body), settings, looks.alike)
    if out is not None:
        named = FolderSettings(body) if isinstance(body, str) else FolderSettings()
        write_check(found, asked, looks, pathlib.Path(out), named)
    return found


def read_keypoints(
    paths: "Path | Sequence[Path] | KeypointTable",
    schema: str | None = None,
    *,
    masks: "Path | None" = None,
    clothes: "Clothes" = "unknown",
) -> "KeypointTable":
    """Read keypoint files of many programs (docs/keypoint-files.md), with the outlines of masks (docs/outlines.md).

    Args:
        paths: files or folders of them; or the result of ``detect``, to add masks or clothes to it.
        masks: a folder of masks of the people, as for ``--masks``. Masks that cannot be used are warned of.
        clothes: what everybody in the pictures wears, if it is known: none, tight, ordinary or loose. It acts on people
            with an outline.

    Raises:
        ValueError: a path is not a keypoint file, or there are no masks in the folder; the message has the place and
            the reason.
    """
    _start()
    from adapters.jobs.any_input import any_table, outlined_table

    return outlined_table(any_table(paths, None, schema), masks, clothes)


def detect(photos: "Path | Sequence[Path]", detector: str = "mediapipe", **choice: Any) -> "KeypointTable":
    """Find people and their keypoints in photographs, videos, or folders of them.

    Args:
        detector: mediapipe, mmpose or rtmpose-onnx (docs/detectors.md).
        choice: the other fields of ``adapters.keypoints.detectors.choice.DetectorChoice``: model, weights, device ...

    Raises:
        ValueError: there are no photographs, or the detector is not installed.
    """
    _start()
    from adapters.jobs.any_input import any_paths
    from adapters.jobs.detect import PhotoDetection, detect_to_table
    from adapters.keypoints.detectors.choice import DetectorChoice, make_detector
    from adapters.keypoints.detectors.detection_cache import default_cache
    from adapters.keypoints.detectors.pictures import find_pictures

    made = make_detector(DetectorChoice(detector, **choice))  # pyright: ignore[reportArgumentType] (checked there)
    return detect_to_table(find_pictures(any_paths(photos)), PhotoDetection(made, default_cache()))[0]


def calibrate(
    pictures: Any,
    people: "Path | None" = None,
    *,
    body: "str | BodyModel" = "anny24",
    schema: str | None = None,
    provenance: str = "",
) -> "Calibration":
    """Estimate a detector's noise and population, for ``FitSettings`` and ``ScoreSettings``.

    Args:
        pictures: in any form that ``fit`` takes.
        people: a CSV with the columns image and person, if people are known; without it less is estimated.
        provenance: a line about the data, kept with it.

    Raises:
        ValueError: there are too few pictures, or labels do not fit them.
    """
    _start()
    from adapters.jobs.any_input import any_body, any_table
    from adapters.jobs.calibrate import calibrate_from_labels, calibrate_from_pictures, read_labels

    table, made = any_table(pictures, None, schema), any_body(body)
    about = provenance or f"{len(table)} pictures, {table.schema.name}"
    if people is None:
        return calibrate_from_pictures(table, made, about).calibration
    return calibrate_from_labels(table, read_labels(people), made, about).calibration


def cluster(
    pictures: Any,
    *,
    body: "str | BodyModel" = "anny24",
    schema: str | None = None,
    calibration: "Calibration | None" = None,
    least: float = 0.0,
) -> Any:
    """Group pictures by body, without references: a ``pyarrow.Table`` with one row per person in a picture.

    Args:
        pictures: in any form that ``fit`` takes.
        least: least log Bayes factor, in nats, between the least alike pictures of a group.

    Raises:
        ValueError: the keypoints cannot be read, or there are too many.
    """
    _start()
    from adapters.jobs.any_input import any_body, any_table
    from adapters.jobs.cluster_table import cluster_table

    return cluster_table(any_table(pictures, None, schema), any_body(body), calibration, least).rows


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    _check_packages()
    from adapters.commands.signals import end_at_signals

    end_at_signals()
    from adapters.commands.cli import main as run

    return run(arguments)


def _start() -> None:
    _check_packages()
    from adapters.jobs.compile_cache import enable_compile_cache

    enable_compile_cache()


def _check_packages() -> None:
    """Raise ImportError if ``adapters`` is not samebody's package: a package of AdapterHub has the same name."""
    try:
        adapters = importlib.import_module("adapters")
    except Exception as error:
        raise ImportError(_CLASH) from error
    mixed = any(os.path.exists(os.path.join(folder, "composition.py")) for folder in adapters.__path__)
    if mixed or getattr(adapters, "PART_OF", None) != "samebody":
        raise ImportError(_CLASH)


_CLASH = (
    "samebody's package 'adapters' is hidden or overwritten by another package of that name (AdapterHub's 'adapters'); "
    "install samebody in an environment of its own: python -m venv samebody-venv"
)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        _check_packages()
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name == "__version__":
        return importlib.import_module("engine").VERSION
    raise AttributeError(f"module 'samebody' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


if __name__ == "__main__":
    sys.exit(main())
