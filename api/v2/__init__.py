"""The second generation of the REST API, at /v2 and /api/v2, in the shapes that tools for Inngest expect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestrator.api.v2 import account, apps, events, missing, runs

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

GROUPS = (account.routes, runs.routes, apps.routes, events.routes, missing.routes)

_OTHER = "/api/v2/"


def unprefixed(app: WSGIApplication) -> WSGIApplication:
    """Serve at /api/v2 what the app serves at /v2."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").startswith(_OTHER):
            environ = environ | {"PATH_INFO": environ["PATH_INFO"].removeprefix("/api")}
        return app(environ, start_response)

    return answer
