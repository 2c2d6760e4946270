"""samebody over HTTP, as a router for the host's FastAPI application (extra ``api``).

    app.include_router(make_router(database, smpl_model, authenticate), prefix="/samebody")

``authenticate`` is a dependency of the host's. It has no default, and only the health check works without it. Errors
are problem details (RFC 9457). Names of pictures and of reference sets are labels: nothing from outside is ever opened
as a file. ``standalone`` makes an application for trying it out.
"""

from adapters.host.api.problems import Problem, install_problem_handlers
from adapters.host.api.request_body import Limits
from adapters.host.api.router import make_router

__all__ = ["Limits", "Problem", "install_problem_handlers", "make_router"]
