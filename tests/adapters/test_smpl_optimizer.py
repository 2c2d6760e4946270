"""The names that a host calls, with everything that a host may hand over."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import smplx
import torch

from adapters.bodies.smpl_files import SmplFileError
from adapters.bodies.smplx_export import export_live_model
from adapters.jobs import prepared
from adapters.smpl_optimizer import SMPLOptimizer, compute_fitting_consistency, optimize_shared_beta
from engine.body.model import BodyModel, pose_body
from engine.body.schemas import COCO_17
from engine.picture.cameras import WeakPerspective
from engine.rest.fit import fit_rest_shape
from engine.rest.scoring import score_rest_pictures
from tests.smpl_samples import sample_model, write_pkl

BETAS = np.linspace(1.5, -1.5, 10, dtype=np.float32)


@pytest.fixture(scope="module")
def pictures(t_pose_pictures) -> tuple[np.ndarray, np.ndarray]:
    return t_pose_pictures(BETAS, 4)


def person(pictures: tuple[np.ndarray, np.ndarray], i: int) -> dict[str, np.ndarray]:
    return {"keypoints": pictures[0][i], "confidence": pictures[1][i]}


def test_rest_mode_is_the_engine_s_rest_mode(anny: BodyModel, coco_body, pictures) -> None:
    beta = optimize_shared_beta([person(pictures, i) for i in range(3)], anny, mode="rest")
    assert beta.dtype == np.float32
    np.testing.assert_array_equal(beta, fit_rest_shape(coco_body, pictures[0][:3], pictures[1][:3]).betas)
    consistency = compute_fitting_consistency(person(pictures, 3), beta, anny, mode="rest")
    (expected,) = score_rest_pictures(coco_body, beta, pictures[0][3:], pictures[1][3:]).consistency
    assert consistency == float(expected)


def _sample(keypoints: np.ndarray, scores: np.ndarray) -> SimpleNamespace:
    """Like MMPose's PoseDataSample."""
    return SimpleNamespace(pred_instances=SimpleNamespace(keypoints=keypoints[None], keypoint_scores=scores[None]))


FORMS = {
    "lists": lambda k, c: {"keypoints": k.tolist(), "confidence": c.tolist()},
    "torch": lambda k, c: {"keypoints": torch.tensor(k), "confidence": torch.tensor(c, requires_grad=True)},
    "mmpose": lambda k, c: {"keypoints": k, "keypoint_scores": c, "bbox": [[0, 0, 1, 1]]},
    "inferencer": lambda k, c: {"predictions": [[{"keypoints": k.tolist(), "keypoint_scores": c.tolist()}]]},
    "topdown": lambda k, c: [
        SimpleNamespace(pred_instances=SimpleNamespace(keypoints=k[None], keypoint_scores=c[None]))
    ],
    "triples": lambda k, c: np.concatenate([k, c[:, None]], axis=1),
    "triples in lists": lambda k, c: np.concatenate([k, c[:, None]], axis=1).tolist(),
    "triples by name": lambda k, c: {"keypoints": np.concatenate([k, c[:, None]], axis=1)},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_keypoints_means_the_same(anny: BodyModel, pictures, form: str) -> None:
    plain, formed = person(pictures, 0), FORMS[form](pictures[0][0], pictures[1][0])
    beta = optimize_shared_beta([plain], anny, mode="rest")
    np.testing.assert_array_equal(optimize_shared_beta([formed], anny, mode="rest"), beta)
    expected = compute_fitting_consistency(plain, beta, anny, mode="rest")
    for same_beta in (beta.tolist(), torch.tensor(beta)[None], beta.astype(np.float64)):
        assert compute_fitting_consistency(formed, same_beta, anny, mode="rest") == expected


def test_several_people_are_scored_by_their_mean(anny: BodyModel, pictures) -> None:
    beta = optimize_shared_beta([person(pictures, 0)], anny, mode="rest")
    alone = [compute_fitting_consistency(person(pictures, i), beta, anny, mode="rest") for i in (1, 2)]
    together = compute_fitting_consistency([person(pictures, 1), person(pictures, 2)], beta, anny, mode="rest")
    assert together == pytest.approx(np.mean(alone), abs=1e-7)


def test_a_live_smplx_model_is_its_body(pictures, tmp_path: Path) -> None:
    path = write_pkl(tmp_path / "SMPL_NEUTRAL.pkl", sample_model())
    model = smplx.SMPL(str(path), num_betas=10, batch_size=1, vertex_ids=dict.fromkeys(_face_picks(), 0))
    body = export_live_model(model)
    # Without its keypoints of the face: those of this little mesh are nowhere.
    beta = optimize_shared_beta([person(pictures, 0)], model, mode="rest")
    np.testing.assert_array_equal(beta, optimize_shared_beta([person(pictures, 0)], body, mode="rest"))
    with torch.no_grad():
        model.shapedirs *= 2
    changed = optimize_shared_beta([person(pictures, 0)], model, mode="rest")
    assert not np.array_equal(changed, beta)


def _face_picks() -> list[str]:
    from smplx.vertex_ids import vertex_ids

    return list(vertex_ids["smplh"])


def test_what_is_made_for_a_body_is_made_once(anny: BodyModel, coco_body, monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(prepared, "reduce_body", lambda *_: calls.append(1) or coco_body)
    renamed = eqx.tree_at(lambda b: b.v_template, anny, anny.v_template, is_leaf=None)
    prepared._prepared.cache_clear()
    found = []
    threads = [threading.Thread(target=lambda: found.append(prepared.prepare(renamed, COCO_17))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert all(each is found[0] for each in found)
    prepared._prepared.cache_clear()


def test_more_shape_components_than_ten_are_cut(pictures) -> None:
    from engine.body.embedded import load_embedded_body

    beta = optimize_shared_beta([person(pictures, 0)], load_embedded_body(16), mode="rest")
    np.testing.assert_array_equal(
        beta, optimize_shared_beta([person(pictures, 0)], load_embedded_body(10), mode="rest")
    )


def test_mistakes_say_what_to_do(anny: BodyModel, pictures) -> None:
    good = person(pictures, 0)
    beta = optimize_shared_beta([good], anny, mode="rest")
    with pytest.raises(ValueError, match=r"reference 1: keypoints have shape \(17, 2\) and confidence \(16,\)"):
        optimize_shared_beta([good, {**good, "confidence": good["confidence"][:16]}], anny, mode="rest")
    with pytest.raises(ValueError, match="reference 1: 16 keypoints, expected 17"):
        optimize_shared_beta([good, {name: v[:16] for name, v in good.items()}], anny, mode="rest")
    with pytest.raises(ValueError, match="reference 0 shows several people"):
        optimize_shared_beta([[good, good]], anny, mode="rest")
    with pytest.raises(ValueError, match="nothing to fit"):
        optimize_shared_beta([], anny, mode="rest")
    with pytest.raises(ValueError, match="too_few_keypoints"):
        compute_fitting_consistency({**good, "confidence": np.zeros(17)}, beta, anny, mode="rest")
    with pytest.raises(ValueError, match="no_detection"):
        compute_fitting_consistency(None, beta, anny, mode="rest")
    with pytest.raises(ValueError, match=r"shape \(9,\)"):
        compute_fitting_consistency(good, beta[:9], anny, mode="rest")
    with pytest.raises(ValueError, match="NaN"):
        compute_fitting_consistency(good, np.full(10, np.nan), anny, mode="rest")
    with pytest.raises(ValueError, match="smpl_model is str"):
        optimize_shared_beta([good], "models/smpl", mode="rest")
    with pytest.raises(SmplFileError, match="SMPL-X"):
        optimize_shared_beta([good], _OtherModel(), mode="rest")


class _OtherModel(torch.nn.Module):
    """Looks like an SMPL-X model: 55 joints."""

    def __init__(self) -> None:
        super().__init__()
        self.v_template = torch.zeros(4, 3)
        self.shapedirs = torch.zeros(4, 3, 10)
        self.posedirs = torch.zeros(54 * 9, 12)
        self.J_regressor = torch.zeros(55, 4)
        self.lbs_weights = torch.zeros(4, 55)
        self.faces_tensor = torch.zeros(1, 3, dtype=torch.int64)
        self.parents = torch.arange(-1, 54)
        self.gender = "neutral"


class TestSMPLOptimizer:
    def test_joints_are_those_of_the_body(self, anny: BodyModel) -> None:
        posed = pose_body(anny, jnp.asarray(BETAS), jnp.zeros((24, 3)))
        optimizer = SMPLOptimizer(anny)
        joints = optimizer.vertices_to_joints(posed.vertices)
        np.testing.assert_allclose(joints, posed.joints, atol=1e-5)
        both = optimizer.vertices_to_joints(torch.tensor(np.stack([posed.vertices] * 2)))
        np.testing.assert_array_equal(both[1], joints)
        with pytest.raises(ValueError, match="13718, 3"):
            optimizer.vertices_to_joints(np.zeros((6890, 3)))

    def test_own_regressors_sparse_ones_too(self, anny: BodyModel) -> None:
        from scipy.sparse import csr_matrix

        regressor = np.zeros((2, 13718), np.float32)
        regressor[0, 5] = regressor[1, 7] = 1
        vertices = np.random.default_rng(0).normal(size=(13718, 3)).astype(np.float32)
        for given in (regressor, csr_matrix(regressor), torch.tensor(regressor)):
            np.testing.assert_array_equal(SMPLOptimizer(anny, given).vertices_to_joints(vertices), vertices[[5, 7]])
        with pytest.raises(ValueError, match=r"expected \(joints, 13718\)"):
            SMPLOptimizer(anny, regressor[:, :6890])

    @pytest.mark.parametrize(
        "camera",
        [
            (200.0, 300.0, 400.0),
            torch.tensor([200.0, 300.0, 400.0]),
            {"scale": 200.0, "translation": [300.0, 400.0]},
            WeakPerspective(jnp.asarray(200.0), jnp.asarray([300.0, 400.0])),
        ],
    )
    def test_the_camera_looks_from_the_front(self, anny: BodyModel, camera: Any) -> None:
        """x to the subject's left is to the right in the picture, up is up, depth does not show."""
        points = np.array([[0, 0, 0], [1, 0, 5], [0, 0.5, -5]], np.float32)
        seen = SMPLOptimizer(anny).project_to_2d(points, camera)
        np.testing.assert_allclose(seen, [[300, 400], [500, 400], [300, 300]], rtol=1e-6)

    def test_each_picture_may_have_its_own_camera(self, anny: BodyModel) -> None:
        points = np.random.default_rng(0).normal(size=(2, 5, 3))
        cameras = np.array([[100.0, 1.0, 2.0], [300.0, 3.0, 4.0]])
        optimizer = SMPLOptimizer(anny)
        seen = optimizer.project_to_2d(points, cameras)
        for i in (0, 1):
            np.testing.assert_array_equal(seen[i], optimizer.project_to_2d(points[i], cameras[i]))
        with pytest.raises(ValueError, match="camera"):
            optimizer.project_to_2d(points, np.zeros(4))
        with pytest.raises(ValueError, match="joints_3d"):
            optimizer.project_to_2d(np.zeros((5, 2)), cameras[0])
