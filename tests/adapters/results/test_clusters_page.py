"""The page of clusters: ordered by how sure they are, with examples that do not look alike, in a browser."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from adapters.jobs.cluster_table import COLUMNS
from adapters.keypoints.readers import read_keypoints
from adapters.keypoints.table import slice_table
from adapters.results.cluster_groups import Membership, groups_by_certainty, memberships
from adapters.results.report.clusters import EXAMPLES, ClusterInputs, group_words, make_cluster_report
from engine.body.model import BodyModel
from tests.places import DEMO

CHROMIUM = shutil.which("chromium")
SIZES = (9, 3, 1, 2)
PROBABILITIES = [*np.linspace(0.9, 0.2, 9), 0.95, 0.97, 0.99, 0.5, 0.1, 0.1]


def clustered() -> pa.Table:
    """Four groups, and a row in which nobody was found: group 1 is the surest, group 2 is a picture alone."""
    cluster = np.repeat(np.arange(4), SIZES).tolist()
    names = [f"picture_{row:02d}.jpg" for row in range(len(cluster))]
    columns = {
        "image": [*names, "nobody.jpg"],
        "instance": [0] * (len(cluster) + 1),
        "status": ["ok"] * 8 + ["low_information"] + ["ok"] * 6 + ["no_detection"],
        "cluster": [*cluster, None],
        "cluster_size": [*(SIZES[number] for number in cluster), None],
        "log_bayes_factor": [*(10 * np.array(PROBABILITIES)).tolist(), None],
        "margin": [*(np.array(PROBABILITIES) - 0.5).tolist(), None],
        "probability": [*PROBABILITIES, None],
        "detail": [None] * len(cluster) + ["nobody was found"],
    }
    return pa.table(columns, schema=COLUMNS)


def test_the_surest_group_comes_first_and_its_surest_picture() -> None:
    groups = groups_by_certainty(clustered())
    assert [group.number for group in groups] == [1, 0, 3], "a picture alone is no group"
    assert groups[0].rows.tolist() == [11, 10, 9]
    assert groups[0].belonging == pytest.approx(0.95 + 0.97 + 0.99)
    assert groups[0].certainty > groups[1].certainty > groups[2].certainty
    assert group_words(groups[2]) == "2 pictures, hardly any belongs"


def test_what_a_picture_is_to_its_group() -> None:
    kinds = memberships(clustered()).tolist()
    assert kinds[0] == Membership.BELONGS
    assert kinds[1] == Membership.DOUBTFUL
    assert kinds[8] == Membership.TOO_LITTLE
    assert kinds[12] == Membership.ALONE
    assert kinds[15] == Membership.DETECTOR_UNSURE


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_groups_are_tabs_with_examples(anny: BodyModel, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    rows = clustered()
    keypoints = slice_table(read_keypoints([DEMO / "dataset.parquet"]), 0, len(rows))
    alike = np.arange(len(rows))
    alike[1] = 0  # the second picture of group 0 is a twin of the first, and so no example
    page = tmp_path / "clusters.html"
    make_cluster_report(ClusterInputs(rows, keypoints, anny, [None] * len(rows), alike, "clusters.csv"), page)
    said, asked = [], []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1300, "height": 1600}, accept_downloads=True)
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-ready] .card")
        assert tab.locator("#tabs button").all_inner_texts() == ["all clusters", "cluster 1", "cluster 0", "cluster 3"]
        lines = tab.locator(".group-line")
        assert [lines.nth(place).locator("canvas").count() for place in range(3)] == [3, EXAMPLES, 2]
        assert lines.nth(1).locator("canvas").nth(1).get_attribute("data-row") == "2"
        lines.nth(1).click()
        tab.wait_for_selector("#groups", state="hidden")
        assert tab.inner_text("#headline") == "cluster 0"
        assert tab.inner_text("#count-shown").startswith("9 pictures")
        tab.locator(".card").first.click()
        assert tab.inner_text("[data-part=verdict]") == "too little information"
        tab.keyboard.press("ArrowRight")
        assert "cluster 0 with probability" in tab.inner_text("[data-part=sentence]")
        tab.keyboard.press("x")
        tab.keyboard.press("Escape")
        tab.click("#save-button")
        with tab.expect_download() as download:
            tab.click("#download")
        with open(download.value.path(), newline="") as stream:
            saved = list(csv.DictReader(stream))
        assert {row["cluster"] for row in saved} == {"cluster 0"}
        assert [row["mark"] for row in saved].count("drop") == 1
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("blob:", "data:"))] == [page.as_uri()]
