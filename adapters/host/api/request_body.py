"""Bodies of requests are read after authentication, within bounds of bytes and time, and then checked.

FastAPI reads a declared body before it calls any dependency, so operations do not declare theirs. They depend on
``json_body``, which comes after the router's own dependencies, and describe it with ``described_json``.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

_JSON = "application/json"
_CHUNK_BYTES = 64 << 10
"""Bytes of JSON that are checked on the event loop; larger bodies take milliseconds and go to a thread."""

_THROWN_AWAY = 64 << 20
"""Bytes of a refused body that are read, so that its client can read the reason; then the connection is closed."""

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Limits of one request."""

    body_bytes: int = 4 << 20
    picture_bytes: int = 20 << 20
    """Bytes of an encoded picture, if pictures are accepted."""
    body_seconds: float = 30.0
    """Time for a body to arrive."""
    references: int = 64
    """References in one set."""
    pictures: int = 1000
    rows: int = 1000
    """Rows in one page of results."""


class BoundedRequest(Request):
    """A request whose body is refused beyond a size or a time, for every reader."""

    def __init__(self, request: Request, most_bytes: int, seconds: float) -> None:
        super().__init__(request.scope, self._receive_bounded)
        self._receive_next = request.receive
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._deadline: float | None = None
        self._total = 0
        self._at_end = not {"content-length", "transfer-encoding"} & set(request.headers)

    @property
    def much_left(self) -> bool:
        """True if the client has, or may have, more to send than a server would read and discard."""
        if self._at_end:
            return False
        announced = self._announced()
        return announced is None or announced > _THROWN_AWAY

    async def _receive_bounded(self) -> Any:
        if self._at_end:
            return await self._receive_next()
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + self._seconds
            self._check_announced()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive_next()
        except TimeoutError:
            raise HTTPException(408, f"the body did not arrive within {self._seconds:g} s") from None
        self._total += len(message.get("body", b""))
        if self._total > self._most_bytes:
            raise self._too_large()
        self._at_end = not message.get("more_body", False)
        return message

    def _announced(self) -> int | None:
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None

    def _check_announced(self) -> None:
        announced = self._announced()
        if announced is None and "content-length" in self.headers:
            raise self._too_large()
        if announced is not None and announced > self._most_bytes:
            raise self._too_large()

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the body is larger than {self._most_bytes} bytes")


async def while_wanted(request: Request, work: Awaitable[T]) -> T:
    """The result of some work. The work is cancelled if the client disconnects after its request was read.

    Raises:
        ClientDisconnect: the client disconnected.
    """
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            raise ClientDisconnect
        return working.result()
    finally:
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def json_body(model: type[BaseModel]) -> Callable[[Request], Awaitable[Any]]:
    """A dependency that reads the body of a request as JSON and gives an instance of the model.

    Raises:
        HTTPException: 415, the content type is not JSON.
        RequestValidationError: the body is not JSON, or does not have the model's form.
    """

    def check(content: bytes) -> BaseModel:
        try:
            return model.model_validate_json(content)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in found]) from None

    async def read(request: Request) -> Any:
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != _JSON:
            raise HTTPException(415, f"the body must be JSON; send Content-Type: {_JSON}")
        content = await request.body()
        if len(content) <= _CHUNK_BYTES:
            return check(content)
        return await run_in_threadpool(check, content)

    return read


def described_json(model: type[BaseModel]) -> dict[str, Any]:
    """The description of such a body, for ``openapi_extra``."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})
    return {"requestBody": {"content": {_JSON: {"schema": _inlined(schema, parts)}}, "required": True}}


def _inlined(schema: Any, parts: dict[str, Any]) -> Any:
    """A schema without references, which would be looked up in the description of the whole API."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inlined(parts[schema["$ref"].rsplit("/", 1)[1]], parts)
        return {name: _inlined(value, parts) for name, value in schema.items()}
    return [_inlined(value, parts) for value in schema] if isinstance(schema, list) else schema
