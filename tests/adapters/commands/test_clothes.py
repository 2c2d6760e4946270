"""Known clothes from the command line, Python and the results that record them, with the shipped network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import samebody as sb
from adapters.commands.cli import main
from adapters.jobs import check_folder
from adapters.jobs.outline_use import unused_clothes
from adapters.jobs.run_parts import fingerprint
from adapters.keypoints.readers import open_keypoints
from adapters.keypoints.readers.file_rules import FILE_RULES
from adapters.keypoints.table import KeypointTable, concat_tables, slice_table, with_clothes
from adapters.keypoints.writers import write_keypoints
from adapters.results.recorded_sources import recorded_sources
from engine.body.model import BodyModel
from engine.picture.clothes import CLOTHES, THICKNESS_M
from engine.picture.outline import outline_rays
from engine.picture.outline_places import PLACES, SIDES
from engine.simulation.settings import ClothesSettings
from tests.places import DEMO

ROWS = 6
TIGHT = np.float32(THICKNESS_M["tight"])


def outlined(name: str, rows: int) -> KeypointTable:
    """Demo pictures with widths like those of people; the first has none."""
    table = slice_table(sb.read_keypoints(DEMO / name), 0, rows)
    longest = outline_rays(table.keypoints, table.confidence > 0, table.schema).longest
    shares = np.random.default_rng(4).uniform(0.15, 0.35, (rows, len(PLACES), SIDES))
    widths = (shares * longest[:, None, None]).astype(np.float32)
    widths[0] = np.nan
    return replace(table, outline_px=widths)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clothes")
    made = {}
    for name in ("references", "dataset"):
        made[name] = folder / f"{name}.parquet"
        write_keypoints(made[name], outlined(f"{name}.parquet", ROWS))
    return made


def test_kinds_are_those_of_the_simulation() -> None:
    assert [thickness for thickness, _ in ClothesSettings().kinds] == [THICKNESS_M[kind] for kind in CLOTHES[1:]]


def test_command_line_and_python_give_the_same_bits(files: dict[str, Path], tmp_path: Path) -> None:
    shape, out = tmp_path / "shape.npz", tmp_path / "scores.parquet"
    assert main(["fit", str(files["references"]), "--clothes", "tight", "--out", str(shape)]) == 0
    told = ["score", str(files["dataset"]), "--shape", str(shape), "--clothes", "ordinary", "--out", str(out)]
    assert main(told) == 0
    by_python = sb.fit(sb.read_keypoints(files["references"], clothes="tight"))
    np.testing.assert_array_equal(sb.Shape.load(shape).betas, by_python.betas)
    scores = sb.score(sb.read_keypoints(files["dataset"], clothes="ordinary"), by_python)
    table = pq.read_table(out)
    for name, values in scores.numbers.items():
        np.testing.assert_array_equal(table[name].to_numpy(), values)
    assert recorded_sources({k.decode(): v.decode() for k, v in table.schema.metadata.items()}).clothes == "ordinary"


def test_clothes_change_the_evidence_of_outlines_alone(files: dict[str, Path]) -> None:
    pictures = sb.read_keypoints(files["dataset"])
    unknown = sb.fit(files["references"])
    tight = sb.fit(sb.read_keypoints(files["references"], clothes="tight"))
    assert not np.array_equal(unknown.betas, tight.betas)
    assert [one.clothes_m for one in unknown.references] == [None] * ROWS
    assert [one.clothes_m for one in tight.references] == [None, *[float(TIGHT)] * (ROWS - 1)]
    plain, dressed = (sb.score(table, unknown) for table in (pictures, with_clothes(pictures, "tight")))
    changed = plain["log_bayes_factor"] != dressed["log_bayes_factor"]
    assert changed.tolist() == [False, *[True] * (ROWS - 1)]


def test_every_picture_may_have_its_own_clothes(files: dict[str, Path]) -> None:
    pictures, shape = sb.read_keypoints(files["dataset"]), sb.fit(files["references"])
    parts = [slice_table(pictures, 0, 3), with_clothes(slice_table(pictures, 3, ROWS), "loose")]
    whole = sb.score(concat_tables(pictures.schema, parts), shape)
    alone = [sb.score(part, shape) for part in parts]
    np.testing.assert_array_equal(
        whole["log_bayes_factor"], np.concatenate([part["log_bayes_factor"] for part in alone])
    )


def test_the_shape_file_keeps_them(files: dict[str, Path], tmp_path: Path) -> None:
    shape = sb.fit(sb.read_keypoints(files["references"], clothes="loose"))
    shape.save(tmp_path / "shape.npz")
    assert sb.Shape.load(tmp_path / "shape.npz").references == shape.references


def test_a_run_is_not_resumed_with_other_clothes(files: dict[str, Path], anny: BodyModel) -> None:
    options = [replace(FILE_RULES, clothes=kind) for kind in CLOTHES]
    sources = [open_keypoints([files["dataset"]], options=own) for own in options]
    assert len({fingerprint(source, anny, [], [])["input"] for source in sources}) == len(CLOTHES)


def test_a_check_records_them_for_its_page(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_folder, "can_make_pages", lambda: False)
    references, pictures = (sb.read_keypoints(files[name], clothes="tight") for name in ("references", "dataset"))
    sb.check(references, pictures, tmp_path / "checked")
    metadata = pq.read_schema(tmp_path / "checked" / "scores.parquet").metadata
    recorded = recorded_sources({k.decode(): v.decode() for k, v in metadata.items()})
    assert recorded.clothes == "tight"
    assert recorded.reading is not None
    assert recorded.reading.clothes == "tight"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["fit", "--pose", "rest", "--out", "s.npz"], "--pose rest"),
        (["fit", "--solver", "lm", "--out", "s.npz"], "--solver lm"),
        (["fit", "--focal-length", "900", "--out", "s.npz"], "--solver lm"),
        (["fit", "--no-outlines", "--out", "s.npz"], "--no-outlines"),
        (["calibrate", "--solver", "lm", "--out", "c.json"], "--solver lm"),
    ],
)
def test_clothes_without_a_meaning_are_refused(
    command: list[str],
    reason: str,
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command[0], str(files["references"]), "--clothes", "tight", *command[1:]]) == 2
    captured = capsys.readouterr()
    assert reason in captured.err
    assert list(tmp_path.iterdir()) == []


def test_clothes_without_outlines_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["fit", str(DEMO / "references.parquet"), "--clothes", "tight", "--out", str(tmp_path / "s.npz")]
    assert main(command) == 0
    assert unused_clothes("tight", 0)[0] in capsys.readouterr().err
    plain = sb.fit(DEMO / "references.parquet")
    np.testing.assert_array_equal(sb.Shape.load(tmp_path / "s.npz").betas, plain.betas)


def test_other_clothes_are_refused() -> None:
    with pytest.raises(ValueError, match="'velvet'"):
        sb.read_keypoints(DEMO / "references.parquet", clothes="velvet")  # type: ignore[arg-type]
