"""The page of ``samebody report`` with ten thousand rows: how large it is and how fast it opens.

Rows are invented without fitting them, since opening a page does not depend on how its numbers came about: poses near
the prior's mean, betas from the shape prior, keypoints with noise of one per cent. Numbers are as random as real ones,
so they compress as badly.

    python -m benchmarks.report [--rows 10000] [--thumbnails 100] [--pictures]

With ``--pictures`` every row has the same thumbnail, each in a file of its own beside the page.

Opened by headless Chromium from disk, in a fresh process each time; "ready" is when the gallery can be used.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from adapters.results.near_duplicates import first_alike
from adapters.results.reasons import PROPORTIONS, reasons_of
from adapters.results.report.decision import add_decision, decide, result_digest
from adapters.results.report.fits import Fits
from adapters.results.report.page import PageParts, write_page
from adapters.results.report.page_data import ArrayBlock, add_body, add_fits, add_scores, drawing_texts, row_texts
from adapters.results.report.scores import Scores
from adapters.results.report.summary import summarise
from adapters.results.report.thumbnails import SIZE_PX, Thumbnail, empty_frame, make_thumbnails, person_box
from engine.body.embedded import load_embedded_body
from engine.body.keypoint_body import reduce_body
from engine.body.pose_prior import load_pose_prior
from engine.body.schemas import COCO_17
from engine.scores import Status, score_names

_CHROMIUM = "/usr/bin/chromium"


def invented_scores(count: int, seed: int = 0) -> Scores:
    """Scores as a data set of one person among strangers has them; every fiftieth row has none."""
    draw = np.random.default_rng(seed)
    log_bayes = draw.normal(-1, 3, count).astype(np.float32)
    known = np.arange(count) % 50 != 49
    numbers = {name: draw.random(count).astype(np.float32) for name in score_names("free")}
    numbers["log_bayes_factor"] = log_bayes
    numbers["same_body_probability"] = (1 / (1 + np.exp(-log_bayes))).astype(np.float32)
    return Scores(
        mode="free",
        image=[f"set/picture_{i:06d}.jpg" for i in range(count)],
        instance=[0 if seen else -1 for seen in known],
        status=[Status.OK.label if seen else Status.NO_DETECTION.label for seen in known],
        detail=["" if seen else "nobody was found" for seen in known],
        numbers={name: np.where(known, values, np.float32(np.nan)) for name, values in numbers.items()},
        best_match=None,
        metadata={},
    )


def invented_fits(count: int, seed: int = 0) -> Fits:
    """People near the prior's mean pose, turned anywhere; every fiftieth row has nobody."""
    draw = np.random.default_rng(seed)
    mean = np.asarray(load_pose_prior().mean, float).reshape(-1, 3)
    turn = Rotation.from_quat(draw.standard_normal((count, 4))).as_rotvec()[:, None]
    pose = np.concatenate([turn, mean + draw.normal(0, 0.3, (count, *mean.shape))], axis=1)
    drawn = np.arange(count) % 50 != 49
    camera = np.column_stack([draw.uniform(100, 300, count), draw.uniform(300, 900, (count, 2))])
    keypoints = camera[:, None, 1:] + draw.normal(0, 120, (count, 17, 2))
    return Fits(
        drawn=drawn,
        keypoints_px=keypoints,
        residuals_px=draw.normal(0, 4, (count, 17, 2)),
        confidence=np.where(drawn[:, None], draw.uniform(0.3, 1, (count, 17)), 0),
        reference_pose=pose,
        reference_camera=camera,
        own_pose=pose + draw.normal(0, 0.05, pose.shape),
        own_camera=camera + draw.normal(0, 1, camera.shape),
        own_betas=draw.standard_normal((count, 10)),
        person=np.zeros(count, int),
        limb_change=draw.normal(0, 0.04, (count, 8)),
        limb_deviation=np.abs(draw.normal(0.03, 0.01, (count, 8))),
        limb_shown=draw.random((count, 8)),
        proportion_deviations=draw.normal(0, 1, (count, len(PROPORTIONS))),
    )


def write_invented_page(
    path: Path, scores: Scores, fits: Fits, thumbnails: list[Thumbnail | None], people: tuple[str, ...] = ("anna",)
) -> Path | None:
    """A page of invented rows, as ``adapters.results.report.build`` makes it of fitted ones; gives the folder of
    pictures."""
    body = load_embedded_body()
    boxes = [person_box(p, c > 0) for p, c in zip(fits.keypoints_px, fits.confidence, strict=True)]
    frames = [
        empty_frame(box, SIZE_PX) if made is None else made.frame for box, made in zip(boxes, thumbnails, strict=True)
    ]
    first = first_alike([made and made.hash for made in thumbnails], scores.image)
    block = ArrayBlock()
    add_scores(block, scores, fits.person)
    decision = decide(scores, None, True)
    reasons = reasons_of(fits.proportion_deviations, decision.kinds)
    decided = add_decision(block, decision, reasons, fits.person, first)
    add_fits(block, fits, frames, np.array([made is not None for made in thumbnails]))
    add_body(block, body, 10)
    manifest = {
        "title": "Invented rows",
        "version": "0",
        "mode": scores.mode,
        "source": "scores.parquet",
        "summary": summarise(scores),
        "notes": [],
        "people": [{"name": name, "references": 4, "betas": [0.3] * 10} for name in people],
        "several": len(people) > 1,
        "groups": list(people) if len(people) > 1 else [],
        "grouped_by": "best match",
        "digest": result_digest(scores),
        "body": body.name,
        **decided,
        **row_texts(scores),
        **drawing_texts(reduce_body(body, COCO_17).schema, body.parents),
        "arrays": block.entries,
    }
    return write_page(path, PageParts(manifest, block.text(), thumbnails))


def opening_seconds(page: Path, runs: int = 5) -> list[float]:
    """From the request to a gallery that can be used, each time in a new browser."""
    from playwright.sync_api import sync_playwright

    seconds = []
    with sync_playwright() as playwright:
        for _ in range(runs):
            browser = playwright.chromium.launch(executable_path=_CHROMIUM)
            tab = browser.new_page(viewport={"width": 1400, "height": 1000})
            begin = time.perf_counter()
            tab.goto(page.as_uri())
            tab.wait_for_selector("html[data-ready] .card")
            seconds.append(time.perf_counter() - begin)
            browser.close()
    return seconds


def filter_milliseconds(page: Path, runs: int = 20) -> list[float]:
    """From a move of the slider to the frame that shows what is left."""
    from playwright.sync_api import sync_playwright

    move = """async value => {
        const slider = document.getElementById("threshold"), begin = performance.now();
        slider.value = value; slider.dispatchEvent(new Event("input"));
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        return performance.now() - begin;
    }"""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM)
        tab = browser.new_page(viewport={"width": 1400, "height": 1000})
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-ready] .card")
        taken = [float(tab.evaluate(move, value)) for value in np.linspace(-3, 3, runs)]
        browser.close()
    return taken


def thumbnail_speed(folder: Path, count: int) -> tuple[float, float]:
    """Thumbnails a second from 12-megapixel JPEGs, and kilobytes each."""
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 255, (150, 200, 3), np.uint8)
    picture = folder / "photo.jpg"
    Image.fromarray(coarse).resize((4000, 3000), Image.Resampling.BICUBIC).save(picture, quality=90)
    begin = time.perf_counter()
    made = make_thumbnails([picture] * count, [(1000.0, 200.0, 2400.0, 2900.0)] * count)
    seconds = time.perf_counter() - begin
    return count / seconds, statistics.mean(len(one.jpeg) for one in made if one is not None) / 1000


def _smooth_thumbnail(folder: Path) -> Thumbnail | None:
    """As large as one of a photograph: 18 kB."""
    coarse = np.random.default_rng(0).integers(0, 255, (20, 16, 3), np.uint8)
    Image.fromarray(coarse).resize((800, 1000)).save(folder / "smooth.jpg")
    return make_thumbnails([folder / "smooth.jpg"], [None])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description="Size and opening time of a report's page.")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--thumbnails", type=int, default=100)
    parser.add_argument("--pictures", action="store_true", help="give every row a thumbnail")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        one = _smooth_thumbnail(Path(folder)) if arguments.pictures else None
        begin = time.perf_counter()
        count = arguments.rows
        write_invented_page(page, invented_scores(count), invented_fits(count), [one] * count)
        print(f"{count:,} rows: page {page.stat().st_size / 1e6:.2f} MB, packed and written in "
              f"{time.perf_counter() - begin:.1f} s")  # fmt: skip
        seconds = opening_seconds(page)
        print(f"opens in {statistics.median(seconds):.2f} s (median), {max(seconds):.2f} s (slowest of {len(seconds)})")
        taken = filter_milliseconds(page)
        print(f"a move of the slider: {statistics.median(taken):.0f} ms (median), {max(taken):.0f} ms (slowest)")
        rate, kilobytes = thumbnail_speed(Path(folder), arguments.thumbnails)
        print(f"thumbnails of 12-megapixel JPEGs: {rate:.0f} a second, {kilobytes:.0f} kB each")


if __name__ == "__main__":
    main()
