"""The router as an application of its own, for trying it out: SQLite, one token, this machine only."""

import secrets
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.middleware.trustedhost import TrustedHostMiddleware

from adapters.host.api.problems import install_problem_handlers
from adapters.host.api.router import Limits, make_router
from adapters.host.database import HostDatabase
from engine import VERSION
from engine.shape import Mode

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def token_authentication(token: str) -> Callable[..., None]:
    """A dependency that lets in whoever sends ``Authorization: Bearer TOKEN``."""
    bearer = HTTPBearer(auto_error=False)

    def authenticate(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        # Compared in constant time, as bytes: the function refuses text that is not ASCII.
        if given is None or not secrets.compare_digest(given.credentials.encode(), token.encode()):
            raise HTTPException(401, "the bearer token is missing or wrong", {"WWW-Authenticate": "Bearer"})

    return authenticate


def make_app(
    database: HostDatabase, smpl_model: Any, token: str, mode: Mode = "free", limits: Limits | None = None
) -> FastAPI:
    """An application with the router and nothing else.

    Browsers are kept out by the names it answers to: a page of another site cannot call it under its own name.
    """
    app = FastAPI(title="samebody", version=VERSION, license_info={"name": "Apache-2.0"})
    app.include_router(make_router(database, smpl_model, token_authentication(token), mode=mode, limits=limits))
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK_NAMES))
    install_problem_handlers(app)
    return app
