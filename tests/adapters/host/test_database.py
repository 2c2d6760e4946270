"""β in the host's database: the same tests on SQLite and on PostgreSQL."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, inspect, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker, synonym
from sqlalchemy.types import JSON

from adapters.host.database import (
    Base,
    BlobError,
    BodyScore,
    HostDatabase,
    NewReference,
    NoSharedShape,
    PlannedSet,
    ReferenceImage,
    SharedShapeMixin,
    create_tables,
    decode_beta,
    decode_evidence,
    downgrade,
    encode_beta,
    encode_evidence,
    fit_shared_shape,
    load_shared_shape,
    load_shared_shapes,
    open_database,
    plan_addition,
    read_scores,
    replace_references,
    shape_store,
    store_scores,
    store_sets,
    upgrade,
)
from adapters.host.database.migrate import stamp
from adapters.host.inputs import reference_table
from adapters.jobs.fit import FitSettings, fit_references
from engine.body.model import BodyModel
from engine.evidence.shape_evidence import Evidence
from engine.shape import Shape
from tests.database_servers import database_url, postgresql  # noqa: F401

BETAS = np.linspace(-2, 2, 10, dtype=np.float32)
EVIDENCE = Evidence(
    np.cov(np.random.default_rng(0).normal(size=(10, 40))).astype(np.float32), np.arange(10, dtype=np.float32)
)


@pytest.fixture
def database(database_url: str) -> Iterator[HostDatabase]:  # noqa: F811
    engine = open_database(database_url)
    Base.metadata.create_all(engine)
    yield HostDatabase(sessionmaker(engine))
    engine.dispose()


@pytest.fixture
def references(t_pose_pictures) -> Callable[..., list[NewReference]]:
    def make(*views: str, seed: int = 0) -> list[NewReference]:
        points, confidence = t_pose_pictures(BETAS, len(views), seed)
        return [
            NewReference(f"{i}.jpg", view, {"keypoints": own.tolist(), "confidence": weights.tolist()})
            for i, (view, own, weights) in enumerate(zip(views, points, confidence, strict=True))
        ]

    return make


def carriers(database: HostDatabase, reference_set: str = "anna") -> list[str]:
    """Views of the rows that hold a β."""
    query = select(ReferenceImage.view).where(
        ReferenceImage.reference_set == reference_set, ReferenceImage.optimized_beta_blob.is_not(None)
    )
    with database.sessions() as session:
        return list(session.scalars(query))


class TestCodec:
    def test_reading_gives_back_every_bit(self) -> None:
        assert encode_beta(BETAS) == BETAS.astype("<f4").tobytes()
        assert len(encode_beta(BETAS)) == 40
        np.testing.assert_array_equal(decode_beta(encode_beta(BETAS)), BETAS)
        # Bytes in the other order are the same numbers.
        assert encode_beta(BETAS.astype(">f4")) == encode_beta(BETAS)
        blob = encode_evidence(EVIDENCE)
        assert len(blob) == 4 * 65
        for part, original in zip(decode_evidence(blob), EVIDENCE, strict=True):
            np.testing.assert_array_equal(part, original)
            assert part.dtype == np.float32

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            (BETAS.astype(np.float64), "float64"),
            (BETAS.astype(np.int32), "int32"),
            (BETAS.tolist(), "float64"),
            (BETAS[:9], r"shape \(9,\)"),
            (BETAS[None], r"shape \(1, 10\)"),
            (np.where(BETAS > 1, np.float32(np.nan), BETAS), "NaN"),
            (np.where(BETAS > 1, np.float32(np.inf), BETAS), "infinity"),
            (np.array(["a"] * 10), "<U1"),
        ],
    )
    def test_what_is_no_beta_is_refused(self, values: Any, said: str) -> None:
        with pytest.raises(BlobError, match=said):
            encode_beta(values)

    @pytest.mark.parametrize(
        ("blob", "said"),
        [
            (b"", "0 bytes"),
            (BETAS.tobytes()[:-1], "39 bytes"),
            (BETAS.astype(np.float64).tobytes(), "80 bytes"),
            (np.full(10, np.nan, np.float32).tobytes(), "NaN"),
            ("x" * 40, "str"),
            (None, "NoneType"),
        ],
    )
    def test_bytes_that_are_no_beta_are_refused(self, blob: Any, said: str) -> None:
        with pytest.raises(BlobError, match=said):
            decode_beta(blob)

    def test_evidence_must_be_symmetric(self) -> None:
        crooked = EVIDENCE.precision.copy()
        crooked[0, 1] += 1
        with pytest.raises(BlobError, match="symmetric"):
            encode_evidence(EVIDENCE._replace(precision=crooked))

    def test_a_row_takes_no_bytes_that_are_no_beta(self, database: HostDatabase) -> None:
        with pytest.raises(BlobError, match="39 bytes"), database.sessions.begin() as session:
            session.add(
                ReferenceImage(
                    reference_set="a", view="body", image="1", keypoints=[], optimized_beta_blob=BETAS.tobytes()[:-1]
                )
            )
        with database.sessions() as session:
            assert session.scalars(select(ReferenceImage)).all() == []


class TestSharedShape:
    @pytest.mark.parametrize(
        ("views", "carrier"),
        [
            (("face", "body_left", "body_front", "body_back"), "body_front"),
            (("face", "body_left", "body_back"), "body_left"),
        ],
    )
    def test_one_body_reference_carries_it(
        self, database: HostDatabase, anny: BodyModel, references, views: tuple[str, ...], carrier: str
    ) -> None:
        replace_references(database, "anna", references(*views))
        stored = fit_shared_shape(database, "anna", anny, "rest")
        assert carriers(database) == [carrier]
        again = load_shared_shape(database, "anna")
        assert again.digest == stored.digest
        np.testing.assert_array_equal(again.betas, stored.betas)
        # The row says who made it: which references (the face is none of the body) and which body.
        assert [r.image for r in again.references] == [f"{i}.jpg" for i, v in enumerate(views) if v != "face"]
        assert again.body_fingerprint == anny.fingerprint
        assert again.mode == "rest"

    def test_evidence_is_stored_with_it(self, database: HostDatabase, anny: BodyModel, references, monkeypatch) -> None:
        replace_references(database, "anna", references("body_front"))
        fit = shape_store.fit_references

        def with_evidence(table, body, settings):
            fitted = fit(table, body, settings)
            return replace(fitted, evidence=EVIDENCE)

        monkeypatch.setattr(shape_store, "fit_references", with_evidence)
        fit_shared_shape(database, "anna", anny, "rest")
        evidence = load_shared_shape(database, "anna").evidence
        assert evidence is not None
        for part, original in zip(evidence, EVIDENCE, strict=True):
            np.testing.assert_array_equal(part, original)

    @pytest.mark.parametrize("change", ["add", "put", "remove", "edit", "view", "core_delete", "core_edit"])
    def test_no_stale_shape_after_a_change(
        self, database: HostDatabase, anny: BodyModel, references, change: str
    ) -> None:
        new = references("body_left", "body_front", "body_back", "body_right")
        replace_references(database, "anna", new[:3])
        replace_references(database, "bob", new[:1])
        before = fit_shared_shape(database, "anna", anny, "rest")
        kept = fit_shared_shape(database, "bob", anny, "rest")
        back = ReferenceImage.view == "body_back"
        if change == "put":
            assert store_sets(database, [(plan_addition(database, "anna", new[3], at_most=4), None)]) == [True]
        else:
            with database.sessions.begin() as session:
                row = session.scalars(select(ReferenceImage).where(back)).one()
                if change == "add":
                    session.add(ReferenceImage(reference_set="anna", **vars(new[3])))
                elif change == "remove":
                    session.delete(row)
                elif change == "edit":
                    row.keypoints = new[3].keypoints
                elif change == "view":
                    row.view = "face"
                elif change == "core_delete":
                    session.execute(delete(ReferenceImage).where(back))
                else:
                    session.execute(update(ReferenceImage).where(back).values(keypoints=new[3].keypoints))
        with pytest.raises(NoSharedShape):
            load_shared_shape(database, "anna")
        if not change.startswith("core"):
            assert carriers(database) == []
        assert load_shared_shape(database, "bob").digest == kept.digest
        after = fit_shared_shape(database, "anna", anny, "rest")
        assert after.digest != before.digest
        assert load_shared_shape(database, "anna").digest == after.digest
        assert len(carriers(database)) == 1

    def test_a_reference_that_moves_takes_nothing_along(
        self, database: HostDatabase, anny: BodyModel, references
    ) -> None:
        replace_references(database, "anna", references("body_front", "body_back"))
        replace_references(database, "bob", references("body_left", seed=1)[:1])
        for name in ("anna", "bob"):
            fit_shared_shape(database, name, anny, "rest")
        with database.sessions.begin() as session:
            session.scalars(
                select(ReferenceImage).where(ReferenceImage.view == "body_back")
            ).one().reference_set = "bob"
            session.flush()
        assert carriers(database, "anna") == carriers(database, "bob") == []

    @pytest.mark.parametrize("change", ["added", "removed", "wiped_out"])
    def test_references_that_change_during_the_fit(
        self, database: HostDatabase, anny: BodyModel, references, monkeypatch, change: str
    ) -> None:
        new = references("body_front", "body_left", "body_back")
        replace_references(database, "anna", new[:2])
        fit, changes = shape_store.fit_references, iter([True])

        def interrupted(table, body, settings):
            fitted = fit(table, body, settings)
            if next(changes, False):
                kept = {"added": new, "removed": new[:1], "wiped_out": []}[change]
                replace_references(database, "anna", kept)
            return fitted

        monkeypatch.setattr(shape_store, "fit_references", interrupted)
        if change == "wiped_out":
            with pytest.raises(NoSharedShape, match="no body references"):
                fit_shared_shape(database, "anna", anny, "rest")
            return
        stored = fit_shared_shape(database, "anna", anny, "rest")
        assert len(stored.references) == {"added": 3, "removed": 1}[change]
        assert load_shared_shape(database, "anna").digest == stored.digest

    def test_references_that_never_rest(self, database: HostDatabase, anny: BodyModel, references, monkeypatch) -> None:
        replace_references(database, "anna", references("body_front"))
        fit, seeds = shape_store.fit_references, iter(range(1, 100))

        def interrupted(table, body, settings):
            replace_references(database, "anna", references("body_front", seed=next(seeds)))
            return fit(table, body, settings)

        monkeypatch.setattr(shape_store, "fit_references", interrupted)
        with pytest.raises(NoSharedShape, match="changed during each"):
            fit_shared_shape(database, "anna", anny, "rest")
        assert carriers(database) == []

    def test_many_writers_leave_one_true_shape(self, database: HostDatabase, anny: BodyModel, references) -> None:
        versions = [references("body_front", "body_left", seed=seed) for seed in range(6)]
        replace_references(database, "anna", versions[0])
        errors: list[Exception] = []

        def write(own: list[NewReference]) -> None:
            try:
                for _ in range(3):
                    replace_references(database, "anna", own)
                    fit_shared_shape(database, "anna", anny, "rest")
            except NoSharedShape:
                # The others were faster, five times in a row: said, not papered over.
                pass
            except Exception as error:
                errors.append(error)

        writers = [threading.Thread(target=write, args=(own,)) for own in versions]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert errors == []
        final = fit_shared_shape(database, "anna", anny, "rest")
        assert load_shared_shape(database, "anna").digest == final.digest
        assert carriers(database) == ["body_front"]
        with database.sessions() as session:
            assert len(session.scalars(select(ReferenceImage)).all()) == 2

    @pytest.mark.slow
    @pytest.mark.parametrize("moment", ["before_storing", "before_commit"])
    def test_a_crash_leaves_what_was_there(
        self,
        database: HostDatabase,
        database_url: str,  # noqa: F811
        anny: BodyModel,
        references,
        moment: str,
    ) -> None:
        replace_references(database, "anna", references("body_front", "body_left"))
        stored = fit_shared_shape(database, "anna", anny, "rest")
        script = (
            "import os, sys\n"
            "from sqlalchemy import event\n"
            "from sqlalchemy.orm import Session, sessionmaker\n"
            "from adapters.host.database import HostDatabase, fit_shared_shape, open_database, shape_store\n"
            "from engine.body.embedded import load_embedded_body\n"
            "die = lambda *_: os._exit(7)\n"
            f"if {moment!r} == 'before_storing': shape_store._store = die\n"
            "else: event.listen(Session, 'before_commit', die)\n"
            "database = HostDatabase(sessionmaker(open_database(sys.argv[1])))\n"
            "fit_shared_shape(database, 'anna', load_embedded_body(), 'rest')\n"
        )
        crashed = subprocess.run([sys.executable, "-c", script, database_url], check=False, env=os.environ.copy())
        assert crashed.returncode == 7
        assert load_shared_shape(database, "anna").digest == stored.digest

    def test_reasons_why_there_is_none(self, database: HostDatabase, anny: BodyModel, references) -> None:
        with pytest.raises(NoSharedShape, match="no fitted shape"):
            load_shared_shape(database, "anna")
        with pytest.raises(NoSharedShape, match="no body references"):
            fit_shared_shape(database, "anna", anny, "rest")
        unseen = NewReference("a.jpg", "body_front", {"keypoints": [[0, 0]] * 17, "confidence": [0] * 17})
        replace_references(database, "anna", [unseen])
        with pytest.raises(NoSharedShape, match="none of 1 references can be used"):
            fit_shared_shape(database, "anna", anny, "rest")
        replace_references(database, "anna", [NewReference("a.jpg", "body_front", {"keypoints": [[0, 0]] * 16})])
        with pytest.raises(NoSharedShape, match=r"a\.jpg: it has no confidence"):
            fit_shared_shape(database, "anna", anny, "rest")

    def test_a_damaged_row_is_told_from_a_missing_one(
        self, database: HostDatabase, anny: BodyModel, references
    ) -> None:
        replace_references(database, "anna", references("body_front"))
        fit_shared_shape(database, "anna", anny, "rest")
        with database.sessions.begin() as session:
            record = json.loads(session.scalars(select(ReferenceImage.shape_record)).one())
            del record["shape"]["references"]
            session.execute(update(ReferenceImage).values(shape_record=json.dumps(record)))
        with pytest.raises(BlobError, match="digest"):
            load_shared_shape(database, "anna")
        with database.sessions.begin() as session:
            session.execute(update(ReferenceImage).values(optimized_beta_blob=b"x" * 39))
        with pytest.raises(BlobError, match=r"39 bytes|damaged"):
            load_shared_shape(database, "anna")

    def test_any_bit_that_flips_is_noticed(self, database: HostDatabase, anny: BodyModel, references) -> None:
        """Never another β: the columns are those that were written together, or what is wrong is said."""
        replace_references(database, "anna", references("body_front", "body_left"))
        fit_shared_shape(database, "anna", anny, "rest")
        columns = (ReferenceImage.optimized_beta_blob, ReferenceImage.shape_record)
        with database.sessions() as session:
            (written,) = session.execute(select(*columns).where(columns[0].is_not(None))).all()
        generator = np.random.default_rng(0)
        for column, value in zip(columns, written, strict=True):
            content = value if isinstance(value, bytes) else value.encode()
            for place in generator.choice(8 * len(content), 40):
                flipped = bytearray(content)
                flipped[place // 8] ^= 1 << place % 8
                if isinstance(value, bytes):
                    damaged: Any = bytes(flipped)
                else:
                    damaged = flipped.decode("latin-1")
                    if "\x00" in damaged:
                        continue  # PostgreSQL takes no such text
                with database.sessions.begin() as session:
                    session.execute(update(ReferenceImage).where(columns[0].is_not(None)).values({column: damaged}))
                with pytest.raises((BlobError, NoSharedShape), match="anna"):
                    load_shared_shape(database, "anna")
            with database.sessions.begin() as session:
                session.execute(update(ReferenceImage).where(columns[0].is_not(None)).values({column: value}))
        load_shared_shape(database, "anna")

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    @pytest.mark.parametrize("column", ["optimized_beta_blob", "shape_evidence_blob", "shape_record", "keypoints"])
    @pytest.mark.parametrize("value", ["'text'", "7", "x'00ff'", "'[1'"])
    def test_a_value_of_another_type_spares_other_sets(
        self, database: HostDatabase, anny: BodyModel, references, column: str, value: str
    ) -> None:
        """SQLite keeps whatever is put into a column."""
        for name in ("anna", "bob"):
            replace_references(database, name, references("body_front"))
            fit_shared_shape(database, name, anny, "rest")
        with database.sessions.begin() as session:
            session.execute(text(f"UPDATE reference_images SET {column} = {value} WHERE reference_set = 'anna'"))
        found = load_shared_shapes(database, ["anna", "bob"])
        assert isinstance(found["anna"], BlobError | NoSharedShape)
        assert isinstance(found["bob"], Shape)

    def test_a_set_and_its_shape_are_stored_together(self, database: HostDatabase, anny: BodyModel, references) -> None:
        """Until then, the old ones are there; and a plan that others have overtaken stores nothing."""
        new = references("body_front", "body_left", "body_back")
        replace_references(database, "anna", new[:2])
        before = fit_shared_shape(database, "anna", anny, "rest")
        planned = plan_addition(database, "anna", new[2], at_most=3)
        table = reference_table([r.image for r in planned.of_body], [r.keypoints for r in planned.of_body])
        shape = fit_references(table, anny, FitSettings("all", "rest"))
        assert load_shared_shape(database, "anna").digest == before.digest
        assert store_sets(database, [(planned, shape)]) == [True]
        assert load_shared_shape(database, "anna").digest == shape.digest != before.digest
        # One that nobody has overtaken is stored all the same.
        other = PlannedSet("bob", new[:1])
        assert store_sets(database, [(planned, None), (other, None)]) == [False, True]
        assert load_shared_shape(database, "anna").digest == shape.digest
        with pytest.raises(ValueError, match="no more than 3"):
            plan_addition(database, "anna", NewReference("other.jpg", "face", []), at_most=3)


class _HostBase(DeclarativeBase):
    pass


class _HostReference(SharedShapeMixin, _HostBase):
    """A host's table, with names of its own."""

    __tablename__ = "character_pictures"

    id: Mapped[str] = mapped_column(primary_key=True)
    character_id: Mapped[int]
    image_type: Mapped[str]
    path: Mapped[str]
    pose: Mapped[Any] = mapped_column(JSON)

    reference_set = synonym("character_id")
    view = synonym("image_type")
    image = synonym("path")
    keypoints = synonym("pose")


def test_a_table_with_other_names(database_url: str, anny: BodyModel, references) -> None:  # noqa: F811
    engine = open_database(database_url)
    _HostBase.metadata.create_all(engine)
    database = HostDatabase(sessionmaker(engine), _HostReference)
    with database.sessions.begin() as session:
        session.add_all(
            _HostReference(id=f"key-{i}", character_id=7, image_type=new.view, path=new.image, pose=new.keypoints)
            for i, new in enumerate(references("body_left", "body_front"))
        )
    stored = fit_shared_shape(database, 7, anny, "rest")
    assert load_shared_shape(database, 7).digest == stored.digest
    with database.sessions.begin() as session:
        # Nothing but the key is loaded when this is flushed.
        row = session.get(_HostReference, "key-0")
        assert row is not None
        session.expire(row)
        row.pose = references("body_left", seed=5)[0].keypoints
    with pytest.raises(NoSharedShape, match="no fitted shape"):
        load_shared_shape(database, 7)
    engine.dispose()


class TestScores:
    def row(self, image: str, instance: int = 0, **values: Any) -> dict[str, Any]:
        numbers = dict.fromkeys(column.name for column in BodyScore.__table__.columns)
        return {
            **numbers, "reference_set": "anna", "image": image, "instance": instance, "status": "ok",
            "shape_digest": "d", **values,
        }  # fmt: skip

    def test_storing_twice_is_storing_once(self, database: HostDatabase) -> None:
        exact = float(np.float32(0.1))
        rows = [self.row(f"{i}.jpg", consistency=exact) for i in range(5)]
        for changed in (None, 0.5):
            rows[3]["oks"] = changed
            for _ in range(2):
                with database.sessions.begin() as session:
                    store_scores(session, BodyScore, rows)
        with database.sessions() as session:
            stored = read_scores(session, BodyScore, "anna")
        assert [row.image for row in stored] == [f"{i}.jpg" for i in range(5)]
        assert [row.oks for row in stored] == [None, None, None, 0.5, None]
        assert {row.consistency for row in stored} == {exact}

    def test_writers_of_the_same_rows_do_not_stop_each_other(self, database: HostDatabase) -> None:
        rows = [self.row(f"{i}.jpg") for i in range(200)]
        errors: list[Exception] = []

        def write(order: int) -> None:
            try:
                for _ in range(5):
                    with database.sessions.begin() as session:
                        store_scores(session, BodyScore, rows[::order])
            except Exception as error:
                errors.append(error)

        writers = [threading.Thread(target=write, args=(order,)) for order in (1, -1, 1, -1)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert errors == []
        with database.sessions() as session:
            assert len(read_scores(session, BodyScore, "anna")) == 200

    def test_pages_cover_everything_once(self, database: HostDatabase) -> None:
        rows = [self.row(f"{i}.jpg", instance) for i in range(4) for instance in range(3)]
        with database.sessions.begin() as session:
            store_scores(session, BodyScore, [*rows, self.row("z.jpg", reference_set="bob")])
        seen: list[tuple[str, int]] = []
        with database.sessions() as session:
            while page := read_scores(session, BodyScore, "anna", seen[-1] if seen else None, limit=5):
                seen += [(row.image, row.instance) for row in page]
        assert seen == [(row["image"], row["instance"]) for row in rows]


class TestMigration:
    def test_up_and_down_on_a_table_with_rows(self, database_url: str) -> None:  # noqa: F811
        engine = open_database(database_url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE reference_images (id INTEGER PRIMARY KEY, note TEXT NOT NULL)"))
            connection.execute(text("INSERT INTO reference_images VALUES (1, 'first'), (2, 'second')"))
        columns = ["id", "note"]
        new = ["optimized_beta_blob", "shape_evidence_blob", "shape_record"]

        def look() -> tuple[list[str], list[tuple[Any, ...]]]:
            with engine.connect() as connection:
                rows = connection.execute(text("SELECT id, note FROM reference_images ORDER BY id")).all()
            return [c["name"] for c in inspect(engine).get_columns("reference_images")], [tuple(row) for row in rows]

        kept = [(1, "first"), (2, "second")]
        for _ in range(2):
            upgrade(engine)
            upgrade(engine)  # nothing is left to do
            assert look() == (columns + new, kept)
            assert inspect(engine).has_table("body_scores")
            with engine.begin() as connection:
                query = text("UPDATE reference_images SET optimized_beta_blob = :blob WHERE id = 1")
                connection.execute(query, {"blob": encode_beta(BETAS)})
                blob = connection.execute(
                    text("SELECT optimized_beta_blob FROM reference_images WHERE id = 1")
                ).scalar()
            np.testing.assert_array_equal(decode_beta(blob), BETAS)
            downgrade(engine)
            assert look() == (columns, kept)
            assert not inspect(engine).has_table("body_scores")
        engine.dispose()

    def test_records_are_sealed_and_unsealed(self, database: HostDatabase, anny: BodyModel, references) -> None:
        """A shape that an earlier version stored is found after the upgrade, bit for bit."""
        replace_references(database, "anna", references("body_front"))
        stored = fit_shared_shape(database, "anna", anny, "rest")
        engine = database.sessions.kw["bind"]
        stamp(engine)
        record = select(ReferenceImage.shape_record)
        with database.sessions() as session:
            sealed = session.scalars(record).one()
        downgrade(engine, "0002")
        with database.sessions() as session:
            plain = json.loads(session.scalars(record).one() or "")
        assert plain == {**stored.record(), "references_digest": json.loads(sealed or "")["references_digest"]}
        upgrade(engine)
        with database.sessions() as session:
            assert session.scalars(record).one() == sealed
        assert load_shared_shape(database, "anna").digest == stored.digest

    def test_revisions_make_what_the_mappings_say(self, database_url: str) -> None:  # noqa: F811
        """Tables of the mappings, and those that the revisions leave behind, have the same columns."""
        engine = open_database(database_url)
        create_tables(engine)

        def columns() -> dict[str, list[tuple[str, str, bool]]]:
            return {
                table: sorted(
                    (c["name"], str(c["type"]), c["nullable"]) for c in inspect(engine).get_columns(table)
                )
                for table in ("reference_images", "body_scores")
            }  # fmt: skip

        mapped = columns()
        downgrade(engine)
        upgrade(engine)
        assert columns() == mapped
        engine.dispose()
