"""Where the pages are served; everybody may read them, as they hold nothing but what the document says."""

from __future__ import annotations

import json
from importlib import resources

from flask import Response, current_app

from orchestrator.api.access import Way, needs
from orchestrator.api.reference.outline import groups_of
from orchestrator.api.routing import blueprint

routes = blueprint("reference", "The API as pages for people.")

#: The endpoint of the document.
_DOCUMENT = "api-docs.openapi_json"
_KEPT = "orchestrator-reference"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@routes.route("/docs")
@needs(Way.OPEN)
@routes.response(200, {"type": "string"}, content_type="text/html", description="A page")
def show_reference() -> Response:
    """Show every route with its parameters, bodies and answers as a page."""
    if _KEPT not in current_app.extensions:
        current_app.extensions[_KEPT] = _page()
    return Response(current_app.extensions[_KEPT], headers=_HEADERS, content_type="text/html; charset=utf-8")


@routes.route("/docs/style.css")
@needs(Way.OPEN)
@routes.response(200, {"type": "string"}, content_type="text/css", description="The look of the page")
def show_style() -> Response:
    """Give the look of the page."""
    return Response(_file("style.css"), headers=_HEADERS, content_type="text/css; charset=utf-8")


def _page() -> str:
    """The document as HTML; it stays the same while the server runs."""
    document = json.loads(current_app.ensure_sync(current_app.view_functions[_DOCUMENT])().get_data())
    template = current_app.jinja_env.from_string(_file("page.html"))
    return template.render(
        title=document["info"]["title"],
        version=document["info"]["version"],
        guarded="security" in document,
        groups=groups_of(document),
    )


def _file(name: str) -> str:
    return resources.files("orchestrator.api.reference").joinpath(name).read_text(encoding="utf-8")
