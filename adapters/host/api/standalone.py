"""The router as an application of its own, for trying it out: SQLite, one token, this machine only."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.host.api.problems import install_problem_handlers
from adapters.host.api.request_body import Limits
from adapters.host.api.router import make_router
from adapters.host.database import HostDatabase
from engine import VERSION
from engine.scores import Mode

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}
"""Browsers load nothing from elsewhere; the page at /docs contains its start script and its styles."""


class SecureHeaders:
    """Adds headers that restrict browsers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def token_authentication(token: str) -> Callable[..., Awaitable[None]]:
    """A dependency that admits clients that send ``Authorization: Bearer TOKEN``.

    It is asynchronous because it never waits: FastAPI calls other functions in threads, which takes longer than this.
    """
    bearer = HTTPBearer(auto_error=False)

    async def authenticate(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        # Compared in constant time, as bytes: the function refuses text that is not ASCII.
        if given is None or not secrets.compare_digest(given.credentials.encode(), token.encode()):
            raise HTTPException(401, "the bearer token is missing or wrong", {"WWW-Authenticate": "Bearer"})

    return authenticate


def make_app(
    database: HostDatabase, smpl_model: Any, token: str, mode: Mode = "free", limits: Limits | None = None
) -> FastAPI:
    """An application with the router and nothing else.

    It answers only under local names, so a page of another site cannot call it under that site's name.
    """
    # The page at /docs comes with its scripts; the usual one loads them from elsewhere.
    app = FastAPIOffline(redoc_url=None, title="samebody", version=VERSION, license_info={"name": "Apache-2.0"})
    app.include_router(make_router(database, smpl_model, token_authentication(token), mode=mode, limits=limits))
    app.add_middleware(SecureHeaders)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK_NAMES))
    install_problem_handlers(app)
    return app
