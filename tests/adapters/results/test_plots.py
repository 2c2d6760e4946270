"""Figures: they hold the numbers that they claim to show, change nothing global, and show names as text."""

import base64
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from PIL import Image

from adapters.commands.cli import main
from adapters.commands.installed import adapted
from adapters.jobs.fit import fit_references
from adapters.jobs.score import RunSettings, score_to_file
from adapters.keypoints.readers import open_keypoints, read_keypoints
from adapters.keypoints.table import slice_table
from adapters.keypoints.writers import write_keypoints
from adapters.results.plots import body_views, open_scores, overlay, score_histogram
from adapters.results.plots.bodies import shape_difference
from adapters.results.plots.overlays import Panel
from adapters.results.plots.people import DrawnPerson
from adapters.results.plots.silhouette import silhouette
from adapters.results.plots.summary_html import scores_html
from adapters.results.recorded_sources import record_sources
from adapters.results.report.scores import Scores, read_scores
from engine.body.model import BodyModel
from tests.places import DEMO


def scores_of(log_bayes_factor: list[float], names: list[str] | None = None) -> Scores:
    """A free-pose result with nothing behind it."""
    values = np.array(log_bayes_factor, np.float32)
    probability = 1 / (1 + np.exp(-values))
    rest = np.where(np.isnan(values), np.nan, 0.5).astype(np.float32)
    return Scores(
        mode="free",
        image=names or [f"{row}.jpg" for row in range(len(values))],
        instance=[0] * len(values),
        status=["no_detection" if np.isnan(value) else "ok" for value in values],
        detail=[""] * len(values),
        numbers={
            "log_bayes_factor": values,
            "same_body_probability": probability,
            "consistency": rest,
            "information_bits": rest,
        },
        best_match=None,
        metadata={},
    )


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, anny: BodyModel) -> Path:
    """A folder with the scores of three demo pictures, and one of the pictures."""
    folder = tmp_path_factory.mktemp("plots")
    write_keypoints(folder / "keypoints.parquet", slice_table(read_keypoints([DEMO / "dataset.parquet"]), 0, 3))
    shape = fit_references(read_keypoints([DEMO / "references.parquet"]), anny)
    shape.save(folder / "shape.npz")
    sources = record_sources(folder / "scores.parquet", [folder / "keypoints.parquet"], [folder / "shape.npz"])
    source = open_keypoints([folder / "keypoints.parquet"])
    score_to_file(source, anny, shape, folder / "scores.parquet", run=RunSettings(sources=sources))
    (folder / "pictures").mkdir()
    Image.new("RGB", (1000, 900), (90, 120, 150)).save(folder / "pictures" / "anna_06.jpg")
    return folder


def test_a_histogram_counts_every_row_once_and_no_bar_lies_on_both_sides() -> None:
    draw = np.random.default_rng(0)
    values = [*draw.normal(0, 4, 300).tolist(), -60.0, float("nan")]
    figure = score_histogram(scores_of(values), threshold=0.7)
    (axes,) = figure.axes
    bars = [patch for patch in axes.patches if patch.get_height()]
    assert sum(bar.get_height() for bar in bars) == 301
    below = [bar for bar in bars if bar.get_facecolor() == bars[0].get_facecolor()]
    assert sum(bar.get_height() for bar in below) == sum(value < 0.7 for value in values)
    texts = [text.get_text() for text in axes.texts]
    assert f"{sum(value < 0.7 for value in values)} below" in texts
    assert any(text.startswith("≤") for text in texts)  # the outlier stands in the first bar, which says so
    assert figure.get_suptitle() == "302 rows, 1 without a score"


def test_a_histogram_of_no_scores_and_of_unknown_columns() -> None:
    assert score_histogram(scores_of([float("nan")])).get_suptitle() == "1 rows, 1 without a score"
    assert score_histogram(scores_of([1.0]), "consistency").axes[0].get_xlabel() == "consistency"
    with pytest.raises(ValueError, match="this result has: log_bayes_factor, same_body_probability, consistency"):
        score_histogram(scores_of([1.0]), "oks")


def test_an_outline_goes_around_what_triangles_cover() -> None:
    corners = np.array([[0, 0], [10, 0], [10, 20], [0, 20], [4, 8], [6, 8], [6, 12], [4, 12]], float)
    ring = [(0, 1, 4), (1, 5, 4), (1, 2, 5), (2, 6, 5), (2, 3, 6), (3, 7, 6), (3, 0, 7), (0, 4, 7)]
    lines = silhouette(corners, np.array(ring))

    def box(line: np.ndarray) -> np.ndarray:
        return np.array([line.min(axis=0), line.max(axis=0)])

    outer, hole = sorted(lines, key=lambda line: -np.ptp(line[:, 0]))
    np.testing.assert_allclose(box(outer), [[0, 0], [10, 20]], atol=0.1)
    np.testing.assert_allclose(box(hole), [[4, 8], [6, 12]], atol=0.1)
    assert all((line[0] == line[-1]).all() for line in lines)


def person() -> DrawnPerson:
    return DrawnPerson(
        keypoints_px=np.array([[100.0, 100.0], [150.0, 300.0], [0.0, 0.0]]),
        confidence=np.array([1.0, 0.5, 0.0]),
        residuals_px=np.array([[30.0, 0.0], [0.1, 0.0], [50.0, 50.0]]),
        joints_px=np.array([[120.0, 110.0], [150.0, 290.0]]),
        bones=((0, 1),),
        outline_px=(np.array([[80.0, 80.0], [170.0, 80.0], [170.0, 320.0], [80.0, 80.0]]),),
    )


def test_an_overlay_draws_what_was_seen_and_arrows_in_true_length() -> None:
    name = "$x_{1}$ <b>.jpg"
    figure = overlay([Panel(person(), title=name)])
    (axes,) = figure.axes
    (points,) = [artist for artist in axes.collections if isinstance(artist, PathCollection)]
    np.testing.assert_array_equal(points.get_offsets(), [[100, 100], [150, 300]])
    skeleton, arrows = [artist for artist in axes.collections if isinstance(artist, LineCollection)]
    np.testing.assert_array_equal(skeleton.get_segments(), [[[120, 110], [150, 290]]])
    shaft, barb = arrows.get_segments()  # too short ones, and those of points that were not seen, are left out
    np.testing.assert_array_equal(shaft, [[100, 100], [70, 100]])
    np.testing.assert_array_equal(barb[1], [70, 100])
    assert axes.get_title(loc="left") == name
    assert b"PNG" in figure._repr_png_()[:8]
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    assert left < 80 < 170 < right
    assert top < 80 < 320 < bottom  # rows of pixels count downwards


def test_an_overlay_leaves_out_parts_and_refuses_unknown_ones() -> None:
    figure = overlay([Panel(person())] * 5, parts=("keypoints",))
    assert sum(axes.get_visible() for axes in figure.axes) == 5
    assert not any(isinstance(artist, LineCollection) for axes in figure.axes for artist in axes.collections)
    with pytest.raises(ValueError, match="no part bones"):
        overlay([Panel(person())], parts=("bones",))
    with pytest.raises(ValueError, match="at least one"):
        overlay([])


def test_bodies_are_compared_at_one_size_and_coloured_by_their_distance(anny: BodyModel) -> None:
    mesh = np.asarray(anny.v_template, float)
    same = shape_difference(mesh, 1.3 * mesh + [1, 2, 3])
    assert same.scale == pytest.approx(1 / 1.3)
    np.testing.assert_allclose(same.distance_mm, 0, atol=1e-9)
    other = np.zeros(10)
    other[1] = 2.0
    figure = body_views(anny, {"reference": np.zeros(10), "a_picture$": other}, ("front", "side", "back"))
    *panels, bar = figure.axes
    assert len(panels) == 6
    assert bar.get_ylabel() == "mm from reference"
    assert [axes.get_title(loc="left") for axes in panels[::3]] == ["reference", "a_picture$"]
    colours = []
    for axes in panels:
        (triangles,) = axes.collections
        assert isinstance(triangles, PolyCollection)
        assert triangles.get_rasterized()
        colours.append(np.asarray(triangles.get_facecolor())[:, :3])

    def saturation(rgb: np.ndarray) -> float:
        return float(np.median(np.ptp(rgb, axis=1)))

    assert saturation(colours[3]) > 3 * saturation(colours[0])
    with pytest.raises(ValueError, match="no view above"):
        body_views(anny, {"reference": other}, ("above",))


def test_names_in_a_notebook_are_text() -> None:
    name = "<script>alert(1)</script>\"'&.jpg"
    html = scores_html(scores_of([2.5, -1.0], [name, "plain.jpg"]), "<i>scores</i>.parquet")
    assert "<script" not in html
    assert "<i>" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert html.index("plain.jpg") < html.index("&lt;script&gt;")  # lowest first
    (svg,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    assert b"<svg" in base64.b64decode(svg)
    assert "http" not in html
    assert scores_html(scores_of([float("nan")]), "s").count("<table") == 0


def test_figures_of_a_result_file(scored: Path, tmp_path: Path) -> None:
    pictures = open_scores(scored / "scores.parquet", scored / "pictures")
    assert len(pictures) == 3
    assert "3 rows (3 ok)" in re.sub("<[^>]*>", "", pictures._repr_html_())
    figure = pictures.overlay("anna_06.jpg", ("anna_07.jpg", 0))
    seen, unseen = (axes for axes in figure.axes if axes.get_visible())
    assert len(seen.images) == 1
    assert not unseen.images
    points = next(artist for artist in seen.collections if isinstance(artist, PathCollection))
    table = read_keypoints([scored / "keypoints.parquet"])
    np.testing.assert_allclose(points.get_offsets(), table.keypoints[0][table.confidence[0] > 0], atol=0.01)
    # The reference body lies where the keypoints are.
    skeleton = next(artist for artist in seen.collections if isinstance(artist, LineCollection))
    joints = np.concatenate(skeleton.get_segments())
    limbs = table.keypoints[0][7:]  # elbows to ankles are joints of the body
    distance = np.linalg.norm(limbs[:, None] - joints, axis=-1).min(axis=1)
    assert np.median(distance) < 0.03 * np.ptp(table.keypoints[0][:, 1])
    assert len([axes for axes in pictures.bodies("anna_06.jpg").axes if axes.collections]) >= 4
    with pytest.raises(ValueError, match=r"no row 'nobody.jpg' in scores.parquet; its first: anna_06.jpg"):
        pictures.overlay("nobody.jpg")
    for out, options in (
        ("h.svg", ["--score", "probability"]),
        ("o.png", ["--picture", "anna_06.jpg", "--images", str(scored / "pictures")]),
        ("b.pdf", ["--bodies"]),
    ):
        assert main(["plot", str(scored / "scores.parquet"), "--out", str(tmp_path / out), *options]) == 0
        assert (tmp_path / out).read_bytes()[:5] in (b"<?xml", b"\x89PNG\r", b"%PDF-")
        again = tmp_path / f"again_{out}"
        main(["plot", str(scored / "scores.parquet"), "--out", str(again), *options])
        if out != "h.svg":  # identifiers in SVG are drawn at random
            assert again.read_bytes() == (tmp_path / out).read_bytes()


def test_what_is_missing_is_named(scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "scores.parquet").write_bytes((scored / "scores.parquet").read_bytes())
    alone = open_scores(tmp_path / "scores.parquet")
    assert alone.histogram().axes
    with pytest.raises(ValueError, match="keypoints="):
        alone.overlay("anna_06.jpg")
    with pytest.raises(ValueError, match="shapes="):
        alone.bodies()
    shown = open_scores(tmp_path / "scores.parquet", keypoints=[scored / "keypoints.parquet"])
    (axes,) = shown.overlay("anna_06.jpg").axes
    assert [type(artist) for artist in axes.collections if artist.get_paths()] == [PathCollection]
    assert main(["plot", str(tmp_path / "scores.parquet"), "--out", "x.gif"]) == 2
    assert ".png, .svg or .pdf" in capsys.readouterr().err
    assert main(["plot", str(tmp_path / "scores.parquet"), "--out", "x.png", "--bodies", "--threshold", "1"]) == 2
    assert "for histograms" in capsys.readouterr().err


def test_without_matplotlib_the_extra_is_named_and_nothing_of_pyplot_is_imported() -> None:
    without = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "try:\n    import adapters.results.plots\nexcept ImportError as error:\n    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "figures need matplotlib; get it with: pip install 'samebody[plot]'"
    script = "import sys, adapters.results.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_command_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("adapters.commands.plot.importlib.util.find_spec", lambda name: None)
    assert main(["plot", "scores.parquet", "--out", "h.png"]) == 2
    assert adapted("pip install 'samebody[plot]'") in capsys.readouterr().err


def test_read_scores_and_open_scores_agree(scored: Path) -> None:
    read = read_scores(scored / "scores.parquet")
    np.testing.assert_array_equal(
        open_scores(scored / "scores.parquet").scores.numbers["consistency"], read.numbers["consistency"]
    )
