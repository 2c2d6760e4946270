"""Body files: what is written is read, quantised within half a step, and nothing but a whole body file is accepted."""

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adapters.bodies.smpl_files import build_smpl_body
from engine.body.body_file import BodyFileError, BodyProvenance, build_body, load_body, read_header, save_body
from engine.body.files import replace_file
from engine.body.model import BodyModel
from tests.smpl_samples import SAMPLE_KEYPOINTS, sample_model

PROVENANCE = BodyProvenance("Sample body", "tests", "none", "with details: 1 mm")
ARRAYS = (
    "v_template",
    "shapedirs",
    "posedirs",
    "J_regressor",
    "weights",
    "keypoint_vertices",
    "keypoint_joints",
    "faces",
)
INT16_MAX = 32767


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return build_smpl_body(sample_model(vertex_count=120), "neutral", "sample", SAMPLE_KEYPOINTS)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "body.npz"


def _stored(path: Path) -> dict[str, Any]:
    with np.load(path) as stored:
        return dict(stored)


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_what_is_written_is_read(path, x64):
    with jax.enable_x64(x64):
        body = build_smpl_body(sample_model(), "neutral", "sample", SAMPLE_KEYPOINTS)
        save_body(path, body, PROVENANCE)
        again = load_body(path)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(body, name), strict=True)
    assert again.keypoint_names == body.keypoint_names
    assert again.parents == body.parents
    assert again.name == PROVENANCE.name
    assert again.fingerprint == body.fingerprint


def test_the_header_says_where_the_body_comes_from(path, body):
    save_body(path, body, PROVENANCE)
    header = read_header(path)
    assert header.pop("digest")
    assert header == {
        "format": "samebody-body",
        "version": 1,
        "name": "Sample body",
        "source": "tests",
        "licence": "none",
        "details": "with details: 1 mm",
    }


def test_quantised_arrays_are_within_half_a_step(path, body):
    save_body(path, body, PROVENANCE, quantise=True)
    again = load_body(path)
    for name, axes in (("v_template", None), ("shapedirs", (0, 1)), ("posedirs", (0, 1))):
        values = np.asarray(getattr(body, name), np.float64)
        half_step = np.abs(values).max(axis=axes) / INT16_MAX / 2
        assert (np.abs(getattr(again, name) - values) <= half_step * (1 + 1e-3)).all()
    for name in ("weights", "J_regressor", "keypoint_vertices"):
        values, read = np.asarray(getattr(body, name)), np.asarray(getattr(again, name))
        # Half a step for each weight, and as much again for making up the sum, spread over the row.
        entries = np.count_nonzero(values, axis=1, keepdims=True)
        assert (np.abs(read - values) <= (1 + entries * values) / INT16_MAX / 2 + 1e-7).all()
        sums = read.sum(axis=1)
        np.testing.assert_allclose(sums[sums != 0], 1, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(again.keypoint_joints, body.keypoint_joints)
    np.testing.assert_array_equal(again.faces, body.faces)


def test_equal_rows_stay_equal_when_quantised_in_any_order(path, body):
    # A mirrored vertex has the weights of its twin at other joints: the same numbers in another order.
    order = np.random.default_rng(0).permutation(24)
    mirrored = eqx.tree_at(lambda b: b.weights, body, body.weights.at[1].set(body.weights[0][order]))
    save_body(path, mirrored, PROVENANCE, quantise=True)
    weights = load_body(path).weights
    np.testing.assert_array_equal(weights[1], weights[0][order])


def test_a_component_that_is_zero_throughout_stays_zero(path, body):
    flat = eqx.tree_at(lambda b: b.shapedirs, body, body.shapedirs.at[..., 3].set(0.0))
    save_body(path, flat, PROVENANCE, quantise=True)
    assert not load_body(path).shapedirs[..., 3].any()


def test_a_body_without_pose_blendshapes(path, body):
    plain = eqx.tree_at(lambda b: b.posedirs, body, jnp.zeros((120, 3, 0)))
    save_body(path, plain, PROVENANCE, quantise=True)
    assert load_body(path).posedirs.shape == (120, 3, 0)


@pytest.mark.parametrize("row", [[0.7, 0.2], [1.5, -0.5]], ids=["sum", "range"])
def test_weights_that_cannot_be_quantised_are_an_error(path, body, row):
    wrong = eqx.tree_at(lambda b: b.J_regressor, body, body.J_regressor.at[0].set(0.0).at[0, :2].set(jnp.array(row)))
    with pytest.raises(ValueError, match=r"J_regressor: only weights within -1\.\.1 that sum to one can be quantised"):
        save_body(path, wrong, PROVENANCE, quantise=True)
    save_body(path, wrong, PROVENANCE)
    np.testing.assert_array_equal(load_body(path).J_regressor, wrong.J_regressor)


def test_the_fingerprint_depends_on_every_array_and_on_no_name(body):
    def of(changed: BodyModel) -> str:
        arrays = {name: np.asarray(getattr(changed, name)) for name in ARRAYS}
        names, parents = np.array(changed.keypoint_names), np.array(changed.parents)
        return build_body({**arrays, "keypoint_names": names, "parents": parents}, "another name", "test").fingerprint

    assert of(body) == body.fingerprint
    nudged = {
        name: of(eqx.tree_at(lambda b, name=name: getattr(b, name), body, getattr(body, name).at[0, 1].add(1)))
        for name in (
            "v_template",
            "shapedirs",
            "posedirs",
            "J_regressor",
            "keypoint_vertices",
            "keypoint_joints",
            "faces",
        )
    }
    assert len({*nudged.values(), body.fingerprint}) == len(nudged) + 1


def _rewritten(path: Path, body: BodyModel, **changes: Any) -> None:
    """A body file with some arrays replaced, or left out where None; with a header of before the digest."""
    save_body(path, body, PROVENANCE)
    stored = {**_stored(path), "header": _header(), **changes}
    stored = {name: value for name, value in stored.items() if value is not None}
    np.savez(path, **stored)


def _header(**changes: Any) -> np.ndarray:
    return np.array(json.dumps({"format": "samebody-body", "version": 1, "name": "x", **changes}))


DAMAGE = {
    "no header": ({"header": None}, "an .npz, but not a samebody body; make one with: samebody export-body smplx"),
    "other format": ({"header": _header(format="other")}, "not a samebody body"),
    "header that is no table": ({"header": np.array("[1]")}, "not a samebody body"),
    "header that is no JSON": ({"header": np.array("{")}, "damaged"),
    "later version": (
        {"header": _header(version=2)},
        "body file version 2, this samebody reads 1; export the body again",
    ),
    "no name": ({"header": np.array('{"format": "samebody-body", "version": 1}')}, "damaged .*'name'"),
    "array missing": ({"weights": None, "parents": None}, "damaged, arrays are missing: weights, parents"),
    "step missing": ({"v_template": np.ones((120, 3), np.int16)}, "damaged .*v_template_step"),
    "step of another shape": (
        {"v_template": np.ones((120, 3), np.int16), "v_template_step": np.ones(7)},
        "damaged",
    ),
    "texts for numbers": ({"v_template": np.full((120, 3), "x")}, "v_template holds <U1, expected numbers"),
    "faces of floats": ({"faces": np.ones((4, 3))}, "faces holds float64, expected numbers"),
    "shape": ({"shapedirs": np.ones((119, 3, 10))}, r"shapedirs has shape \(119, 3, 10\), expected \(120, 3, any\)"),
    "template of one number": ({"v_template": np.float32(1)}, "a body without vertices"),
    "nobody": ({"parents": np.zeros(0, int)}, "a body without joints"),
    "parents in a square": ({"parents": np.zeros((2, 12), int)}, "parents has shape"),
    "parents that are texts": ({"parents": np.full(24, "x")}, "invalid literal"),
    "parents that are no tree": ({"parents": np.arange(24)}, "joint 0 has parent 0"),
    "NaN": ({"posedirs": np.full((120, 3, 207), np.nan)}, "posedirs holds NaN or infinity"),
    "infinity": ({"J_regressor": np.full((24, 120), np.inf)}, "J_regressor holds NaN or infinity"),
    "pose features": ({"posedirs": np.ones((120, 3, 9))}, "9 pose features, expected 0 or 207"),
    "faces": ({"faces": np.array([[0, 1, 120]])}, "faces name vertices that do not exist"),
    "weights": ({"weights": np.full((120, 24), 0.1)}, "skinning weights do not sum to one"),
    "names": ({"keypoint_names": np.full(26, "nose")}, "keypoint names are not unique"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_is_no_body_is_refused_in_one_line(path, body, case):
    changes, message = DAMAGE[case]
    _rewritten(path, body, **changes)
    with pytest.raises(BodyFileError, match=f"^body.npz: .*{message}") as caught:
        load_body(path)
    assert "\n" not in str(caught.value)


def test_arrays_of_another_file_are_refused(path, body):
    _rewritten(path, body)
    load_body(path)
    with np.load(path) as stored:
        arrays = dict(stored)
    save_body(path, body, PROVENANCE)
    with np.load(path) as stored:
        header = stored["header"]
    np.savez(path, **{**arrays, "header": header, "v_template": arrays["v_template"] * 2})
    with pytest.raises(BodyFileError, match="not those that were written"):
        load_body(path)


def test_a_pickled_object_is_not_unpickled(path, body, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    _rewritten(path, body, weights=np.array(Trap(), dtype=object))
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(BodyFileError, match=r"damaged or not an \.npz file"):
        load_body(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04", b"\x80\x04N.", b"\x93NUMPY\x01\x00"], ids=repr)
def test_other_files_are_refused(path, content):
    path.write_bytes(content)
    for read in (load_body, read_header):
        with pytest.raises(BodyFileError, match=r"^body\.npz: damaged or not an \.npz file"):
            read(path)


def test_an_array_file_is_refused(path):
    with open(path, "wb") as stream:
        np.save(stream, np.ones(3))
    with pytest.raises(BodyFileError, match=r"damaged or not an \.npz file"):
        load_body(path)


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(BodyFileError, match=r"no body file .*missing\.npz"):
        load_body(tmp_path / "missing.npz")
    with pytest.raises(BodyFileError, match=r"damaged or not an \.npz file"):
        load_body(tmp_path)


def test_truncations_are_refused(path, body):
    save_body(path, body, PROVENANCE, quantise=True)
    content = path.read_bytes()
    for part in np.linspace(0, 1, 40, endpoint=False):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(BodyFileError):
            load_body(path)


def test_flipped_bytes_are_refused_or_harmless(path, body):
    save_body(path, body, PROVENANCE, quantise=True)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(content), 150):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            # A byte in the archive's time stamps means nothing; one in an array is caught by its checksum.
            assert load_body(path).fingerprint
        except BodyFileError:
            refused += 1
    assert refused > 100


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, body):
    save_body(path, body, PROVENANCE)
    old = path.read_bytes()

    def fail(stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(path, fail)
    assert path.read_bytes() == old
    assert [file.name for file in path.parent.iterdir()] == ["body.npz"]


def test_a_folder_that_does_not_exist_is_an_error(tmp_path, body):
    with pytest.raises(ValueError, match="there is no folder"):
        save_body(tmp_path / "nowhere" / "body.npz", body, PROVENANCE)
