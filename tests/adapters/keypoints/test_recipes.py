"""Every recipe of docs/keypoint-files.md is run: its Python with what the program returns, then its command."""

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from adapters.commands.cli import samebody
from adapters.keypoints.readers import read_keypoints
from benchmarks.keypoint_forms import FORMS, People, make_people
from engine.body.schemas import COCO_17, find_schema
from tests.places import DEMO, ROOT

PAGE = (ROOT / "docs" / "keypoint-files.md").read_text()
RECIPES = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
FILES = {
    "MMPose": ("MMPose 1.x, a video", "predictions.json"),
    "Sapiens": ("Sapiens", "sapiens.json"),
    "COCO results": ("COCO results", "results.json"),
    "COCO datasets": ("COCO dataset", "person_keypoints.json"),
    "OpenPose": ("OpenPose BODY_25", "out/anna_000000000000_keypoints.json"),
    "ComfyUI": ("POSE_KEYPOINT", "pose_keypoint.json"),
    "YOLO labels": ("YOLO labels", "labels/anna.txt"),
    "OpenPifPaf": ("OpenPifPaf", "anna.jpg.predictions.json"),
    "easy_ViTPose": ("easy_ViTPose", "anna_result.json"),
    "AlphaPose": ("AlphaPose Halpe-136", "alphapose-results.json"),
    "AlphaPose open and cmu": ("AlphaPose cmu", "alphapose-cmu.json"),
    "Pose transfer": ("Pose-transfer CSV", "annotations.csv"),
    "CSV": ("CSV, wide", "keypoints.csv"),
}
"""Recipes whose program writes the file itself: the form, and how the recipe calls the file."""


def _people(schema_name: str) -> People:
    """The demo's first references in that schema, so that what is written is plausible; what they lack is not seen."""
    demo = read_keypoints([DEMO / "references.parquet"])
    schema = find_schema(schema_name)
    keypoints = np.zeros((3, len(schema), 2), np.float32)
    scores = np.zeros((3, len(schema)), np.float32)
    for name, column in zip(COCO_17.keypoint_names, schema.columns_of(COCO_17.keypoint_names), strict=True):
        k = COCO_17.keypoint_names.index(name)
        if column >= 0:
            keypoints[:, column], scores[:, column] = demo.keypoints[:3, k], demo.confidence[:3, k]
    return People(keypoints, scores)


def _returned() -> dict[str, dict[str, Any]]:
    """What programs return, by the names that the recipes use."""
    people, blaze = _people("coco17"), _people("blazepose33")
    triples = np.array([people.triples(row) for row in range(3)])
    instance = {"keypoints": people.pairs(0), "keypoint_scores": people.scores[0].tolist()}
    ultralytics = next(form for form in FORMS if form.name == "Ultralytics to_json")
    text = ultralytics.write(people, COCO_17).decode()
    width_height = np.array([2048, 1024])
    landmarks = [
        [
            SimpleNamespace(x=float(x), y=float(y), z=0.0, visibility=float(score))
            for (x, y), score in zip(blaze.keypoints[row] / width_height, blaze.scores[row], strict=True)
        ]
        for row in range(3)
    ]
    output = {"keypoints": triples, "keypoints_scores": people.scores / 0.15, "scores": np.ones(3)}
    shares = SimpleNamespace(pred_keypoints=triples / [1, 1, 6])
    return {
        "MMPose": {"pictures": [0, 1], "inferencer": lambda picture: iter([{"predictions": [[instance]]}])},
        "MMPose 0.x": {"pose_results": [{"keypoints": points, "bbox": np.ones(5)} for points in triples]},
        "Ultralytics": {"results": [SimpleNamespace(path="anna.jpg", to_json=lambda: text)]},
        "rtmlib": {"body": lambda picture: (people.keypoints, people.scores), "picture": None},
        "MediaPipe": {"result": SimpleNamespace(pose_landmarks=landmarks)},
        "torchvision": {"model": lambda pictures: [output], "picture": None},
        "Detectron2": {"predictor": lambda picture: {"instances": shares}, "picture": None},
        "NumPy": {"points": people.keypoints, "confidences": people.scores},
    }


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("shape") / "shape.npz"
    arguments = ["fit", str(DEMO / "references.parquet"), "--pose", "rest", "--out", str(path)]
    assert CliRunner().invoke(samebody, arguments).exit_code == 0
    return path.read_bytes()


def test_every_recipe_is_run_and_every_form_has_one() -> None:
    assert set(RECIPES) == set(FILES) | set(_returned())
    linked = set(re.findall(r"\| \[(.+?)\]\(#", PAGE))
    assert linked == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_gives_scores(name: str, shape: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shape.npz").write_bytes(shape)
    if name in FILES:
        form = next(form for form in FORMS if form.name == FILES[name][0])
        path = tmp_path / FILES[name][1]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(form.write(_people(form.schema.name), form.schema))
    namespace = dict(_returned().get(name, {}))
    for code in re.findall(r"```python\n(.*?)```", RECIPES[name], re.DOTALL):
        exec(code, namespace)
    commands = re.findall(r"```sh\n(.*?)\n```", RECIPES[name], re.DOTALL)
    assert commands
    for command in commands:
        arguments = shlex.split(command)
        assert arguments[0] == "samebody"
        result = CliRunner().invoke(samebody, arguments[1:])
        assert result.exit_code == 0, result.output + str(result.exception)
        lines = (tmp_path / "scores.csv").read_text().splitlines()
        statuses = [line.split(",")[2].strip('"') for line in lines[1:]]
        assert statuses
        assert set(statuses) == {"ok"}


def test_samples_are_json_where_they_say_so() -> None:
    for form in FORMS:
        if form.suffix == ".json":
            json.loads(form.write(make_people(1, form.schema), form.schema))
