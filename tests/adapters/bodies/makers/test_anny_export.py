"""The maker of the embedded body, with a small model in anny's place: a cloud of points around each joint."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from adapters.bodies.makers import anny_export
from adapters.bodies.makers.anny_sampling import PARENTS, AnnyBodies, BodyParameters, Population
from engine.body.body_file import load_body, read_header
from engine.body.embedded import load_embedded_body
from engine.body.model import BodyModel
from engine.body.schema_tables import HALPE_26, SMPL_24

_POINTS = 12
_CHANGES = 26
_FLIP = np.array([-1.0, 1.0, 1.0])


class CloudModel:
    """The part of ``AnnyModel`` that the maker uses."""

    version = "none"

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        embedded = load_embedded_body()
        places = np.asarray(embedded.J_regressor) @ np.asarray(embedded.v_template)
        clouds = np.zeros((len(SMPL_24), _POINTS, 3))
        for joint, name in enumerate(SMPL_24):
            offsets = draw.uniform(-0.06, 0.06, (_POINTS, 3))
            if name.startswith("left_"):
                clouds[joint] = places[joint] + offsets
                clouds[SMPL_24.index(f"right_{name[5:]}")] = clouds[joint] * _FLIP
            elif not name.startswith("right_"):
                half = np.abs(offsets[: _POINTS // 2]) * [1, 0, 0] + places[joint] * [0, 1, 1]
                half += offsets[: _POINTS // 2] * [0, 1, 1]
                clouds[joint] = np.concatenate([half, half * _FLIP])
        self.template = clouds.reshape(-1, 3)
        self.faces = np.arange(len(self.template), dtype=np.int32).reshape(-1, 3)
        waves = draw.uniform(1, 8, (_CHANGES, 2))
        swell = 0.03 * np.cos(self.template[:, 1:] @ waves.T)
        axes = np.eye(3)[np.arange(_CHANGES) % 3]
        sides = np.where(axes[:, 0] > 0, np.sign(self.template[:, :1]), 1.0)
        self._changes = (swell * sides)[..., None] * axes

    def sample(self, population: Population, count: int, seed: int) -> BodyParameters:
        draw = np.random.default_rng([seed, int(population.age_years[0])])
        return BodyParameters(draw.normal(size=(count, _CHANGES)), np.zeros((count, 0)))

    def t_pose(self, parameters: BodyParameters) -> AnnyBodies:
        vertices = self.template + np.einsum("bk,vkc->bvc", parameters.phenotypes, self._changes)
        joints = vertices.reshape(len(parameters), len(SMPL_24), _POINTS, 3).mean(axis=2)
        return AnnyBodies(vertices - joints[:, :1], joints - joints[:, :1])

    def posed(self, parameters: BodyParameters, poses: np.ndarray) -> AnnyBodies:
        assert poses.shape == (len(parameters), len(SMPL_24), 3)
        return self.t_pose(parameters)

    def skinning_weights(self) -> np.ndarray:
        return np.repeat(np.eye(len(SMPL_24)), _POINTS, axis=0)

    def keypoint_weights(self) -> tuple[tuple[str, ...], np.ndarray]:
        labels = tuple(name for name in HALPE_26 if name not in ("head", "neck", "hip"))
        nearest = {"knee": "knee", "ankle": "ankle", "hip": "hip", "wrist": "wrist", "elbow": "elbow"}
        nearest |= {"shoulder": "shoulder", "big_toe": "foot", "small_toe": "foot", "heel": "ankle"}
        weights = np.zeros((len(labels), len(self.template)))
        for row, label in enumerate(labels):
            side, _, part = label.partition("_")
            joint = SMPL_24.index(f"{side}_{nearest[part]}" if part in nearest else "head")
            weights[row, joint * _POINTS : (joint + 1) * _POINTS] = 1 / _POINTS
        return labels, weights


def _made(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[BodyModel, dict]:
    monkeypatch.setattr(anny_export, "AnnyModel", CloudModel)
    monkeypatch.setattr(anny_export, "BODIES", 60)
    monkeypatch.setattr(anny_export, "REGRESSOR_BODIES", 20)
    # Figures are measured on the mesh of an adult and on children, which these clouds are not.
    monkeypatch.setattr(anny_export, "measure", lambda *_: {})
    monkeypatch.setattr(anny_export, "print_figures", lambda _: None)
    out = folder / "made.npz"
    result = CliRunner().invoke(anny_export.main, ["--out", str(out), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return load_body(out), json.loads(read_header(out)["details"])


def test_a_seed_gives_the_same_body_again_and_another_seed_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, details = _made(tmp_path, monkeypatch, "--seed", "3")
    again, _ = _made(tmp_path, monkeypatch, "--seed", "3")
    other, other_details = _made(tmp_path, monkeypatch, "--seed", "4", "--components", "20")
    assert (details["seed"], other_details["seed"]) == (3, 4)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert (first.beta_count, other.beta_count) == (16, 20)
    assert first.parents == PARENTS
    assert np.abs(np.asarray(first.v_template - other.v_template)).max() > 1e-3
    assert not np.allclose(first.shapedirs[..., 0], other.shapedirs[..., 0], atol=1e-3)


def test_joints_and_keypoints_are_those_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, _ = _made(tmp_path, monkeypatch)
    model = CloudModel()
    truth = model.t_pose(model.sample(Population((18.0, 80.0)), 5, 77))
    found = np.einsum("jv,bvc->bjc", np.asarray(body.J_regressor), truth.vertices)
    assert np.linalg.norm(found - truth.joints, axis=-1).mean() < 2e-3
    labels, dense = model.keypoint_weights()
    knee = body.keypoint_names.index("left_knee")
    expected = np.einsum("v,bvc->bc", dense[labels.index("left_knee")], truth.vertices)
    regressed = np.einsum("v,bvc->bc", np.asarray(body.keypoint_vertices)[knee], truth.vertices)
    assert np.linalg.norm(regressed - expected, axis=-1).mean() < 2e-3
