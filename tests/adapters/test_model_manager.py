"""Bodies by gender, loaded once."""

import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from adapters import model_manager
from adapters.bodies.smpl_files import SmplFileError
from adapters.model_manager import EmbeddedBodyWarning, ModelManager
from engine.body.model import BodyModel
from tests.smpl_samples import sample_model, write_npz, write_pkl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smpl")
    write_pkl(folder / "SMPL_NEUTRAL.pkl", sample_model(0, beta_count=16))
    write_npz(folder / "SMPL_MALE.npz", sample_model(1))
    return folder


def test_each_gender_is_its_own_file_with_ten_components(folder: Path) -> None:
    manager = ModelManager(folder)
    neutral, male = manager.load_smpl_model(), manager.load_smpl_model("male")
    assert (neutral.name, male.name) == ("SMPL neutral", "SMPL male")
    assert neutral.beta_count == male.beta_count == 10
    np.testing.assert_allclose(neutral.v_template, sample_model(0, beta_count=16)["v_template"], rtol=1e-6)


def test_threads_share_one_loading(folder: Path, monkeypatch) -> None:
    manager, loads = ModelManager(folder), []
    load = model_manager.load_smpl_file
    monkeypatch.setattr(model_manager, "load_smpl_file", lambda *a: loads.append(a) or load(*a))
    found: list[BodyModel] = []
    threads = [threading.Thread(target=lambda: found.append(manager.load_smpl_model("neutral"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert len(found) == 8
    assert all(body is found[0] for body in found)


def test_a_missing_file_is_an_error_that_names_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(SmplFileError, match=r"smpl\.is\.tue\.mpg\.de") as error:
        ModelManager(tmp_path).load_smpl_model("female")
    assert "embedded_fallback=True" in str(error.value)
    with pytest.raises(SmplFileError, match="gender 'other'"):
        ModelManager(tmp_path).load_smpl_model("other")


def test_the_embedded_body_stands_in_when_told_to_and_says_so_once(tmp_path: Path, anny: BodyModel) -> None:
    manager = ModelManager(tmp_path / "nowhere", embedded_fallback=True)
    with pytest.warns(EmbeddedBodyWarning, match="betas are not SMPL's") as caught:
        body = manager.load_smpl_model("female")
    assert caught[0].filename == __file__
    assert body.fingerprint == anny.fingerprint
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert manager.load_smpl_model("female") is body


def test_nothing_stands_in_for_a_damaged_file_or_an_unknown_gender(tmp_path: Path) -> None:
    (tmp_path / "SMPL_NEUTRAL.pkl").write_bytes(b"not a pickle")
    manager = ModelManager(tmp_path, embedded_fallback=True)
    with pytest.raises(SmplFileError, match=r"SMPL_NEUTRAL\.pkl"):
        manager.load_smpl_model("neutral")
    with pytest.raises(SmplFileError, match="gender 'other'"):
        manager.load_smpl_model("other")
