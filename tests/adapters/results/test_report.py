"""What a report is made of: result files of every format, pictures of every kind, limbs, and a page that gives back the
fits behind the scores."""

import base64
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from adapters.commands.cli import main
from adapters.jobs.fit import FitSettings, fit_references
from adapters.jobs.score import score_to_file
from adapters.keypoints.readers import open_keypoints, read_keypoints
from adapters.keypoints.table import slice_table
from adapters.keypoints.writers import write_keypoints
from adapters.results.picture_files import find_pictures
from adapters.results.recorded_sources import SOURCES_KEY, record_sources, recorded_sources
from adapters.results.report import page as page_module
from adapters.results.report.limbs import LIMBS, compare_limbs
from adapters.results.report.page import render_page
from adapters.results.report.page_data import safe_json
from adapters.results.report.scores import ScoreFileError, read_scores
from adapters.results.report.thumbnails import make_thumbnails
from adapters.results.scores import arrow_columns
from adapters.results.vocabulary import MARKS, TERMS
from adapters.results.writers import open_result_writer
from benchmarks.keypoint_forms import FORMS, People
from engine.body.keypoint_body import KeypointBody
from engine.body.model import BodyModel
from engine.body.schemas import COCO_17
from engine.evidence.shape_evidence import Evidence
from tests.places import DEMO, ROOT

ROWS = 12

_KINDS = {"float32": "<f4", "uint8": "u1", "uint16": "<u2", "uint32": "<u4", "int16": "<i2", "int32": "<i4"}


def unpacked(page: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Manifest and arrays of a page, read as its script reads them."""
    html = page.read_text()
    manifest = json.loads(re.search(r'id="manifest">(.*?)</script>', html, re.S)[1])  # type: ignore[index]
    block = zlib.decompress(base64.b64decode(re.search(r'id="block">(.*?)</script>', html, re.S)[1]))  # type: ignore[index]
    arrays = {}
    for name, entry in manifest["arrays"].items():
        kind = np.dtype(_KINDS[entry["type"]])
        count = int(np.prod(entry["shape"]))
        content = np.frombuffer(block, np.uint8, count * kind.itemsize, entry["at"])
        values = content.reshape(kind.itemsize, count).T.copy().view(kind).reshape(entry["shape"])
        arrays[name] = values if entry["step"] == 1 else values * entry["step"]
    return manifest, arrays


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scores of some demo pictures, made by the command line, and their pictures."""
    folder = tmp_path_factory.mktemp("scored")
    write_keypoints(folder / "keypoints.parquet", slice_table(read_keypoints([DEMO / "dataset.parquet"]), 0, ROWS))
    shape, out = folder / "shape.npz", folder / "scores.parquet"
    assert main(["fit", str(DEMO / "references.parquet"), "--out", str(shape)]) == 0
    assert main(["score", str(folder / "keypoints.parquet"), "--shape", str(shape), "--out", str(out), "--fit"]) == 0
    (folder / "pictures").mkdir()
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    for name in read_keypoints([folder / "keypoints.parquet"]).image.to_pylist():
        Image.new("RGB", (1000, 900), (90, 120, 150)).save(folder / "pictures" / name, exif=exif)
    return folder


def test_the_page_holds_the_fits_behind_the_scores(scored: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    arguments = [str(scored / "scores.parquet"), "--images", str(scored / "pictures"), "--out", str(page)]
    assert main(["report", *arguments]) == 0
    manifest, arrays = unpacked(page)
    scores = pq.read_table(scored / "scores.parquet")
    assert len(manifest["notes"]) == 1, "the calibration is the shipped one, and nothing else is missing"
    assert manifest["images"] == scores["image"].to_pylist()
    assert arrays["drawn"].all()
    assert arrays["picture"].all()
    np.testing.assert_array_equal(arrays["log_bayes_factor"], scores["log_bayes_factor"].to_numpy())
    # Residuals are in pixels of thumbnails: back to those of the picture.
    table = read_keypoints([scored / "keypoints.parquet"])
    weights = table.confidence

    def width(points: np.ndarray) -> np.ndarray:
        places = np.where(weights > 0, points[..., 0], np.nan)
        return np.nanmax(places, axis=1) - np.nanmin(places, axis=1)

    spread = width(table.keypoints) / width(arrays["keypoints"])
    squared = np.sum(np.square(arrays["residuals"]), axis=-1) * spread[:, None] ** 2
    error = np.sqrt(np.sum(weights * squared, axis=1) / weights.sum(axis=1))
    np.testing.assert_allclose(error, scores["reprojection_error_px"].to_numpy(), rtol=0.03, atol=0.05)
    scale = arrays["reference_camera"][:, 0] * spread
    np.testing.assert_allclose(scale, scores["scale"].to_numpy(), rtol=1e-3)


def test_a_page_tells_nothing_about_the_machine_or_the_camera(scored: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    main(["report", str(scored / "scores.parquet"), "--images", str(scored / "pictures"), "--out", str(page)])
    html = page.read_text()
    pictures = json.loads(re.search(r'id="pictures">(.*?)</script>', html, re.S)[1])  # type: ignore[index]
    _, arrays = unpacked(page)
    for text in (html, *(base64.b64decode(picture).decode("latin-1") for picture in pictures)):
        assert str(scored) not in text
        assert str(tmp_path) not in text
        assert "SecretCamera" not in text
    assert len(pictures) == len(arrays["picture"]) == ROWS
    assert not re.search(r"(src|href)=[\"']?https?:", html)
    result = pq.read_schema(scored / "scores.parquet").metadata
    assert all(b"/tmp" not in value and str(scored).encode() not in value for value in result.values())


def test_photographs_that_lie_where_the_page_would_put_its_own_are_kept(
    scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page_module, "INLINE_BYTES", 0)
    originals = tmp_path / "photos_files"
    originals.mkdir()
    for number in range(3):
        (originals / f"{number:012d}.jpg").write_bytes(b"an original")
    for images in (originals, scored / "pictures"):
        arguments = ["--images", str(images), "--out", str(tmp_path / "photos.html")]
        assert main(["report", str(scored / "scores.parquet"), *arguments]) == 2
        assert "photos_files" in capsys.readouterr().err
    assert {path.read_bytes() for path in originals.iterdir()} == {b"an original"}
    assert len(list(originals.iterdir())) == 3
    arguments = ["--images", str(scored / "pictures"), "--out", str(tmp_path / "page.html")]
    for _ in range(2):  # what the first run wrote may be replaced
        assert main(["report", str(scored / "scores.parquet"), *arguments]) == 0
        assert len(list((tmp_path / "page_files").glob("*.jpg"))) == ROWS


def test_a_csv_says_which_options_bring_the_rest(scored: Path, tmp_path: Path, anny: BodyModel) -> None:
    source = open_keypoints([scored / "keypoints.parquet"])
    shape = fit_references(read_keypoints([DEMO / "references.parquet"]), anny, FitSettings(mode="rest"))
    shape.save(tmp_path / "rest.npz")
    score_to_file(source, anny, shape, tmp_path / "rest.csv")
    page = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "rest.csv"), "--out", str(page)]) == 0
    notes = " ".join(unpacked(page)[0]["notes"])
    assert "--keypoints" in notes
    assert "--images" in notes
    given = ["--keypoints", str(scored / "keypoints.parquet"), "--shape", str(tmp_path / "rest.npz")]
    assert main(["report", str(tmp_path / "rest.csv"), *given, "--out", str(page)]) == 0
    manifest, arrays = unpacked(page)
    assert any("--pose rest" in note for note in manifest["notes"])
    assert arrays["confidence"].any()
    assert not arrays["drawn"].any()


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_every_format_gives_the_same_rows(suffix: str, tmp_path: Path, anny: BodyModel) -> None:
    table = slice_table(read_keypoints([DEMO / "dataset.parquet"]), 0, 5)
    seen = np.where(np.arange(5)[:, None] == 3, np.float32(0), table.confidence)
    write_keypoints(tmp_path / "k.parquet", replace(table, confidence=seen))
    shape = fit_references(read_keypoints([DEMO / "references.parquet"]), anny, FitSettings(mode="rest"))
    score_to_file(open_keypoints([tmp_path / "k.parquet"]), anny, shape, tmp_path / f"s{suffix}")
    scores = read_scores(tmp_path / f"s{suffix}")
    assert scores.mode == "rest"
    assert scores.image == table.image.to_pylist()
    assert scores.status == ["ok", "ok", "ok", "too_few_keypoints", "ok"]
    assert np.isnan(scores.numbers["oks"]).tolist() == [False, False, False, True, False]


def test_other_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ScoreFileError, match="lacks"):
        read_scores(tmp_path / "other.csv")
    (tmp_path / "broken.parquet").write_bytes(b"nothing")
    with pytest.raises(ScoreFileError, match="damaged"):
        read_scores(tmp_path / "broken.parquet")
    with pytest.raises(ScoreFileError, match="samebody score"):
        read_scores(tmp_path / "missing.jsonl")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_columns_of_fits_come_together_or_not_at_all(suffix: str, tmp_path: Path) -> None:
    columns = arrow_columns("free", fits=False)
    rows = pa.table([pa.array([1 if pa.types.is_integer(c.type) else "1"]).cast(c.type) for c in columns], columns)
    without, some = tmp_path / f"without{suffix}", tmp_path / f"some{suffix}"
    for path, table in ((without, rows), (some, rows.append_column("oks", pa.array([1], pa.float32())))):
        with open_result_writer(path, table.schema, {}) as writer:
            writer.write(table)
    numbers = read_scores(without).numbers
    assert numbers["log_bayes_factor"] == 1
    assert np.isnan(numbers["oks"])
    with pytest.raises(ScoreFileError, match=r"lacks .*reprojection_error_px"):
        read_scores(some)


def test_recorded_paths_are_relative_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    out = tmp_path / "run" / "scores.parquet"
    found = record_sources(out, [tmp_path / "keypoints"], [tmp_path / "run" / "shape.npz"], calibration=Path("/c.json"))
    assert found.keypoints == ("../keypoints",)
    assert found.shapes == ("shape.npz",)
    assert found.calibration is None
    assert recorded_sources(found.as_metadata()) == found
    assert recorded_sources({SOURCES_KEY: '{"shapes":["/etc/passwd"]}'}).shapes == ()
    assert recorded_sources({SOURCES_KEY: "[1"}).keypoints == ()
    assert recorded_sources({SOURCES_KEY: '{"min_score":7}'}).reading is None


def test_keypoints_are_read_as_they_were_for_the_scores(tmp_path: Path) -> None:
    demo = read_keypoints([DEMO / "dataset.parquet"])
    form = next(form for form in FORMS if form.name == "YOLO labels")
    labels = tmp_path / "labels"
    labels.mkdir()
    people = People(demo.keypoints[:2], np.where(demo.confidence[:2] > 0, np.float32(0.25), np.float32(0)))
    (labels / "anna.txt").write_bytes(form.write(people, COCO_17))
    shape, out = str(tmp_path / "shape.npz"), tmp_path / "scores.parquet"
    assert main(["fit", str(DEMO / "references.parquet"), "--pose", "rest", "--out", shape]) == 0
    options = ["--image-size", "2048x1024", "--min-score", "0.2"]
    assert main(["score", str(labels), "--shape", shape, "--out", str(out), *options]) == 0
    assert main(["report", str(out), "--out", str(tmp_path / "report.html")]) == 0
    _, arrays = unpacked(tmp_path / "report.html")
    assert (arrays["confidence"] > 0).any()


def test_thumbnails_of_every_kind_of_picture(tmp_path: Path) -> None:
    upright = np.zeros((60, 100, 3), np.uint8)
    upright[:, :50] = (250, 40, 40)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown a quarter turn clockwise
    Image.fromarray(upright).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    Image.fromarray(upright).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(np.full((60, 100), 40000, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (60, 100), (255, 255, 255, 0)).save(tmp_path / "clear.png")
    whole = (tmp_path / "turned.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "no.jpg").write_text("no picture")
    names = ["turned.jpg", "cmyk.jpg", "deep.png", "clear.png", "cut.jpg", "no.jpg", "absent.jpg"]
    made = make_thumbnails(find_pictures(tmp_path, names), [None] * len(names), 50)
    assert [one is None for one in made] == [False, False, False, False, True, True, True]
    sizes = {}
    for name, one in zip(names, made, strict=True):
        if one is not None:
            (tmp_path / "small.jpg").write_bytes(one.jpeg)
            with Image.open(tmp_path / "small.jpg") as small:
                assert small.format == "JPEG"
                assert small.mode == "RGB"
                assert not small.getexif()
                assert "icc_profile" not in small.info
                sizes[name] = (small.size, small.getpixel((5, 5)))
    assert sizes["turned.jpg"][0] == (30, 50)
    assert sizes["turned.jpg"][1][0] > 200  # what was left is above
    assert abs(sizes["deep.png"][1][0] - 40000 / 257) < 4
    assert abs(sizes["clear.png"][1][0] - 127) < 4


def test_a_thumbnail_is_cut_to_the_person(tmp_path: Path) -> None:
    Image.new("RGB", (1000, 500)).save(tmp_path / "wide.png")
    (one,) = make_thumbnails([tmp_path / "wide.png"], [(-50.0, 100.0, 300.0, 700.0)], 100)
    assert one is not None
    assert one.frame == (0.0, 100.0, 0.25, 75, 100)


def test_pictures_are_found_by_path_and_by_name_that_is_theirs_alone(tmp_path: Path) -> None:
    for name in ("a/one.jpg", "b/one.jpg", "b/two.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_pictures(tmp_path, ["a/one", "b/one.jpg", "one.jpg", "two", "two.jpg", "notes"])
    relative = [path and path.relative_to(tmp_path).as_posix() for path in found]
    assert relative == ["a/one.jpg", "b/one.jpg", None, "b/two.png", "b/two.png", None]


def test_limbs_of_the_same_body_are_equal_and_uncertainty_is_a_derivative(coco_body: KeypointBody) -> None:
    draw = np.random.default_rng(0)
    betas = draw.standard_normal((3, 10))
    nothing = Evidence(np.zeros((3, 10, 10)), np.zeros((3, 10)))
    everything = Evidence(np.eye(10)[None] * 1e12 * np.ones((3, 1, 1)), np.zeros((3, 10)))
    same = compare_limbs(coco_body, betas, nothing, betas, everything)
    np.testing.assert_allclose(same.change, 0, atol=1e-12)
    # The deviation of the own shape alone, against finite differences along each component.
    step = 1e-5
    slopes = np.stack(
        [compare_limbs(coco_body, betas + step * axis, nothing, betas, everything).change / step for axis in np.eye(10)]
    )
    np.testing.assert_allclose(same.deviation, np.sqrt(np.sum(slopes**2, axis=0)), rtol=1e-3)
    assert same.change.shape == (3, len(LIMBS))


def test_texts_cannot_leave_their_place_in_the_page() -> None:
    name = "</script><script>alert(1)</script>\u2028<!--"
    assert "<" not in safe_json([name])
    assert json.loads(safe_json([name])) == [name]
    summary = {"rows": 1, "median_consistency": None, "by_status": {}}
    texts = {"version": "0", "mode": "rest", "source": name, "people": [], "several": False, "body": name}
    texts |= {"marks": list(MARKS), "terms": TERMS}
    html = render_page({"title": name, "notes": [name], "summary": summary, **texts}, "", [])
    assert "<script>alert" not in html
    assert html.count("<script") == 4


def test_text_can_be_read_on_its_ground() -> None:
    """WCAG 2.2, success criterion 1.4.3 (AA): a contrast of at least 4.5, by light and by dark."""
    style = (ROOT / "adapters" / "results" / "report" / "static" / "page.css").read_text()
    blocks = re.findall(r"{([^{}]*--ground:[^{}]*)}", style)
    themes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]
    assert len(themes) == 3
    assert themes[1] == themes[2]
    for theme in themes:
        grounds = {"ink": ("ground", "panel", "stage"), "soft": ("ground", "panel", "stage")}
        grounds |= {
            verdict: ("ground", "panel", f"{verdict}-soft") for verdict in ("match", "differ", "unclear", "doubt")
        }
        grounds |= {mark: ("panel", "ground") for mark in ("keep", "drop", "unsure")}
        for text, behind in grounds.items():
            for ground in behind:
                assert _contrast(theme[text], theme[ground]) >= 4.5, (text, ground)


def _contrast(first: str, second: str) -> float:
    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)
