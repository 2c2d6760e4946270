"""The real smplx library as the oracle of our body, and live models as a source of bodies.

Two peculiarities of smplx 0.1.28 set the tolerances in float64. It rounds the arrays that it reads to float32, so the
samples hold float32 numbers. And it adds 1e-8 to rotation vectors before it takes their length, which turns bodies of
our size by up to 2e-8 m: exact comparisons hand it rotation matrices, made by scipy.
"""

import contextlib
import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from scipy.spatial.transform import Rotation

from adapters.bodies.smpl_files import JOINT_KEYPOINTS, SmplFileError, load_smpl_file
from adapters.bodies.smplx_export import export_live_model
from engine.body.model import BodyModel, PosedBody, pose_body
from tests.smpl_samples import SAMPLE_KEYPOINTS, random_pose, sample_model, write_chumpy_pkl, write_pkl

torch = pytest.importorskip("torch", reason="needs the extra smplx")
smplx = pytest.importorskip("smplx", reason="needs the extra smplx")

FLOAT32_TOLERANCE_M = 1e-5
FLOAT64_TOLERANCE_M = 1e-9
SMPLX_ROTATION_VECTOR_ERROR_M = 1e-7
TRANSL = np.array([0.3, -0.2, 2.0])


def _model(data: dict[str, np.ndarray], dtype: type, layer: bool = False, **options: Any) -> Any:
    from smplx.utils import Struct

    cls = smplx.SMPLLayer if layer else smplx.SMPL
    picks = dict.fromkeys(("nose", "reye", "leye", "rear", "lear"), 0)
    with contextlib.redirect_stdout(io.StringIO()):  # smplx prints its warnings
        return cls(
            "",
            data_struct=Struct(**data),
            vertex_ids=picks,
            use_hands=False,
            use_feet_keypoints=False,
            dtype=torch.float64 if dtype == np.float64 else torch.float32,
            **options,
        )


def _forward(model: Any, betas: np.ndarray, poses: np.ndarray, matrices: bool) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints that smplx gives for a batch of shapes and poses."""
    count = len(poses)
    rotations = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(count, 24, 3, 3) if matrices else poses

    def tensor(array: np.ndarray) -> Any:
        return torch.tensor(array, dtype=model.dtype)

    with torch.no_grad():
        output = model(
            betas=tensor(betas),
            global_orient=tensor(rotations[:, :1] if matrices else rotations[:, 0]),
            body_pose=tensor(rotations[:, 1:] if matrices else rotations[:, 1:].reshape(count, -1)),
            transl=tensor(np.tile(TRANSL, (count, 1))),
            pose2rot=not matrices,
        )
    return output.vertices.numpy(), output.joints[:, :24].numpy()


@jax.jit
def _pose_all(body: BodyModel, betas: Array, poses: Array, transl: Array) -> PosedBody:
    return jax.vmap(lambda one_betas, one_pose: pose_body(body, one_betas, one_pose, transl))(betas, poses)


def assert_same(
    body: BodyModel, betas: np.ndarray, poses: np.ndarray, expected: tuple[np.ndarray, np.ndarray], tolerance_m: float
) -> None:
    dtype = body.v_template.dtype
    posed = _pose_all(body, jnp.asarray(betas, dtype), jnp.asarray(poses, dtype), jnp.asarray(TRANSL, dtype))
    assert posed.vertices.dtype == expected[0].dtype
    np.testing.assert_allclose(posed.vertices, expected[0], rtol=0, atol=tolerance_m)
    np.testing.assert_allclose(posed.joints, expected[1], rtol=0, atol=tolerance_m)


def _betas(count: int, beta_count: int = 10) -> np.ndarray:
    return np.random.default_rng(count).normal(0.0, 2.0, (count, beta_count))


def _poses(angles: np.ndarray) -> np.ndarray:
    return np.stack([random_pose(seed, angle) for seed, angle in enumerate(angles)])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("dtype", "matrices", "tolerance_m"),
    [
        (np.float32, False, FLOAT32_TOLERANCE_M),
        (np.float64, True, FLOAT64_TOLERANCE_M),
        (np.float64, False, SMPLX_ROTATION_VECTOR_ERROR_M),
    ],
    ids=["float32", "float64", "float64-smplx-rotations"],
)
def test_every_vertex_and_joint_is_where_smplx_has_it(tmp_path, seed, dtype, matrices, tolerance_m):
    data = sample_model(seed, vertex_count=500)
    assert data["posedirs"].any()
    betas, poses = _betas(32), _poses(np.full(32, 1.0))
    expected = _forward(_model(data, dtype, layer=matrices), betas, poses, matrices)
    with jax.enable_x64(dtype == np.float64):
        body = load_smpl_file(write_chumpy_pkl(tmp_path / "SMPL_NEUTRAL.pkl", data), "neutral")
        assert_same(body, betas, poses, expected, tolerance_m)


def test_poses_from_none_to_several_turns():
    layer = _model(sample_model(7), np.float64, layer=True)
    poses = _poses(np.array([0.0, 1e-8, 1e-4, 0.03, 0.3, 3.0, 10.0]))
    betas = _betas(len(poses))
    betas[-1] = 0
    with jax.enable_x64(True):
        body = export_live_model(layer)
        assert_same(body, betas, poses, _forward(layer, betas, poses, True), FLOAT64_TOLERANCE_M)


@pytest.mark.parametrize("count", [10, 40, 300])
def test_any_number_of_shape_components(count):
    layer = _model(sample_model(9, beta_count=300), np.float64, layer=True, num_betas=count)
    betas, poses = 0.2 * _betas(2, count), _poses(np.ones(2))
    with jax.enable_x64(True):
        body = export_live_model(layer)
        assert body.beta_count == count
        assert_same(body, betas, poses, _forward(layer, betas, poses, True), FLOAT64_TOLERANCE_M)


def test_smplx_reads_the_sample_files_as_we_do(tmp_path):
    path = write_pkl(tmp_path / "SMPL_MALE.pkl", sample_model())
    with contextlib.redirect_stdout(io.StringIO()):
        model = smplx.SMPL(
            str(tmp_path), gender="male", vertex_ids=dict.fromkeys(("nose", "reye", "leye", "rear", "lear"), 0),
            use_hands=False, use_feet_keypoints=False,
        )  # fmt: skip
    live, read = export_live_model(model), load_smpl_file(path, "male")
    assert live.fingerprint == read.fingerprint
    assert live.name == read.name == "SMPL male"


def test_smplx_rotation_vectors_are_inexact_as_this_module_says():
    from smplx.lbs import batch_rodrigues

    vectors = random_pose(0)
    error = np.abs(batch_rodrigues(torch.tensor(vectors)).numpy() - Rotation.from_rotvec(vectors).as_matrix()).max()
    assert FLOAT64_TOLERANCE_M < error < SMPLX_ROTATION_VECTOR_ERROR_M


def test_a_live_model_of_another_kind_is_named():
    data = sample_model()
    model = _model(data, np.float32)
    model.parents = torch.arange(55) - 1
    with pytest.raises(SmplFileError, match=r"the SMPL model holds SMPL-X \(55 joints\), not SMPL"):
        export_live_model(model)
    with pytest.raises(ValueError, match=r"dict is no smplx model .*make one with smplx\.SMPL"):
        export_live_model({})


def test_a_live_model_takes_a_table_of_keypoints():
    body = export_live_model(_model(sample_model(), np.float32), SAMPLE_KEYPOINTS)
    assert body.keypoint_names == tuple(SAMPLE_KEYPOINTS)
    assert export_live_model(_model(sample_model(), np.float32)).keypoint_names == tuple(JOINT_KEYPOINTS)
