"""Static files, as browsers ask for them."""

from __future__ import annotations

from flask import Response, request

from orchestrator.api.dashboard.assets import assets, digest
from orchestrator.api.dashboard.pages import routes
from orchestrator.errors import NotFoundError

_FOR_EVER = "public, max-age=31536000, immutable"


@routes.open("/static/<version>/<name>")
def static_file(version: str, name: str) -> Response:
    """Answer with a file; under another version's path it is the present one, and not kept."""
    asset = assets().get(name)
    if asset is None:
        raise NotFoundError(f"there is no file {name[:100]}")
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    answer = Response(asset.packed if packed else asset.body, content_type=asset.kind)
    answer.headers["Cache-Control"] = _FOR_EVER if version == digest() else "no-cache"
    answer.headers["Vary"] = "Accept-Encoding"
    if packed:
        answer.headers["Content-Encoding"] = "gzip"
    return answer


@routes.open("/favicon.ico")
def favicon() -> Response:
    """The sign of the dashboard; browsers ask for it here by themselves."""
    return Response(assets()["favicon.svg"].body, content_type="image/svg+xml")
