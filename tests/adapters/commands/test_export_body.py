"""``samebody export-body smplx``: official files become body files. Needs no extra."""

import re

import numpy as np
import pytest
from click.testing import CliRunner

from adapters.bodies.smpl_files import SmplFileError
from adapters.bodies.smplx_export import export_smpl
from adapters.commands.export_body import export_body
from engine.body.body_file import load_body, read_header
from tests.smpl_samples import sample_model, write_chumpy_pkl, write_npz, write_pkl


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "smpl").mkdir()
    write_chumpy_pkl(tmp_path / "smpl" / "SMPL_NEUTRAL.pkl", sample_model(1, beta_count=300))
    write_pkl(tmp_path / "smpl" / "basicModel_m_lbs_10_207_0_v1.0.0.pkl", sample_model(2))
    write_npz(tmp_path / "smpl" / "SMPL_FEMALE.npz", sample_model(3))
    return tmp_path


@pytest.mark.parametrize(("gender", "seed", "file"), [
    ("neutral", 1, "SMPL_NEUTRAL.pkl"),
    ("male", 2, "basicModel_m_lbs_10_207_0_v1.0.0.pkl"),
    ("female", 3, "SMPL_FEMALE.npz"),
])  # fmt: skip
def test_the_body_file_is_the_model_of_that_gender(folder, gender, seed, file):
    out = folder / "body.npz"
    export_smpl(folder, gender, out)
    body = load_body(out)
    np.testing.assert_array_equal(body.v_template, sample_model(seed, beta_count=body.beta_count)["v_template"])
    assert (body.name, body.beta_count) == (f"SMPL {gender}", 10)
    header = read_header(out)
    assert header["name"] == f"SMPL {gender}"
    assert header["source"].startswith(f"{file}, sha256 ")
    assert "not to be passed on" in header["licence"]


def test_the_file_holds_float32_and_betas_as_asked(folder):
    out = folder / "body.npz"
    export_smpl(folder, "neutral", out, 25)
    with np.load(out) as stored:
        assert stored["shapedirs"].dtype == np.float32
        assert stored["shapedirs"].shape == (300, 3, 25)


def test_more_betas_than_the_file_has(folder):
    with pytest.raises(ValueError, match="SMPL male has 10 shape components, 16 were asked for"):
        export_smpl(folder, "male", folder / "body.npz", 16)
    assert not (folder / "body.npz").exists()


def test_the_command(folder):
    out = folder / "body.npz"
    arguments = ["smplx", "--model-path", str(folder), "--gender", "neutral", "--out", str(out), "--betas", "16"]
    result = CliRunner().invoke(export_body, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert load_body(out).beta_count == 16


def test_the_command_leaves_mistakes_to_the_program_as_one_line(folder):
    arguments = ["smplx", "--model-path", str(folder / "smpl" / "SMPL_FEMALE.npz"), "--gender", "male"]
    result = CliRunner().invoke(export_body, [*arguments, "--out", str(folder / "body.npz")])
    assert isinstance(result.exception, SmplFileError)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize(
    "wrong", [["--gender", "other"], ["--betas", "0"], ["--out", "."]], ids=["gender", "betas", "out"]
)
def test_the_command_refuses_wrong_usage(folder, wrong):
    arguments = [
        "smplx",
        "--model-path",
        str(folder),
        "--gender",
        "male",
        "--out",
        str(folder / "body.npz"),
        *wrong,
    ]
    assert CliRunner().invoke(export_body, arguments).exit_code == 2


def test_the_help_teaches():
    text = CliRunner().invoke(export_body, ["smplx", "--help"]).output
    whole = re.sub(r" \\\n *", " ", text)  # examples are folded as a shell takes them
    assert "samebody export-body smplx --model-path models/smpl --gender neutral --out smpl_neutral.npz" in whole
    assert "https://smpl.is.tue.mpg.de" in text
