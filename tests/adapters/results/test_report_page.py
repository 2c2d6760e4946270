"""The page of a report in a browser: what its controls do, that it shows what the engine computed, that it is quiet."""

import csv
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from adapters.commands.cli import main
from adapters.results.report.decision import queue_of
from adapters.results.report.scores import Scores
from adapters.results.report.thumbnails import make_thumbnails
from benchmarks.report import invented_fits, invented_scores, write_invented_page
from engine.body.model import BodyModel, pose_body

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")

ROWS = 400
HOSTILE = {0: "<script>alert(1)</script>.png", 1: "\"'><img src=x onerror=alert(2)>.png", 2: "a,b\n{{7*7}}.png"}


@dataclass
class Opened:
    """A page that is open, and all that it said and asked for."""

    tab: object
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def scores() -> Scores:
    made = invented_scores(ROWS)
    images = [HOSTILE.get(row, name) for row, name in enumerate(made.image)]
    return replace(made, image=images)


@pytest.fixture(scope="module")
def page(scores: Scores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written once: pictures for the first rows, bodies for all."""
    folder = tmp_path_factory.mktemp("page")
    paths = [folder / f"photo_{row}.png" if row < 40 else None for row in range(ROWS)]
    draw = np.random.default_rng(0)
    for path in paths[:40]:  # none is like another
        Image.fromarray(draw.integers(0, 255, (8, 8, 3), np.uint8)).resize((1200, 1200)).save(path)
    out = folder / "report.html"
    write_invented_page(out, scores, invented_fits(ROWS), make_thumbnails(paths, [None] * ROWS))
    for path in folder.glob("photo_*.png"):
        path.unlink()
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def opened(browser, page: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """The page in a new tab. At the end nothing may have gone wrong, and nothing been asked for but the page itself."""
    options = {"viewport": {"width": 1300, "height": 900}, **getattr(request, "param", {})}
    context = browser.new_context(accept_downloads=True, **options)
    tab = context.new_page()
    found = Opened(tab)
    tab.on("pageerror", lambda error: found.said.append(str(error)))
    tab.on("dialog", lambda dialog: (found.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
    # Chromium without a graphics card speaks of its driver; that is not the page's doing.
    tab.on("console", lambda message: "GL Driver" in message.text or found.said.append(message.text))
    tab.on("request", lambda asked: found.asked.append(asked.url))
    context.route("**/*", lambda route: route.continue_() if route.request.url == page.as_uri() else route.abort())
    tab.goto(page.as_uri())
    tab.wait_for_selector("html[data-ready] .card")
    yield found
    context.close()
    assert found.said == []
    assert [url for url in found.asked if not url.startswith(("data:", "blob:"))] == [page.as_uri()]


def _until(tab, expression: str) -> None:
    """Wait for the page; its policy forbids what Playwright's own waiting would evaluate in it."""
    for _ in range(100):
        if tab.evaluate(expression):
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def _saved(tab, what: str = "download") -> list[dict[str, str]]:
    """A file that the page gives, as rows of a CSV."""
    return list(csv.DictReader(io.StringIO(_file(tab, what).read_text(), newline="")))


def _file(tab, what: str) -> Path:
    tab.click("#save-button")
    with tab.expect_download() as download:
        tab.click(f"#{what}")
    tab.click("#save-close")
    return Path(download.value.path())


def _shown(tab) -> int:
    return int(tab.inner_text("#count-shown").split()[0].replace(",", ""))


def _order(scores: Scores) -> list[int]:
    """Row numbers as the page ranks them."""
    evidence = scores.numbers["log_bayes_factor"]
    return [int(row) for row in np.argsort(evidence, kind="stable") if np.isfinite(evidence[row])]


def _slide(tab, value: float) -> float:
    tab.locator("#threshold").evaluate("(s, v) => { s.value = v; s.dispatchEvent(new Event('input')); }", value)
    tab.wait_for_timeout(60)
    return float(tab.locator("#threshold").input_value())


def test_the_slider_filters_what_is_shown_counted_and_saved(opened: Opened, scores: Scores) -> None:
    tab = opened.tab
    log_bayes = scores.numbers["log_bayes_factor"]
    threshold = _slide(tab, 1.0)
    below = int(np.sum(log_bayes < threshold))
    assert tab.inner_text("#count-below") == str(below)
    assert tab.inner_text("#count-above") == str(int(np.sum(log_bayes >= threshold)))
    tab.click("#sides [data-value=below]")
    assert _shown(tab) == below
    saved = _saved(tab)
    assert [row["image"] for row in saved] == [scores.image[i] for i in _order(scores) if log_bayes[i] < threshold]
    values = np.array([row["log_bayes_factor"] for row in saved], np.float32)
    np.testing.assert_array_equal(values, np.sort(log_bayes[log_bayes < threshold]))
    tab.click("#scores [data-value=same_body_probability]")
    _slide(tab, 0.9)
    probability = scores.numbers["same_body_probability"]
    assert tab.inner_text("#count-above") == str(int(np.sum(probability >= np.float32(tab.input_value("#threshold")))))
    tab.click("#sides [data-value=above]")
    assert len(_saved(tab)) == int(np.sum(probability >= 0.9))


def test_the_queue_comes_first_and_goes_on(opened: Opened, scores: Scores) -> None:
    tab = opened.tab
    order = _order(scores)
    assert [row["image"] for row in _saved(tab)] == [scores.image[row] for row in order[:20]]
    low, high = queue_of(scores, None, True)[1].others(20) or (0, 0)
    assert f"Expect {low} to {high} of these 20" in tab.inner_text("#expectation")
    tab.click("#more")
    assert [row["image"] for row in _saved(tab)] == [scores.image[row] for row in order[:40]]


def test_tiles_bars_and_names_filter(opened: Opened, scores: Scores) -> None:
    tab = opened.tab
    probability, log_bayes = scores.numbers["same_body_probability"], scores.numbers["log_bayes_factor"]
    for name, rows in {
        "another_body": probability <= 0.1,
        "same_body": probability >= 0.9,
        "undecided": (probability > 0.1) & (probability < 0.9),
        "detector_unsure": np.isnan(probability),
    }.items():
        tab.click(f"[data-tile={name}]")
        assert _shown(tab) == int(np.sum(rows))
    assert "nobody found" in tab.inner_text(".card >> nth=0")
    tab.click("[data-tile=all]")
    bar = tab.locator("#histogram rect.area >> nth=20")
    low, high = (float(text.replace("−", "-")) for text in bar.text_content().split(":")[0].split(" to "))
    bar.click()
    values = np.array([row["log_bayes_factor"] for row in _saved(tab)], np.float32)
    assert len(values) == np.sum((log_bayes >= values.min()) & (log_bayes <= values.max())) > 0
    assert low - 0.05 <= values.min() <= values.max() <= high + 0.05
    tab.click("#range")
    assert _shown(tab) == ROWS
    tab.keyboard.press("/")
    tab.keyboard.type("picture_00012")
    assert {row["image"] for row in _saved(tab)} == {f"set/picture_00012{i}.jpg" for i in range(10)}


def _focused(tab) -> str | None:
    return tab.evaluate("document.activeElement.dataset.row")


def test_the_keyboard_moves_opens_and_closes(opened: Opened, scores: Scores) -> None:
    tab = opened.tab
    tab.click("[data-tile=all]")
    tab.locator("#gallery").focus()
    order = _order(scores)
    columns = tab.evaluate(
        "new Set([...document.querySelectorAll('.card')].map(c => c.getBoundingClientRect().x)).size"
    )
    steps = {"ArrowRight": order[0], "ArrowDown": order[columns], "ArrowLeft": order[columns - 1]}
    for key, row in steps.items():
        tab.keyboard.press(key)
        assert _focused(tab) == str(row)
    tab.keyboard.press("Enter")
    assert tab.inner_text("[data-part=name]") == scores.image[order[columns - 1]]
    tab.keyboard.press("ArrowRight")
    assert tab.inner_text("[data-part=place]") == f"{columns + 1} of {ROWS}"
    tab.keyboard.press("Escape")
    _until(tab, f"document.activeElement.dataset.row === '{order[columns]}'")
    assert not tab.locator("#detail").evaluate("d => d.open")
    tab.keyboard.press("End")
    tab.wait_for_timeout(60)
    assert scores.status[int(_focused(tab) or -1)] == "no_detection"
    assert tab.locator(".card").count() < 120  # of 400: the others do not exist


def test_marks_by_key_click_and_selection_are_undone_and_survive_reload(opened: Opened, scores: Scores) -> None:
    tab = opened.tab
    names = [scores.image[row] for row in _order(scores)]
    tab.keyboard.press("ArrowRight")
    for key in ("x", "k", "u"):  # each makes room for the next
        tab.keyboard.press(key)
    tab.click(".card[data-place='3'] [data-mark=drop]")
    expected = dict(zip(names[:4], ("drop", "keep", "unsure", "drop"), strict=True))

    def marked() -> dict[str, str]:
        return {row["image"]: row["mark"] for row in _saved(tab, "save-csv")}

    assert marked() == expected
    tab.click(".card[data-place='4']", modifiers=["Control"])
    tab.click(".card[data-place='7']", modifiers=["Shift"])
    assert tab.inner_text("#count-chosen") == "4 selected"
    tab.keyboard.press("x")
    assert marked() == expected | dict.fromkeys(names[4:8], "drop")
    tab.keyboard.press("z")
    assert marked() == expected
    tab.keyboard.press("Control+y")
    assert marked() == expected | dict.fromkeys(names[4:8], "drop")
    tab.keyboard.press("z")
    tab.select_option("#marked", "drop")
    assert [row["image"] for row in _saved(tab)] == [names[0], names[3]]
    tab.reload()
    tab.wait_for_selector("html[data-ready] .card")
    assert marked() == expected
    opened.asked.pop()  # of the page itself, again


def test_marks_are_made_in_the_open_picture(opened: Opened, scores: Scores) -> None:
    tab = opened.tab
    names = [scores.image[row] for row in _order(scores)]
    tab.click(".card[data-place='0']")
    tab.keyboard.press("x")
    assert tab.text_content("[data-part=name]") == names[1]
    tab.click("#detail [data-mark=keep]")
    tab.keyboard.press("Escape")
    assert {row["image"]: row["mark"] for row in _saved(tab, "save-csv")} == {names[0]: "drop", names[1]: "keep"}


@pytest.mark.parametrize("what", ["save-csv", "save-json"])
def test_saved_marks_are_read_again(opened: Opened, scores: Scores, tmp_path: Path, what: str) -> None:
    tab = opened.tab
    tab.click("[data-tile=all]")
    tab.locator("#gallery").focus()
    tab.keyboard.press("a")  # the hostile names too
    tab.keyboard.press("x")
    saved = tmp_path / f"marks{what[4:].replace('-', '.')}"
    shutil.copy(_file(tab, what), saved)
    tab.keyboard.press("z")
    assert tab.locator("#save-csv").is_disabled()
    tab.set_input_files("#marks-file", saved)
    _until(tab, "document.getElementById('said').textContent !== ''")
    rows = _saved(tab, "save-csv")
    assert [row["image"] for row in rows] == scores.image
    assert {row["mark"] for row in rows} == {"drop"}
    if what == "save-json":
        saved.write_text(json.dumps({"format": "another", "marks": []}))
        tab.set_input_files("#marks-file", saved)
        _until(tab, "document.getElementById('said').textContent.includes('not read')")


@pytest.mark.parametrize("what", ["save-csv", "save-json"])
def test_apply_moves_what_the_page_marks(opened: Opened, scores: Scores, tmp_path: Path, what: str) -> None:
    tab = opened.tab
    pictures = tmp_path / "pictures"
    for name in scores.image:  # the hostile names too
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        (pictures / name).write_text(name)
    tab.keyboard.press("ArrowRight")
    for key in "xkxuxx":
        tab.keyboard.press(key)
    tab.keyboard.press("z")
    tab.select_option("#sort", "image")
    tab.click("[data-tile=all]")
    for row in HOSTILE:
        tab.fill("#search", scores.image[row].splitlines()[-1][:12])
        tab.click(".card >> nth=0 >> [data-mark=drop]")
    names = [scores.image[row] for row in _order(scores)]
    dropped = {names[0], names[2], names[4], *HOSTILE.values()}
    marks = tmp_path / f"marks{what[4:].replace('-', '.')}"
    shutil.copy(_file(tab, what), marks)
    arguments = ["apply", str(marks), "--pictures", str(pictures), "--move-to", str(tmp_path / "dropped")]
    assert main(arguments) == 0
    assert not (tmp_path / "dropped").exists(), "without --yes nothing is done"
    assert main([*arguments, "--yes"]) == 0
    moved = {path.relative_to(tmp_path / "dropped").as_posix() for path in (tmp_path / "dropped").rglob("*.*g")}
    assert moved == dropped
    assert {name for name in scores.image if not (pictures / name).exists()} == dropped


def test_pictures_that_look_alike_lie_on_one_card(browser, scores: Scores, tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    for name in ("one", "two"):
        Image.fromarray(draw.integers(0, 255, (8, 8, 3), np.uint8)).resize((500, 500)).save(tmp_path / f"{name}.png")
    order = _order(scores)
    looks: dict[int, Path] = {order[1]: tmp_path / "one.png", order[3]: tmp_path / "two.png"}
    looks |= dict.fromkeys(order[4:9], tmp_path / "one.png") | {order[300]: tmp_path / "two.png"}
    made = make_thumbnails([looks.get(row) for row in range(ROWS)], [None] * ROWS)
    page = tmp_path / "report.html"
    write_invented_page(page, scores, invented_fits(ROWS), made)
    tab = browser.new_context(accept_downloads=True).new_page()
    tab.goto(page.as_uri())
    tab.wait_for_selector("html[data-ready] .card")
    # Twenty cards; the far twin is not in the queue's first rows for its look, but lies under its card.
    heads = [row for row in order if row not in {*order[4:9], order[300]}][:20]
    saved = {row["image"] for row in _saved(tab)}
    assert saved == {scores.image[row] for row in [*heads, *order[4:9], order[300]]}
    assert tab.locator(".alike").all_inner_texts() == ["+5 alike", "+1 alike"]
    tab.click(f".card[data-row='{order[1]}'] [data-mark=drop]")
    assert {row["image"] for row in _saved(tab, "save-csv")} == {scores.image[row] for row in [order[1], *order[4:9]]}
    tab.keyboard.press("z")
    tab.click(".alike >> nth=0")
    assert tab.locator(".alike").all_inner_texts() == ["+1 alike"]
    tab.click(f".card[data-row='{order[1]}'] [data-mark=drop]")
    assert [row["image"] for row in _saved(tab, "save-csv")] == [scores.image[order[1]]]
    tab.context.close()


def test_people_are_tabs(browser, scores: Scores, tmp_path: Path) -> None:
    fits = replace(invented_fits(ROWS), person=np.arange(ROWS) % 2)
    page = tmp_path / "report.html"
    write_invented_page(page, scores, fits, [None] * ROWS, ("anna", "boris"))
    tab = browser.new_context(accept_downloads=True).new_page()
    tab.goto(page.as_uri())
    tab.wait_for_selector("html[data-ready] .card")
    assert tab.locator("#tabs button").all_inner_texts() == ["everybody", "anna", "boris"]
    tab.click("#tabs button >> nth=2")
    assert tab.locator("#tabs [aria-pressed=true]").all_inner_texts() == ["boris"]
    order = [row for row in _order(scores) if row % 2 == 1]
    saved = _saved(tab)
    assert [row["image"] for row in saved] == [scores.image[row] for row in order[:20]], "the queue of one person"
    assert {row["best_match"] for row in saved} == {"boris"}
    tab.click("[data-tile=all]")
    assert _shown(tab) == ROWS // 2
    tab.click("#tabs button >> nth=0")
    assert _shown(tab) == ROWS
    tab.context.close()


def test_names_are_copied(opened: Opened, scores: Scores) -> None:
    tab = opened.tab
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.fill("#search", "picture_00020")
    tab.click("[data-tile=all]")
    tab.select_option("#sort", "image")
    tab.click("#save-button")
    tab.click("#copy")
    _until(tab, "document.getElementById('said').textContent !== ''")
    assert tab.inner_text("#said") == "10 names copied"
    assert tab.evaluate("navigator.clipboard.readText()").split() == [f"set/picture_00020{i}.jpg" for i in range(10)]


def test_names_do_nothing(opened: Opened) -> None:
    tab = opened.tab
    tab.click("[data-tile=all]")
    tab.select_option("#sort", "image")
    for name in HOSTILE.values():
        tab.fill("#search", name.splitlines()[-1][:12])
        tab.click(".card >> nth=0")
        assert tab.locator("[data-part=name]").text_content() == name
        tab.keyboard.press("Escape")
        assert [row["image"] for row in _saved(tab)] == [name]
    assert tab.locator("body script").count() == 4
    assert tab.locator("img[onerror]").count() == 0


def test_bodies_turn(opened: Opened) -> None:
    tab = opened.tab
    tab.click(".card >> nth=0")
    bodies = tab.locator("[data-part=bodies]")
    looks = [bodies.evaluate("c => c.toDataURL()")]
    box = bodies.bounding_box()
    tab.mouse.move(box["x"] + 100, box["y"] + 100)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 190, box["y"] + 110, steps=3)
    tab.mouse.up()
    looks.append(bodies.evaluate("c => c.toDataURL()"))
    bodies.press("ArrowLeft")
    looks.append(bodies.evaluate("c => c.toDataURL()"))
    assert tab.locator("#detail").evaluate("d => d.open")
    assert len(set(looks)) == 3
    painted = bodies.evaluate(
        "c => { const d = Object.assign(document.createElement('canvas'), {width: c.width, height: c.height});"
        "const x = d.getContext('2d', {willReadFrequently: true}); x.drawImage(c, 0, 0);"
        "return [0, c.width / 2].map(l => x.getImageData(l, 0, c.width / 2, c.height).data.filter((v, i) => i % 4 == 3"
        " && v > 0).length); }"
    )
    assert min(painted) > 2000  # both bodies are there


@pytest.mark.parametrize(
    "opened", [{"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 800}}], indirect=True
)
def test_dark_by_wish_and_nothing_wider_than_a_phone(opened: Opened) -> None:
    tab = opened.tab
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = tab.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    first = tab.evaluate(ground)
    assert (first == "rgb(20, 23, 27)") == dark
    tab.keyboard.press("d")
    assert (tab.evaluate(ground) == "rgb(20, 23, 27)") != dark
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.click(".card >> nth=0")
    assert tab.locator("#detail").evaluate("d => d.scrollWidth <= d.clientWidth")


def test_everything_that_is_seen_has_a_name(opened: Opened) -> None:
    tab = opened.tab
    tab.select_option("#sort", "image")
    tab.click(".card >> nth=0")
    nameless = tab.evaluate(
        "[...document.querySelectorAll('button, input, select, img, canvas:not([aria-hidden])')].filter(e =>"
        " !(e.getAttribute('aria-label') || e.getAttribute('alt') || e.textContent.trim() || e.title"
        " || (e.labels && e.labels.length))).map(e => e.outerHTML)"
    )
    assert nameless == []


def test_the_browser_poses_the_body_of_the_engine(opened: Opened, anny: BodyModel) -> None:
    static = resources.files("adapters.results.report") / "static"
    code = "\n".join((static / name).read_text() for name in ("data.js", "body.js"))
    result = opened.tab.evaluate(
        f"async () => {{ {code}\n await loadArrays(); const fit = fitOf(5, 'own');"
        " const vertices = skinned(restVertices(fit.betas), fit.joints, fit.skeleton);"
        " return [Array.from(vertices), Array.from(fit.skeleton.positions)]; }"
    )
    fits = invented_fits(ROWS)
    expected = pose_body(anny, jnp.asarray(fits.own_betas[5]), jnp.asarray(fits.own_pose[5]))
    # Rounded: weights to 1/255, betas and radians to a thousandth.
    np.testing.assert_allclose(np.reshape(result[0], (-1, 3)), expected.vertices, atol=5e-3)
    np.testing.assert_allclose(np.reshape(result[1], (-1, 3)), expected.joints, atol=2e-3)


def test_many_pictures_lie_beside_the_page(browser, scores: Scores, tmp_path: Path) -> None:
    Image.effect_noise((420, 420), 90).save(tmp_path / "noise.png")
    made = make_thumbnails([tmp_path / "noise.png"] * 60 + [None] * (ROWS - 60), [None] * ROWS)
    page = tmp_path / "my report.html"
    folder = write_invented_page(page, scores, invented_fits(ROWS), made)
    assert folder == tmp_path / "my report_files"
    assert sorted(path.name for path in folder.glob("*.jpg")) == [f"{row:06d}.jpg" for row in range(60)]
    tab = browser.new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    tab.wait_for_selector("html[data-ready] .card")
    tab.click("[data-tile=all]")
    tab.fill("#search", "picture_000030")
    _until(tab, "document.querySelector('.card img')?.naturalWidth > 0")
    tab.close()
    assert all(url.startswith(tmp_path.as_uri()) for url in asked)
    (folder / "mine.txt").touch()
    with pytest.raises(ValueError, match="another --out"):
        write_invented_page(page, scores, invented_fits(ROWS), made)
