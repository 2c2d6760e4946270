"""Whole data sets against a stored shape."""

from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import sessionmaker

from adapters import batch_processor
from adapters.batch_processor import BatchProcessor
from adapters.body_analyzer import BodyAnalyzer
from adapters.host.database import (
    Base,
    BodyScore,
    HostDatabase,
    NewReference,
    NoSharedShape,
    fit_shared_shape,
    open_database,
    replace_references,
)
from engine.body.model import BodyModel
from engine.body.schemas import HALPE_26
from engine.shape import Shape, ShapeFileError
from tests.database_servers import database_url, postgresql  # noqa: F401

BETAS = np.linspace(-1.5, 1.5, 10, dtype=np.float32)
COUNT = 50


@pytest.fixture
def arrays(t_pose_pictures) -> tuple[np.ndarray, np.ndarray]:
    return t_pose_pictures(BETAS, COUNT)


@pytest.fixture
def database(database_url: str, anny: BodyModel, arrays):  # noqa: F811
    engine = open_database(database_url)
    Base.metadata.create_all(engine)
    yield HostDatabase(sessionmaker(engine))
    engine.dispose()


@pytest.fixture
def stored(database: HostDatabase, anny: BodyModel, arrays) -> Shape:
    own = {"keypoints": arrays[0][0].tolist(), "confidence": arrays[1][0].tolist()}
    replace_references(database, "anna", [NewReference("front.jpg", "body_front", own)])
    return fit_shared_shape(database, "anna", anny, "rest")


NAMES = [f"{i:02}.jpg" for i in range(COUNT)]


def rows_in(database: HostDatabase) -> dict[tuple[str, int], dict[str, Any]]:
    with database.sessions() as session:
        found = session.scalars(select(BodyScore)).all()
    columns = BodyScore.__table__.columns.keys()
    return {(row.image, row.instance): {name: getattr(row, name) for name in columns} for row in found}


def test_rows_are_those_of_the_analyzer_bit_for_bit(
    database: HostDatabase, stored: Shape, anny: BodyModel, arrays
) -> None:
    pictures = [{"keypoints": k, "confidence": c} for k, c in zip(*arrays, strict=True)]
    processor = BatchProcessor(database, anny)
    result = processor.process("anna", NAMES, arrays)
    assert result.by_status == {"ok": COUNT}
    in_database = rows_in(database)
    assert [in_database[name, 0] for name in NAMES] == list(result.rows)
    analyses = BodyAnalyzer(anny, mode="rest").analyze_batch(NAMES, pictures, stored)
    for analysis in analyses:
        row = in_database[analysis.image, analysis.instance]
        assert row["consistency"] == analysis.consistency_3d
        assert row["oks"] == analysis.oks
        assert row["shape_digest"] == stored.digest
    # The other two ways in give the same rows, and storing again changes nothing.
    asked: list[str] = []

    def detect(images: Any) -> list[Any]:
        asked.extend(images)
        return [pictures[NAMES.index(image)] for image in images]

    for again in (pictures, detect):
        assert processor.process("anna", NAMES, again).rows == result.rows
        assert rows_in(database) == in_database
    assert asked == NAMES


def test_chunks_change_nothing(database: HostDatabase, stored: Shape, anny: BodyModel, arrays, monkeypatch) -> None:
    processor = BatchProcessor(database, anny)
    whole = processor.process("anna", NAMES, arrays)
    monkeypatch.setattr(batch_processor, "_CHUNK_SIZE", {"rest": 7})
    seen: list[tuple[int, int]] = []
    parts = processor.process("anna", NAMES, arrays, on_progress=lambda done, total: seen.append((done, total)))
    assert parts.rows == whole.rows
    assert seen == [(min(7 * (i + 1), COUNT), COUNT) for i in range(8)]


def test_a_cancelled_run_keeps_what_it_did_and_can_be_run_again(
    database: HostDatabase, stored: Shape, anny: BodyModel, arrays, monkeypatch
) -> None:
    monkeypatch.setattr(batch_processor, "_CHUNK_SIZE", {"rest": 20})
    processor = BatchProcessor(database, anny)
    answers = iter([False, True])
    result = processor.process("anna", NAMES, arrays, cancelled=lambda: next(answers))
    assert result.cancelled
    assert [row["image"] for row in result.rows] == NAMES[:20]
    assert len(rows_in(database)) == 20
    whole = processor.process("anna", NAMES, arrays)
    assert not whole.cancelled
    assert whole.rows[:20] == result.rows
    assert len(rows_in(database)) == COUNT


def test_a_failure_stores_whole_chunks_only(
    database: HostDatabase, stored: Shape, anny: BodyModel, arrays, monkeypatch
) -> None:
    monkeypatch.setattr(batch_processor, "_CHUNK_SIZE", {"rest": 20})

    def detect(images: Any) -> list[Any]:
        if NAMES[45] in images:
            raise RuntimeError("the detector died")
        return [{"keypoints": arrays[0][i], "confidence": arrays[1][i]} for i in map(NAMES.index, images)]

    with pytest.raises(RuntimeError, match="died"):
        BatchProcessor(database, anny).process("anna", NAMES, detect)
    assert len(rows_in(database)) == 40


def test_every_picture_gets_a_row_whatever_is_in_it(
    database: HostDatabase, stored: Shape, anny: BodyModel, arrays
) -> None:
    good = {"keypoints": arrays[0][0], "keypoint_scores": arrays[1][0]}
    given = [[good, good], [], {"keypoints": "?", "keypoint_scores": []}, {"predictions": [[good]]}]
    result = BatchProcessor(database, anny).process("anna", ["two", "none", "bad", "inferencer"], given)
    assert result.by_status == {"ok": 3, "no_detection": 1, "bad_input": 1}
    rows = rows_in(database)
    assert sorted(rows) == [("bad", 0), ("inferencer", 0), ("none", -1), ("two", 0), ("two", 1)]
    assert rows["none", -1]["consistency"] is None
    assert rows["bad", 0]["detail"] is not None
    assert rows["two", 0]["consistency"] == rows["two", 1]["consistency"] == rows["inferencer", 0]["consistency"]


def test_mistakes_store_nothing(database: HostDatabase, stored: Shape, anny: BodyModel, arrays) -> None:
    processor = BatchProcessor(database, anny)
    with pytest.raises(ValueError, match=r"b\.jpg is named more than once"):
        processor.process("anna", ["a.jpg", "b.jpg", "b.jpg"], [None] * 3)
    with pytest.raises(ValueError, match="3 pictures, keypoints for 2"):
        processor.process("anna", ["a", "b", "c"], [None] * 2)
    with pytest.raises(ValueError, match="3 pictures, keypoints for 50"):
        processor.process("anna", ["a", "b", "c"], arrays)
    with pytest.raises(NoSharedShape, match="bob has no fitted shape"):
        processor.process("bob", NAMES, arrays)
    with pytest.raises(ValueError, match="17 keypoints, expected 26"):
        BatchProcessor(database, anny, HALPE_26).process("anna", NAMES, arrays)
    other = type(anny)(**{**vars(anny), "fingerprint": "another"})
    with pytest.raises(ShapeFileError, match="fitted with body"):
        BatchProcessor(database, other).process("anna", NAMES, arrays)
    with database.sessions() as session:
        assert session.scalar(select(func.count()).select_from(BodyScore)) == 0
