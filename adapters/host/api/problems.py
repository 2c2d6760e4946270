"""Errors as problem details (RFC 9457).

They are made in the route class, so that a host that includes the router keeps its own error handlers.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError, TimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from adapters.host.api.request_body import BoundedRequest
from adapters.host.api.turns import Turns
from adapters.host.database import BlobError, NoSharedShape
from engine.shape import ShapeFileError

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS = 10
_log = logging.getLogger(__name__)


class FieldError(BaseModel):
    """One error of a request."""

    location: str = Field(examples=["body.pictures.a.jpg.0.keypoints"])
    message: str = Field(examples=["List should have at least 17 items after validation, not 16"])


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["the request does not have the form that the API describes"])
    errors: list[FieldError] | None = None
    """The first errors of the request's form, if that is the problem."""


def problem(
    status: int, detail: str, errors: list[FieldError] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """A response with problem details."""
    content = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors)
    return JSONResponse(content.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems that an operation may answer with, for its OpenAPI description."""
    schema = Problem.model_json_schema()
    schema["properties"]["errors"]["anyOf"][0]["items"] = FieldError.model_json_schema()
    del schema["$defs"]
    content = {MEDIA_TYPE: {"schema": schema}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def answer(error: Exception) -> Response | None:
    """The response to an error that is not a bug; None for others."""
    match error:
        case RequestValidationError():
            found = [
                FieldError(location=_text(".".join(str(part) for part in item["loc"])), message=_text(item["msg"]))
                for item in error.errors()[:_MOST_ERRORS]
            ]
            return problem(422, "the request does not have the form that the API describes", found)
        case HTTPException():
            return problem(error.status_code, str(error.detail), headers=error.headers)
        case NoSharedShape() | ShapeFileError():
            return problem(409, str(error))
        case BlobError():
            return problem(503, str(error))
        case IntegrityError():
            return problem(409, "somebody else wrote the same at the same time; try again")
        case OperationalError() | TimeoutError():
            _log.error("the database does not answer: %s", _cause(error))
            return problem(503, "the database does not answer; try again later", headers={"Retry-After": "5"})
        case DBAPIError():
            _log.error("the database cannot be used: %s", _cause(error))
            return problem(503, "the database is damaged, or its tables are not those of this version")
    return None


def _cause(error: SQLAlchemyError) -> str:
    """The driver's words, without the statement and its parameters, which are the user's."""
    return _text(str(getattr(error, "orig", None) or type(error).__name__))


def _text(words: str) -> str:
    """The text shortened and without halves of surrogate pairs, which JSON can hold and UTF-8 cannot express."""
    return words[:300].encode("utf-8", "replace").decode()


def bounded_route(most_bytes: int, seconds: float, turns: Turns | None = None) -> type[APIRoute]:
    """A route class that bounds the bodies of its requests and answers errors with problem details.

    Args:
        turns: the turns that requests take before they are read; by default they are read at once.
    """

    class BoundedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # pyright: ignore[reportIncompatibleMethodOverride]
            handle = super().get_route_handler()

            async def handle_bounded(request: Request) -> Response:
                bounded = BoundedRequest(request, most_bytes, seconds)
                if turns is not None:
                    await turns.take()
                try:
                    response = await handle(bounded)
                except ClientDisconnect:
                    return Response(status_code=400)  # nobody reads it
                except Exception as error:
                    found = answer(error)
                    if found is None:
                        raise
                    response = found
                if bounded.much_left:
                    response.headers["Connection"] = "close"
                return response

            return handle_bounded

    return BoundedRoute


def install_problem_handlers(app: FastAPI) -> None:
    """Problem details for the whole application: unknown paths and methods too."""

    async def handle(request: Request, error: Exception) -> Response:
        response = answer(error)
        assert response is not None
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # Starlette names the methods of one route; a path may have several.
            response.headers["Allow"] = ", ".join(_methods(app, request.url.path))
        return response

    app.add_exception_handler(HTTPException, handle)
    app.add_exception_handler(RequestValidationError, handle)


def _methods(app: FastAPI, path: str) -> list[str]:
    described_paths: dict[str, dict[str, Any]] = app.openapi().get("paths", {})
    return sorted(
        method.upper()
        for template, operations in described_paths.items()
        if compile_path(template)[0].match(path)
        for method in operations
    )
