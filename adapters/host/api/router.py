"""The operations: set references, score pictures, read scores, health."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from sqlalchemy import select

from adapters.batch_processor import BatchProcessor
from adapters.host.api.health import health_router
from adapters.host.api.models import (
    FittedShape,
    ImageName,
    NextPage,
    ReferenceSetState,
    ReferenceState,
    RequestModels,
    ScoredPictures,
    ScorePage,
    ScoreRow,
    SetName,
    StoredScore,
    View,
)
from adapters.host.api.problems import bounded_route, described
from adapters.host.api.request_body import Limits, described_json, json_body, while_wanted
from adapters.host.database import (
    BlobError,
    HostDatabase,
    NewReference,
    NoSharedShape,
    fit_shared_shape,
    load_shared_shape,
    put_reference,
    read_scores,
    replace_references,
)
from adapters.host.inputs import as_body, reference_table
from adapters.jobs.prepared import PreparedBody, prepare
from engine.body.schemas import COCO_17, KeypointSchema
from engine.scores import Mode, Status
from engine.shape import Shape, ShapeFileError

_SET = Annotated[SetName, Path(description="Whose references they are.")]
_IMAGE = Annotated[ImageName, Path(description="How the picture is called.")]
_LARGEST_INSTANCE = 2**31 - 1
_THREADS = 6
"""Fewer than SQLite's connections (``database.connect``), so that health always finds one."""

T = TypeVar("T")

PictureDetector = Callable[[bytes], Any]
"""From an encoded picture to the keypoints in it, in any form of ``adapters.host.inputs``; ValueError if it is none."""


@dataclass(frozen=True)
class _Service:
    """What the operations share."""

    database: HostDatabase
    prepared: PreparedBody
    schema: KeypointSchema
    mode: Mode
    threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(_THREADS))

    async def run(self, request: Request, work: Callable[[], T]) -> T:
        """Work in one of a few threads; never begun if its client goes away first."""
        return await while_wanted(request, to_thread.run_sync(work, limiter=self.threads))

    def fit(self, reference_set: str) -> ReferenceSetState:
        """Fit after references were set. They are stored either way; without a shape the state says why."""
        try:
            shape = fit_shared_shape(self.database, reference_set, self.prepared.body, self.mode, self.schema)
        except NoSharedShape as error:
            return self.state(reference_set, None, str(error))
        return self.state(reference_set, shape, None)

    def person(self, found: Any) -> dict[str, Any]:
        """The one person that a detector found, for JSON."""
        table = reference_table(["the picture"], [found], self.schema)
        if table.status[0] != Status.OK:
            raise ValueError("nobody was found in the picture")
        return {"keypoints": table.keypoints[0].tolist(), "confidence": table.confidence[0].tolist()}

    def look(self, reference_set: str) -> ReferenceSetState:
        try:
            shape = self.load(reference_set)
        except (NoSharedShape, BlobError, ShapeFileError) as error:
            return self.state(reference_set, None, str(error))
        return self.state(reference_set, shape, None)

    def load(self, reference_set: str) -> Shape:
        shape = load_shared_shape(self.database, reference_set)
        shape.check_body(self.prepared.reduced, self.prepared.body.fingerprint)
        return shape

    def state(self, reference_set: str, shape: Shape | None, reason: str | None) -> ReferenceSetState:
        table = self.database.references
        query = select(table.image, table.view).where(table.reference_set == reference_set).order_by(table.id)
        with self.database.sessions() as session:
            rows = session.execute(query).all()
        if not rows:
            raise HTTPException(404, f"there is no reference set {reference_set}")
        fitted = {} if shape is None else {reference.image: reference for reference in shape.references}
        return ReferenceSetState(
            reference_set=reference_set,
            references=[
                ReferenceState(
                    image=row.image,
                    view=row.view,
                    used=row.image in fitted and fitted[row.image].used,
                    reprojection_error=fitted[row.image].reprojection_error if row.image in fitted else None,
                )
                for row in rows
            ],
            shape=None if shape is None else _shown(shape),
            reason=reason,
        )

    def page(self, reference_set: str, after: tuple[str, int] | None, limit: int) -> ScorePage:
        with self.database.sessions() as session:
            found = read_scores(session, self.database.scores, reference_set, after, limit + 1)
        try:
            digest = load_shared_shape(self.database, reference_set).digest
        except (NoSharedShape, BlobError):
            digest = None
        page = found[:limit]
        rows = [
            StoredScore(**ScoreRow.model_validate(row).model_dump(), current=row.shape_digest == digest) for row in page
        ]
        more = NextPage(after_image=page[-1].image, after_instance=page[-1].instance) if len(found) > limit else None
        return ScorePage(rows=rows, next=more)


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


def make_router(
    database: HostDatabase,
    smpl_model: Any,
    authenticate: Callable[..., Any],
    *,
    mode: Mode = "free",
    schema: KeypointSchema = COCO_17,
    limits: Limits | None = None,
    detect: PictureDetector | None = None,
    limit_rate: Callable[..., Any] | None = None,
) -> APIRouter:
    """A router for a FastAPI application.

    Args:
        database: with the ready tables, or tables made like them.
        smpl_model: see ``adapters.smpl_optimizer``.
        authenticate: a FastAPI dependency that raises HTTPException where a client may not come in. It is called before
            the body is read.
        schema: the keypoints that clients send.
        detect: with it clients may send pictures as references; without it there is no such operation.
        limit_rate: a FastAPI dependency that raises HTTPException(429, ...) where a client asks too often. It is called
            after ``authenticate`` and before the body is read.
    """
    limits = limits or Limits()
    prepared = prepare(as_body(smpl_model), schema)
    service = _Service(database, prepared, schema, mode)
    requests = RequestModels(prepared.reduced, schema, limits.references, limits.pictures)
    processor = BatchProcessor(database, prepared.body, schema)
    router = APIRouter(
        tags=["samebody"],
        route_class=bounded_route(limits.body_bytes, limits.body_seconds),
        dependencies=[Depends(each) for each in (authenticate, limit_rate) if each is not None],
        responses=described(400, 401, 403, 408, 413, 422, 429, 503),
    )
    References = Annotated[Any, Depends(json_body(requests.references))]
    Pictures = Annotated[Any, Depends(json_body(requests.pictures))]

    @router.put(
        "/reference-sets/{reference_set}",
        summary="Set all references of a person",
        openapi_extra=described_json(requests.references),
        responses=described(415),
    )
    async def set_references(request: Request, reference_set: _SET, body: References) -> ReferenceSetState:  # pyright: ignore[reportInvalidTypeForm]
        """Replaces those that were there, fits one shape to them and stores it."""
        new = [
            NewReference(image, reference.view, reference.model_dump(include={"keypoints", "confidence"}))
            for image, reference in body.references.items()
        ]

        def replace() -> ReferenceSetState:
            replace_references(database, reference_set, new)
            return service.fit(reference_set)

        return await service.run(request, replace)

    @router.get("/reference-sets/{reference_set}", summary="Read a reference set", responses=described(404))
    async def read_reference_set(request: Request, reference_set: _SET) -> ReferenceSetState:
        return await service.run(request, lambda: service.look(reference_set))

    @router.post(
        "/reference-sets/{reference_set}/scores",
        summary="Score pictures",
        openapi_extra=described_json(requests.pictures),
        responses=described(409, 415),
    )
    async def score_pictures(request: Request, reference_set: _SET, body: Pictures) -> ScoredPictures:  # pyright: ignore[reportInvalidTypeForm]
        """Compares everybody in all pictures with the set's shape and stores the rows; a picture that was scored
        before gets new rows."""

        def score() -> ScoredPictures:
            images = list(body.pictures)
            people = [[person.model_dump() for person in found] for found in body.pictures.values()]
            try:
                result = processor.process(reference_set, images, people)
            except (NoSharedShape, BlobError, ShapeFileError) as error:
                raise HTTPException(409, str(error)) from error
            return ScoredPictures(
                shape_digest=str(result.rows[0]["shape_digest"]), rows=[ScoreRow(**_row(row)) for row in result.rows]
            )

        return await service.run(request, score)

    @router.get("/reference-sets/{reference_set}/scores", summary="Read stored scores")
    async def stored_scores(
        request: Request,
        reference_set: _SET,
        limit: Annotated[int, Query(ge=1, le=limits.rows)] = limits.rows,
        after_image: Annotated[ImageName | None, Query()] = None,
        after_instance: Annotated[int, Query(ge=-1, le=_LARGEST_INSTANCE)] = _LARGEST_INSTANCE,
    ) -> ScorePage:
        """In the order of picture and person, page by page."""
        after = None if after_image is None else (after_image, after_instance)
        return await service.run(request, lambda: service.page(reference_set, after, limit))

    if detect is not None:
        router.include_router(_picture_router(service, detect, limits))

    whole = APIRouter()
    whole.include_router(router)
    whole.include_router(health_router(database, prepared.body.name, schema.name, mode))
    return whole


def _row(row: Any) -> dict[str, Any]:
    return {name: row[name] for name in ScoreRow.model_fields}


def _picture_router(service: _Service, detect: PictureDetector, limits: Limits) -> APIRouter:
    router = APIRouter(route_class=bounded_route(limits.picture_bytes, limits.body_seconds))
    binary = {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}, "required": True}

    @router.put(
        "/reference-sets/{reference_set}/references/{image}",
        summary="Set one reference from a picture",
        openapi_extra={"requestBody": binary},
    )
    async def set_reference_picture(
        request: Request, reference_set: _SET, image: _IMAGE, view: Annotated[View, Query()]
    ) -> ReferenceSetState:
        """Adds a reference, or replaces the one of that name, and fits anew. The picture itself is not kept."""
        encoded = await request.body()

        def add() -> ReferenceSetState:
            person = service.person(detect(encoded))
            put_reference(service.database, reference_set, NewReference(image, view, person), limits.references)
            return service.fit(reference_set)

        try:
            return await service.run(request, add)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    return router
