"""What tools may ask for and this server does not have: it says so in their shape."""

from __future__ import annotations

from flask import Response

from orchestrator.api.access import needs
from orchestrator.api.routing import Group, blueprint
from orchestrator.api.v2.shapes import ErrorsShape
from orchestrator.core.scope import Scope
from orchestrator.errors import RequestError

routes = blueprint("not served (v2)", "What other servers of this API have and this one has not.", ErrorsShape)

_MISSING = (
    ("POST", "/v2/envs", Scope.ADMIN, "environments: this server has one"),
    ("PATCH", "/v2/envs/<env_id>", Scope.ADMIN, "environments: this server has one, and its name stays"),
    ("GET", "/v2/env/webhooks", Scope.READ, "webhooks"),
    ("POST", "/v2/env/webhooks", Scope.ADMIN, "webhooks"),
    ("GET", "/v2/partner/accounts", Scope.ADMIN, "partner accounts"),
    ("POST", "/v2/partner/accounts", Scope.ADMIN, "partner accounts"),
    ("POST", "/v2/insights/query", Scope.READ, "insights"),
    ("GET", "/v2/experiments", Scope.READ, "experiments"),
    ("GET", "/v2/sessions", Scope.READ, "sessions"),
    ("POST", "/v2/runs/<ulid:run_id>/scores", Scope.WRITE, "scores"),
)


class NotServedError(RequestError):
    """This server does not have that."""

    status = 501
    code = "not_implemented"


def _declare(group: Group, method: str, path: str, scope: Scope, what: str) -> None:
    @needs(scope)
    @group.alt_response(501, schema=ErrorsShape, description="This server does not have it")
    def refuse(**_: object) -> Response:
        raise NotServedError(f"not served here: {what}")

    refuse.__doc__ = f"Not served here: {what}."
    name = f"{method.lower()}_{path.removeprefix('/v2/').replace('/', '_').replace('<', '').replace('>', '')}"
    group.add_url_rule(path, name.replace(":", "_"), refuse, methods=[method])


for _row in _MISSING:
    _declare(routes, *_row)
