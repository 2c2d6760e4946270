"""The work of the operations: fits sets and scores pictures of all waiting clients together (``gathering``)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import HTTPException
from pydantic import ValidationError
from sqlalchemy import select
from starlette.requests import Request

from adapters.host.api.gathering import Gathered
from adapters.host.api.models import (
    FittedShape,
    NextPage,
    ReferenceSetState,
    ReferenceState,
    ScoredPictures,
    ScorePage,
    ScoreRow,
    StoredScore,
)
from adapters.host.api.request_body import while_wanted
from adapters.host.api.turns import Turns
from adapters.host.database import (
    BlobError,
    HostDatabase,
    NewReference,
    NoSharedShape,
    PlannedSet,
    load_shared_shape,
    load_shared_shapes,
    read_scores,
    store_sets,
)
from adapters.host.database.score_store import score_rows, store_scores
from adapters.host.inputs import keypoint_table, reference_table
from adapters.jobs.fit import FitSettings, fit_each
from adapters.jobs.score_each import score_each
from adapters.keypoints.table import KeypointTable
from engine.body.model import BodyModel
from engine.body.schemas import KeypointSchema
from engine.scores import Mode, Status
from engine.shape import Shape, ShapeFileError

THREADS = 4
"""Threads that read. Together with those that write and check they are fewer than SQLite's connections
(``database.connect``)."""

_PICTURES_PER_CHUNK: dict[Mode, int] = {"free": 1024, "rest": 16384}
_REFERENCES_PER_CHUNK: dict[Mode, int] = {"free": 64, "rest": 1024}
"""Bound of one batch, for which others wait; it takes some seconds to half a minute."""
_ATTEMPTS = 5

T = TypeVar("T")

Plan = Callable[[], PlannedSet]
"""Computes the new references of a set from its present ones; raises ValueError to refuse."""


@dataclass(frozen=True)
class SetJob:
    """A reference set to be fitted and stored."""

    plan: Plan
    references: int
    """About how many."""


@dataclass(frozen=True)
class ScoreJob:
    """Pictures to be scored against the shape of a set."""

    reference_set: str
    images: Sequence[str]
    people: Sequence[Sequence[Any]]
    """The people in each picture."""

    @property
    def rows(self) -> int:
        return sum(max(len(found), 1) for found in self.people)


class Service:
    """The work behind the HTTP interface; safe for use by many threads."""

    def __init__(self, database: HostDatabase, body: BodyModel, schema: KeypointSchema, mode: Mode) -> None:
        self.database = database
        self._body, self._schema = body, schema
        self._settings = FitSettings("all", mode)
        self._readers = CapacityLimiter(THREADS)
        self.turns = Turns()
        self._sets = Gathered(self._set_together, lambda job: job.references, _REFERENCES_PER_CHUNK[mode])
        self._scores = Gathered(self._score_together, lambda job: job.rows, _PICTURES_PER_CHUNK[mode])

    async def read(self, request: Request, work: Callable[[], T]) -> T:
        """Work in one of a few threads; never begun if its client goes away first."""
        return await self._answer(request, to_thread.run_sync(work, limiter=self._readers))

    async def set_references(self, request: Request, job: SetJob) -> ReferenceSetState:
        """Fit a set and store it with its shape; without a shape, the state holds the reason."""
        return await self._answer(request, asyncio.wrap_future(self._sets.submit(job)))

    async def score(self, request: Request, job: ScoreJob) -> ScoredPictures:
        """Score pictures and store the rows."""
        return await self._answer(request, asyncio.wrap_future(self._scores.submit(job)))

    async def _answer(self, request: Request, work: Awaitable[T]) -> T:
        found = await while_wanted(request, work)
        await self.turns.take()
        return found

    def _set_together(self, jobs: list[SetJob]) -> list[ReferenceSetState | Exception]:
        answers: dict[int, ReferenceSetState | Exception] = {}
        for _ in range(_ATTEMPTS):
            planned: dict[int, PlannedSet] = {}
            for number, job in enumerate(jobs):
                if number not in answers:
                    try:
                        planned[number] = job.plan()
                    except BlobError as error:
                        answers[number] = error
                    except ValueError as error:
                        answers[number] = HTTPException(422, str(error))
            fitted = list(zip(planned.values(), self._fit(list(planned.values())), strict=True))
            with_shapes = [(plan, shape if isinstance(shape, Shape) else None) for plan, shape in fitted]
            stored = store_sets(self.database, with_shapes)
            for number, (plan, shape), is_stored in zip(planned, fitted, stored, strict=True):
                if is_stored:
                    answers[number] = set_state(plan, shape)
            if len(answers) == len(jobs):
                break
        changed = HTTPException(409, "others changed the set at the same time; try again", {"Retry-After": "1"})
        return [answers.get(number, changed) for number in range(len(jobs))]

    def _fit(self, planned: Sequence[PlannedSet]) -> list[Shape | ValueError]:
        results: list[Any] = []
        for plan in planned:
            own = plan.of_body
            try:
                if not own:
                    raise ValueError("there are no body references; set some")
                results.append(reference_table([r.image for r in own], [r.keypoints for r in own], self._schema))
            except ValueError as error:
                results.append(error)
        tables = [number for number, found in enumerate(results) if isinstance(found, KeypointTable)]
        shapes = fit_each([results[number] for number in tables], self._body, self._settings)
        for number, shape in zip(tables, shapes, strict=True):
            results[number] = shape
        return results

    def _score_together(self, jobs: list[ScoreJob]) -> list[ScoredPictures | Exception]:
        loaded = load_shared_shapes(self.database, {job.reference_set for job in jobs})
        answers: list[Any] = [self._usable(loaded[job.reference_set]) for job in jobs]
        chosen = [number for number, found in enumerate(answers) if isinstance(found, Shape)]
        tables = [keypoint_table(jobs[number].images, jobs[number].people, self._schema) for number in chosen]
        scored = score_each(self._body, self._schema, tables, [answers[number] for number in chosen])
        for number, scores in zip(chosen, scored, strict=True):
            answers[number] = score_rows(jobs[number].reference_set, answers[number].digest, scores)
        with self.database.sessions.begin() as session:
            rows = [row for number in chosen for row in answers[number]]
            store_scores(session, self.database.scores, rows)
        for number in chosen:
            rows = [ScoreRow(**{name: row[name] for name in ScoreRow.model_fields}) for row in answers[number]]
            answers[number] = ScoredPictures(shape_digest=answers[number][0]["shape_digest"], rows=rows)
        return answers

    def _usable(self, found: Shape | Exception) -> Shape | Exception:
        if isinstance(found, Shape) and found.body_fingerprint != self._body.fingerprint:
            return ShapeFileError(f"the set was fitted with body {found.body_name!r}; set its references again")
        return found

    def look(self, reference_set: str) -> ReferenceSetState:
        """A set as it is stored.

        Raises:
            HTTPException: 404, the set does not exist.
        """
        table = self.database.references
        query = select(table.image, table.view).where(table.reference_set == reference_set).order_by(table.id)
        with self.database.sessions() as session:
            rows = session.execute(query).all()
        if not rows:
            raise HTTPException(404, f"there is no reference set {reference_set}")
        found = load_shared_shapes(self.database, [reference_set])[reference_set]
        references = [NewReference(row.image, row.view, None) for row in rows]
        return set_state(PlannedSet(reference_set, references), self._usable(found))

    def page(self, reference_set: str, after: tuple[str, int] | None, limit: int) -> ScorePage:
        """Stored rows in the order of picture and person.

        Raises:
            BlobError: a row is damaged.
        """
        with self.database.sessions() as session:
            found = read_scores(session, self.database.scores, reference_set, after, limit + 1)
        try:
            digest = load_shared_shape(self.database, reference_set).digest
        except (NoSharedShape, BlobError):
            digest = None
        page = found[:limit]
        rows = [_stored_score(reference_set, row, digest) for row in page]
        more = NextPage(after_image=page[-1].image, after_instance=page[-1].instance) if len(found) > limit else None
        return ScorePage(rows=rows, next=more)


def _stored_score(reference_set: str, row: Any, digest: str | None) -> StoredScore:
    try:
        return StoredScore(**ScoreRow.model_validate(row).model_dump(), current=row.shape_digest == digest)
    except ValidationError as error:
        columns = ", ".join(sorted({str(item["loc"][0]) for item in error.errors()}))
        raise BlobError(
            f"a stored score of {reference_set} is damaged ({columns} of image {row.image!r:.200}); score it again"
        ) from None


def set_state(planned: PlannedSet, found: Shape | Exception) -> ReferenceSetState:
    """A set for clients.

    Args:
        found: its shape, or the reason why there is none.
    """
    shape = found if isinstance(found, Shape) else None
    fitted = {} if shape is None else {reference.image: reference for reference in shape.references}
    return ReferenceSetState(
        reference_set=planned.reference_set,
        references=[
            ReferenceState(
                image=reference.image,
                view=reference.view,
                used=reference.image in fitted and fitted[reference.image].used,
                reprojection_error=fitted[reference.image].reprojection_error if reference.image in fitted else None,
            )
            for reference in planned.references
        ],
        shape=None if shape is None else _shown(shape),
        reason=None if shape is not None else str(found),
    )


def _shown(shape: Shape) -> FittedShape:
    return FittedShape(
        betas=shape.betas.tolist(),
        body=shape.body_name,
        mode=shape.mode,
        keypoint_schema=shape.schema,
        converged=shape.converged,
        references_used=shape.used_references,
        digest=shape.digest,
    )


def person_of(found: Any, schema: KeypointSchema) -> dict[str, Any]:
    """The one person that a detector found, for JSON.

    Raises:
        ValueError: the detector found nobody or several people, or the picture cannot be read.
    """
    table = reference_table(["the picture"], [found], schema)
    if table.status[0] != Status.OK:
        raise ValueError("nobody was found in the picture")
    return {"keypoints": table.keypoints[0].tolist(), "confidence": table.confidence[0].tolist()}
