"""Official SMPL files: found by their names, read without running them, refused with advice when they are not SMPL."""

import pickle
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest

from adapters.bodies.smpl_files import (
    GENDERS,
    JOINT_KEYPOINTS,
    SMPL_KEYPOINTS,
    SMPL_VERTEX_COUNT,
    SmplFileError,
    find_smpl_file,
    load_smpl_file,
)
from engine.body.model import BodyModel
from engine.body.schema_tables import COCO_FEET, SMPL_24
from engine.body.schemas import BODY_25, COCO_17, HALPE_26, WHOLEBODY_133
from tests.smpl_samples import (
    PARENTS,
    SAMPLE_KEYPOINTS,
    python2_dumps,
    sample_model,
    write_chumpy_pkl,
    write_npz,
    write_pkl,
)

ADVICE = r"https://smpl\.is\.tue\.mpg\.de .*models/smpl/ .*--model-path"


def assert_body_is(body: BodyModel, model: dict[str, np.ndarray], dtype: type) -> None:
    for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights"):
        np.testing.assert_array_equal(getattr(body, name), model[name].astype(dtype), strict=True)
    np.testing.assert_array_equal(body.faces, model["f"])
    assert body.parents == PARENTS


@pytest.mark.parametrize(
    "write",
    [
        lambda path, model: write_npz(path.with_suffix(".npz"), model),
        write_pkl,
        lambda path, model: write_pkl(path, model, 5),
        lambda path, model: write_pkl(path, model, 2, python2_dumps),
        write_chumpy_pkl,
        lambda path, model: write_chumpy_pkl(path, model, 0, python2_dumps),
        lambda path, model: write_chumpy_pkl(path, model, 2, python2_dumps),
    ],
    ids=["npz", "pkl", "pkl-5", "python2", "chumpy", "chumpy-python2-text", "chumpy-python2"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_form_of_file_gives_the_same_body(tmp_path, write, dtype):
    model = sample_model()
    with jax.enable_x64(dtype == np.float64):
        body = load_smpl_file(write(tmp_path / "SMPL_NEUTRAL.pkl", model), "neutral", SAMPLE_KEYPOINTS)
    assert_body_is(body, model, dtype)
    assert body.name == "SMPL neutral"


def test_all_300_shape_components_are_read(tmp_path):
    model = sample_model(vertex_count=60, beta_count=300)
    assert load_smpl_file(write_pkl(tmp_path / "m.pkl", model), "male").beta_count == 300


def test_reading_needs_neither_scipy_nor_torch_nor_smplx_nor_pickle_loads(tmp_path):
    path = write_chumpy_pkl(tmp_path / "SMPL_MALE.pkl", sample_model())
    program = (
        "import sys, pickle\n"
        "for name in ('scipy', 'torch', 'smplx', 'chumpy'): sys.modules[name] = None\n"
        "from adapters.bodies.smpl_files import load_smpl_file\n"
        "pickle.load = pickle.loads = pickle.Unpickler = None\n"
        f"assert load_smpl_file({str(path)!r}, 'male').beta_count == 10\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_keypoints_of_the_smpl_mesh_are_where_smplx_has_them():
    vertex_ids = pytest.importorskip("smplx.vertex_ids", reason="needs the extra smplx").vertex_ids["smplh"]
    of_smplx = {
        "nose": "nose", "left_eye": "leye", "right_eye": "reye", "left_ear": "lear", "right_ear": "rear",
        "left_big_toe": "LBigToe", "left_small_toe": "LSmallToe", "left_heel": "LHeel",
        "right_big_toe": "RBigToe", "right_small_toe": "RSmallToe", "right_heel": "RHeel",
    }  # fmt: skip
    picks = {name: place for name, place in SMPL_KEYPOINTS.items() if isinstance(place, int)}
    assert picks.pop("head") == 411
    assert picks == {name: vertex_ids[key] for name, key in of_smplx.items()}


@pytest.mark.parametrize("schema", [COCO_17, HALPE_26, BODY_25], ids=lambda schema: schema.name)
def test_smpl_has_every_keypoint_of_the_body_schemas(schema):
    assert set(schema.keypoint_names) <= set(SMPL_KEYPOINTS)


def test_smpl_has_body_and_feet_of_wholebody():
    assert set(WHOLEBODY_133.subset([*COCO_17.keypoint_names, *COCO_FEET]).keypoint_names) <= set(SMPL_KEYPOINTS)


def test_keypoints_are_read_at_the_vertices_and_joints_that_the_table_names(tmp_path):
    body = load_smpl_file(write_pkl(tmp_path / "m.pkl", sample_model()), "neutral", SAMPLE_KEYPOINTS)
    rows = dict(zip(body.keypoint_names, np.c_[body.keypoint_vertices, body.keypoint_joints], strict=True))
    vertex_count = body.v_template.shape[0]

    def weights(places: dict[int, float]) -> np.ndarray:
        row = np.zeros(vertex_count + 24)
        row[list(places)] = list(places.values())
        return row

    def joint(name: str) -> int:
        return vertex_count + SMPL_24.index(name)

    np.testing.assert_array_equal(rows["nose"], weights({3: 1}))
    np.testing.assert_array_equal(rows["left_knee"], weights({joint("left_knee"): 1}))
    np.testing.assert_array_equal(rows["neck"], weights({joint("left_shoulder"): 0.5, joint("right_shoulder"): 0.5}))
    np.testing.assert_array_equal(rows["hip"], weights({joint("left_hip"): 0.5, joint("right_hip"): 0.5}))


def test_a_mesh_that_is_not_smpls_has_the_keypoints_made_of_joints(tmp_path):
    body = load_smpl_file(write_pkl(tmp_path / "m.pkl", sample_model()), "neutral")
    assert body.keypoint_names == tuple(JOINT_KEYPOINTS)


def test_the_mesh_of_smpl_has_all_keypoints(tmp_path):
    model = sample_model(vertex_count=SMPL_VERTEX_COUNT)
    body = load_smpl_file(write_npz(tmp_path / "m.npz", model), "neutral")
    assert set(body.keypoint_names) == set(SMPL_KEYPOINTS)
    assert body.keypoint_vertices[body.keypoint_names.index("head"), 411] == 1


def test_a_table_that_names_vertices_beyond_the_mesh_is_an_error(tmp_path):
    path = write_pkl(tmp_path / "m.pkl", sample_model())
    with pytest.raises(SmplFileError, match="300 vertices, but the keypoint nose is at vertex 332"):
        load_smpl_file(path, "neutral", SMPL_KEYPOINTS)


class TestFinding:
    @pytest.mark.parametrize("subfolder", ["", "smpl", "models", "smpl/models", "models/smpl"])
    @pytest.mark.parametrize(
        ("file_name", "gender"),
        [
            ("SMPL_NEUTRAL.pkl", "neutral"),
            ("SMPL_MALE.npz", "male"),
            ("SMPL_FEMALE.pkl", "female"),
            ("basicModel_neutral_lbs_10_207_0_v1.0.0.pkl", "neutral"),
            ("basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl", "neutral"),
            ("basicmodel_m_lbs_10_207_0_v1.1.0.pkl", "male"),
            ("basicModel_f_lbs_10_207_0_v1.0.0.pkl", "female"),
        ],
    )
    def test_by_official_name(self, tmp_path, subfolder, file_name, gender):
        path = tmp_path / subfolder / file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        (path.parent / "SMPLX_NEUTRAL.npz").touch()
        (path.parent / "basicmodel_notes.txt").touch()
        assert find_smpl_file(tmp_path, gender) == path
        for other in set(GENDERS) - {gender}:
            with pytest.raises(SmplFileError, match=f"only {gender}, {other} was asked for: expected SMPL_"):
                find_smpl_file(tmp_path, other)

    def test_the_highest_version_and_the_renamed_file_come_first(self, tmp_path):
        names = [
            "basicModel_m_lbs_10_207_0_v1.0.0.pkl",
            "basicmodel_m_lbs_10_207_0_v1.0.0.pkl",
            "basicmodel_m_lbs_10_207_0_v1.1.0.pkl",
            "SMPL_MALE.npz",
            "SMPL_MALE.pkl",
        ]
        for name in names:
            (tmp_path / name).touch()
            assert find_smpl_file(tmp_path, "male").name == name

    def test_a_file_is_itself_whatever_it_is_called(self, tmp_path):
        path = tmp_path / "my_body.pkl"
        path.touch()
        assert find_smpl_file(path, "female") == path

    def test_the_file_of_another_gender(self, tmp_path):
        path = tmp_path / "SMPL_MALE.pkl"
        path.touch()
        with pytest.raises(SmplFileError, match="SMPL_MALE.pkl is the male model, but female was asked for.*" + ADVICE):
            find_smpl_file(path, "female")

    def test_a_folder_without_files(self, tmp_path):
        with pytest.raises(SmplFileError, match=r"no SMPL files at all, male was asked for: expected SMPL_MALE\.pkl"):
            find_smpl_file(tmp_path, "male")

    def test_a_place_that_does_not_exist(self, tmp_path):
        with pytest.raises(SmplFileError, match="no file or folder .*nowhere.*" + ADVICE):
            find_smpl_file(tmp_path / "nowhere", "neutral")

    def test_a_gender_that_does_not_exist(self, tmp_path):
        with pytest.raises(SmplFileError, match="no SMPL model of gender 'other'; there are: neutral, male, female"):
            find_smpl_file(tmp_path, "other")


def _changed(**arrays: np.ndarray | None) -> dict[str, np.ndarray]:
    model = {**sample_model(), **arrays}
    return {name: array for name, array in model.items() if array is not None}


def _of_joints(count: int) -> dict[str, np.ndarray]:
    return _changed(kintree_table=np.stack([np.arange(count) - 1, np.arange(count)]))


WRONG_MODELS = {
    "no shapes": (_changed(shapedirs=None), "no SMPL model: it has no shapedirs"),
    "no texture": ({"vt": np.ones(3)}, "it has no v_template, shapedirs, posedirs, J_regressor, weights, f, kintree"),
    "SMPL-X": (_of_joints(55), r"holds SMPL-X \(55 joints\), not SMPL \(24 joints\)"),
    "SMPL+H": (_of_joints(52), r"holds SMPL\+H \(52 joints\)"),
    "MANO": (_of_joints(16), r"holds MANO \(16 joints\)"),
    "FLAME": (_of_joints(5), r"holds FLAME \(5 joints\)"),
    "something": (_of_joints(7), r"holds another model \(7 joints\)"),
    "flat tree": (_changed(kintree_table=np.arange(24)), "kintree_table has shape"),
    "two roots": (_changed(kintree_table=np.tile(np.uint32([2**32 - 1] * 24), (2, 1))), "joint 1 "),
    "template": (_changed(v_template=np.ones((300, 2))), "v_template has shape"),
    "no vertices": (_changed(v_template=np.float64(1.0)), "without vertices"),
    "shapes": (_changed(shapedirs=np.ones((300, 10))), "shapedirs has shape"),
    "pose": (_changed(posedirs=np.ones((300, 3, 9))), "posedirs has 9 pose features, expected 0 or 207"),
    "regressor": (_changed(J_regressor=np.ones((24, 299))), "J_regressor has shape"),
    "weights": (_changed(weights=np.full((300, 24), 0.5)), "skinning weights do not sum to one"),
    "NaN": (_changed(v_template=np.full((300, 3), np.nan)), "v_template holds NaN"),
    "faces": (_changed(f=np.array([[0, 1, 300]])), "faces name vertices that do not exist"),
}


@pytest.mark.parametrize("write", [write_npz, write_pkl], ids=["npz", "pkl"])
@pytest.mark.parametrize("case", WRONG_MODELS)
def test_wrong_models_are_named_with_advice(tmp_path, case, write):
    model, message = WRONG_MODELS[case]
    if write is write_pkl and "J_regressor" not in model:
        model = {**model, "J_regressor": np.eye(2)}
        message = message.replace("J_regressor, ", "")
    path = write(tmp_path / f"model{'.npz' if write is write_npz else '.pkl'}", model)
    with pytest.raises(SmplFileError, match=f"{path.name}.*{message}.*{ADVICE}") as caught:
        load_smpl_file(path, "neutral")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer.*git lfs pull"),
        (b"\n <!DOCTYPE html><html>Please log in</html>", "is a web page"),
        (b"<HTML>", "is a web page"),
        (b"PK\x03\x04 and no more", "damaged"),
        (b"not a pickle at all", "damaged"),
        (pickle.dumps(["v_template"]), "holds list"),
    ],
)
def test_files_that_are_no_models(tmp_path, content, message):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(content)
    with pytest.raises(SmplFileError, match=f"SMPL_NEUTRAL.pkl.*{message}.*{ADVICE}"):
        load_smpl_file(path, "neutral")


@pytest.mark.parametrize("write", [write_npz, write_chumpy_pkl], ids=["npz", "pkl"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99, 0.9999])
def test_truncated_files(tmp_path, write, part):
    path = write(tmp_path / f"m{'.npz' if write is write_npz else '.pkl'}", sample_model(vertex_count=60))
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(SmplFileError, match=ADVICE):
        load_smpl_file(path, "neutral")


def test_an_npz_with_a_pickled_array_is_not_unpickled(tmp_path):
    model = {**sample_model(), "J_regressor": np.array({"sparse": 1}, dtype=object)}
    with pytest.raises(SmplFileError, match=r"J_regressor holds pickled objects"):
        load_smpl_file(write_npz(tmp_path / "m.npz", model), "neutral")


def test_a_pickled_array_that_is_not_needed_does_no_harm(tmp_path):
    model = {**sample_model(), "joint2num": np.array({"pelvis": 0}, dtype=object)}
    assert load_smpl_file(write_npz(tmp_path / "m.npz", model), "neutral").joint_count == 24


def test_a_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(SmplFileError, match="cannot read"):
        load_smpl_file(tmp_path, "neutral")


@pytest.mark.parametrize(
    "place", ["SMPL_python_v.1.0.0/smpl/models/basicModel_f_lbs_10_207_0_v1.0.0.pkl", "smplify_public/code/models/"]
)
def test_a_file_some_levels_deeper_is_found(tmp_path, place):
    file = tmp_path / (place if place.endswith(".pkl") else f"{place}SMPL_FEMALE.pkl")
    file.parent.mkdir(parents=True)
    file.touch()
    assert find_smpl_file(tmp_path, "female") == file


def test_where_the_neutral_model_is(tmp_path):
    for name in ("basicModel_f_lbs_10_207_0_v1.0.0.pkl", "basicmodel_m_lbs_10_207_0_v1.0.0.pkl"):
        (tmp_path / name).touch()
    with pytest.raises(SmplFileError, match=r"only female and male.*1\.0\.0 has no neutral model.*1\.1\.0"):
        find_smpl_file(tmp_path, "neutral")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("SMPLX_NEUTRAL.npz", "SMPL-X"),
        ("SMPLH_neutral.npz", r"SMPL\+H"),
        ("MANO_RIGHT.pkl", "MANO"),
        ("processed_basicModel_neutral_lbs_10_207_0_v1.0.0.pkl", "another program"),
        ("SMPL_python_v.1.1.0.zip", "unpack"),
    ],
)
def test_what_else_is_there_is_named_as_what_it_is(tmp_path, name, what):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / name).touch()
    with pytest.raises(SmplFileError, match=f"no SMPL files at all.*below.{name} \\(.*{what}"):
        find_smpl_file(tmp_path, "neutral")


def test_an_archive_is_named_as_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "SMPL_python_v.1.1.0.zip", "w") as archive:
        archive.writestr("smpl/models/basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl", b"")
    with pytest.raises(SmplFileError, match="unpack it first"):
        load_smpl_file(tmp_path / "SMPL_python_v.1.1.0.zip", "neutral")
