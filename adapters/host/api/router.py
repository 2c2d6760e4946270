"""The operations: set references, score pictures, read scores, health."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request

from adapters.host.api.health import health_router
from adapters.host.api.models import (
    ImageName,
    ReferenceSetState,
    RequestModels,
    ScoredPictures,
    ScorePage,
    SetName,
    View,
)
from adapters.host.api.problems import bounded_route, described
from adapters.host.api.request_body import Limits, described_json, json_body
from adapters.host.api.service import ScoreJob, Service, SetJob, person_of
from adapters.host.database import HostDatabase, NewReference, PlannedSet, plan_addition
from adapters.host.inputs import as_body
from adapters.jobs.prepared import prepare
from engine.body.schemas import COCO_17, KeypointSchema
from engine.scores import Mode

_SET = Annotated[SetName, Path(description="Whose references they are.")]
_IMAGE = Annotated[ImageName, Path(description="How the picture is called.")]
_LARGEST_INSTANCE = 2**31 - 1

PictureDetector = Callable[[bytes], Any]
"""From an encoded picture to its keypoints, in any form of ``adapters.host.inputs``; ValueError for other bytes."""


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
        database: has the ready tables, or tables made like them.
        smpl_model: see ``adapters.smpl_optimizer``.
        authenticate: a FastAPI dependency that raises HTTPException for clients without access. It is called before
            the body is read.
        schema: the keypoints that clients send.
        detect: the detector for pictures that clients send as references; without it there is no such operation.
        limit_rate: a FastAPI dependency that raises HTTPException(429, ...) if a client asks too often. It is called
            after ``authenticate`` and before the body is read.
    """
    limits = limits or Limits()
    body = as_body(smpl_model)
    service = Service(database, body, schema, mode)
    requests = RequestModels(prepare(body, schema).reduced, schema, limits.references, limits.pictures)
    router = APIRouter(
        tags=["samebody"],
        route_class=bounded_route(limits.body_bytes, limits.body_seconds, service.turns),
        dependencies=[Depends(each) for each in (authenticate, limit_rate) if each is not None],
        responses=described(400, 401, 403, 408, 413, 422, 429, 503),
    )
    References = Annotated[Any, Depends(json_body(requests.references))]
    Pictures = Annotated[Any, Depends(json_body(requests.pictures))]

    @router.put(
        "/reference-sets/{reference_set}",
        summary="Set all references of a person",
        openapi_extra=described_json(requests.references),
        responses=described(409, 415),
    )
    async def set_references(request: Request, reference_set: _SET, body: References) -> ReferenceSetState:  # pyright: ignore[reportInvalidTypeForm]
        """Fits one shape to them and stores both in place of what was there, which is served until then."""
        new = [
            NewReference(image, reference.view, reference.model_dump(include={"keypoints", "confidence"}))
            for image, reference in body.references.items()
        ]
        return await service.set_references(request, SetJob(lambda: PlannedSet(reference_set, new), len(new)))

    @router.get("/reference-sets/{reference_set}", summary="Read a reference set", responses=described(404))
    async def read_reference_set(request: Request, reference_set: _SET) -> ReferenceSetState:
        return await service.read(request, lambda: service.look(reference_set))

    @router.post(
        "/reference-sets/{reference_set}/scores",
        summary="Score pictures",
        openapi_extra=described_json(requests.pictures),
        responses=described(409, 415),
    )
    async def score_pictures(request: Request, reference_set: _SET, body: Pictures) -> ScoredPictures:  # pyright: ignore[reportInvalidTypeForm]
        """Compares everybody in all pictures with the set's shape and stores the rows; a picture that was scored
        before gets new rows."""
        people = [[vars(person) for person in found] for found in body.pictures.values()]
        return await service.score(request, ScoreJob(reference_set, list(body.pictures), people))

    @router.get("/reference-sets/{reference_set}/scores", summary="Read stored scores")
    async def stored_scores(
        request: Request,
        reference_set: _SET,
        limit: Annotated[int, Query(ge=1, le=limits.rows)] = limits.rows,
        after_image: Annotated[ImageName | None, Query()] = None,
        after_instance: Annotated[int, Query(ge=-1, le=_LARGEST_INSTANCE)] = _LARGEST_INSTANCE,
    ) -> ScorePage:
        """Returns rows in the order of picture and person, page by page."""
        after = None if after_image is None else (after_image, after_instance)
        return await service.read(request, lambda: service.page(reference_set, after, limit))

    if detect is not None:
        router.include_router(_picture_router(service, detect, schema, limits))

    whole = APIRouter()
    whole.include_router(router)
    whole.include_router(health_router(database, body.name, schema.name, mode))
    return whole


def _picture_router(service: Service, detect: PictureDetector, schema: KeypointSchema, limits: Limits) -> APIRouter:
    picture_route = bounded_route(limits.picture_bytes, limits.body_seconds, service.turns)
    router = APIRouter(route_class=picture_route, responses=described(409))
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
        try:
            person = await service.read(request, lambda: person_of(detect(encoded), schema))
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        new = NewReference(image, view, person)
        plan = partial(plan_addition, service.database, reference_set, new, limits.references)
        return await service.set_references(request, SetJob(plan, limits.references))

    return router
