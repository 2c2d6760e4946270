"""The small host in ``host_app``, from references to scores and through a restart; and the guide that shows it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.synthetic import SyntheticSettings, make_pictures, sampled_poses
from engine.body.pose_prior import load_pose_prior
from tests.database_servers import database_url, postgresql  # noqa: F401

HOST = Path(__file__).parent / "host_app"
GUIDE = Path(__file__).parents[1] / "docs" / "host-guide.md"

# Everything below happens in a process of its own, as the host's modules import each other by their bare names.
_REQUESTS = """
import json, sys, warnings
sys.path.insert(0, sys.argv[1])
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the embedded body says that it is not SMPL
    import main
from fastapi.testclient import TestClient
answers = []
with TestClient(main.app) as client:
    for method, path, body in json.loads(sys.argv[2]):
        answer = client.request(method, path, json=body)
        answers.append([answer.status_code, answer.json()])
print(json.dumps(answers))
"""

Ask = Callable[..., list[tuple[int, Any]]]


@pytest.fixture
def ask(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Ask:  # noqa: F811
    """Starts the host in a fresh process, sends requests one after the other, stops it."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    # The second process finds what the first has compiled.
    monkeypatch.setenv("SAMEBODY_CACHE", str(tmp_path / "compiled"))

    def send(*requests: tuple[str, str, Any], mode: str = "rest") -> list[tuple[int, Any]]:
        monkeypatch.setenv("POSE_MODE", mode)
        process = subprocess.run(
            [sys.executable, "-c", _REQUESTS, str(HOST), json.dumps(requests)],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        return [tuple(answer) for answer in json.loads(process.stdout)]

    return send


def write_pictures(folder: Path, keypoints: np.ndarray, confidence: np.ndarray) -> list[str]:
    """Predictions beside pictures that nobody opens."""
    paths = []
    for i, (own, weights) in enumerate(zip(keypoints, confidence, strict=True)):
        person = {"keypoints": own.tolist(), "keypoint_scores": weights.tolist()}
        (folder / f"{i}.json").write_text(json.dumps([person]))
        paths.append(f"{i}.jpg")
    return paths


@pytest.mark.slow
def test_references_scores_restart_same_scores(ask: Ask, tmp_path: Path, t_pose_pictures) -> None:
    paths = write_pictures(tmp_path, *t_pose_pictures(np.linspace(-1, 1, 10), 20))
    references = [{"file_path": paths[i], "image_type": kind} for i, kind in enumerate(["body_side", "body_front"])]
    (status, fitted), (_, counts), (_, first) = ask(
        ("POST", "/characters/anna/references", references),
        ("POST", "/characters/1/dataset", {"image_paths": paths}),
        ("GET", "/characters/1/scores", None),
    )
    assert (status, counts) == (200, {"ok": 20})
    assert len(fitted["betas"]) == 10
    assert sorted(first) == sorted(paths)
    # Another process finds β and scores; scoring again changes no bit, neither through the batch nor one by one.
    (_, found), (_, again), (_, second), (_, single) = ask(
        ("GET", "/characters/1/scores", None),
        ("POST", "/characters/1/dataset", {"image_paths": paths}),
        ("GET", "/characters/1/scores", None),
        ("GET", f"/characters/1/analysis?image_path={paths[3]}", None),
    )
    assert again == counts
    assert first == found == second
    assert single["consistency_3d"] == first[paths[3]]
    # New references: the old β is gone with the old ones.
    (_, other), (_, rescored), (_, missing) = ask(
        ("POST", "/characters/anna/references", [{"file_path": paths[5], "image_type": "body_front"}]),
        ("GET", f"/characters/1/analysis?image_path={paths[5]}", None),
        ("GET", f"/characters/2/analysis?image_path={paths[5]}", None),
    )
    assert other["betas"] != fitted["betas"]
    assert rescored["consistency_3d"] != first[paths[5]]
    assert missing["consistency_3d"] is None
    assert "set reference images" in missing["reason"]
    assert missing["ratios"] == rescored["ratios"]


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_guide_s_scenario_in_free_pose(ask: Ask, tmp_path: Path, coco_body) -> None:
    """One reference, the same picture in the data set: at least 0.99, and the same bits after a restart."""
    settings = SyntheticSettings(people=12, pictures=1, noise_level=0.002, beta_deviation=1.5)
    drawn = make_pictures(coco_body, sampled_poses(load_pose_prior(), 40), settings)
    paths = write_pictures(tmp_path, drawn.keypoints_px[:, 0], drawn.confidence[:, 0])
    *_, (_, first) = ask(
        ("POST", "/characters/anna/references", [{"file_path": paths[0], "image_type": "body_front"}]),
        ("POST", "/characters/1/dataset", {"image_paths": paths}),
        ("GET", "/characters/1/scores", None),
        mode="free",
    )
    assert first[paths[0]] >= 0.99
    assert np.median([first[path] for path in paths[1:]]) < 0.9
    *_, (_, again) = ask(
        ("POST", "/characters/1/dataset", {"image_paths": paths}),
        ("GET", "/characters/1/scores", None),
        mode="free",
    )
    assert again == first


def test_the_guide_shows_the_host_s_own_code() -> None:
    """Every block that the guide calls a file's new form is that file, which the tests above have run."""
    shown = re.findall(r"^```python title=(\w+\.py)\n(.*?)^```", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert {name for name, _ in shown} == {path.name for path in HOST.glob("*.py")}
    for name, block in shown:
        assert block.strip() in (HOST / name).read_text(), f"{name}:\n{block}"


def test_other_code_of_the_guide_is_python() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        compile(block, str(GUIDE), "exec")
