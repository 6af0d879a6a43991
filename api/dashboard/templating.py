"""Templates, and the answers made of them: everything is escaped, and the browser is told to trust nothing else.

The policy lets a page load from this server only, and run no script and no style that stands in the page itself.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from flask import Response, g, request
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from orchestrator.api.current import current_server
from orchestrator.api.dashboard import texts
from orchestrator.api.dashboard.assets import asset_url
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.visitor import CSRF_FIELD, doors, is_secure
from orchestrator.core.role import Role

_TEMPLATES = Path(__file__).parent / "templates"
_NEWS = "orchestrator_news"
#: Bad news begin so.
_BAD = "!"
#: Bytes of news; a cookie has room for thrice as many, and a browser drops a larger one whole.
_MOST_NEWS = 1_000
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {"when": texts.when, "span": texts.span, "count": texts.count, "pretty": texts.pretty}
    made.filters |= {
        "iso": texts.iso,
        "story": texts.story,
        "lone": texts.lone,
        "told": texts.told,
        "glance": texts.glance,
    }
    made.globals |= {"asset": asset_url, "Role": Role, "csrf_field": CSRF_FIELD}
    return made


def render(template: str, **context: Any) -> str:
    """A template's text; `may` tells it what whoever asks may do."""
    visitor = g.get("visitor")
    return (
        _environment()
        .get_template(template)
        .render(
            visitor=visitor,
            may=lambda role: visitor is not None and visitor.role.includes(Role(role)),
            login=doors().login,
            path=request.path,
            version=current_server().version,
            served=routes.rules.__contains__,
            now=current_server().parts.clock.now(),
            news=_news().removeprefix(_BAD),
            bad_news=_news().startswith(_BAD),
            **context,
        )
    )


def page(template: str, status: int = 200, **context: Any) -> Response:
    """Answer with a page; news of what was done before it are told once."""
    answer = Response(render(template, **context), status, content_type="text/html; charset=utf-8")
    if request.cookies.get(_NEWS):
        answer.delete_cookie(_NEWS)
    return answer


def nothing_new() -> Response:
    """Answer to a page that asks whether anything changed: nothing did."""
    return Response(status=204)


def go(path: str, news: str = "", *, bad: bool = False) -> Response:
    """Lead the browser to another page, which tells the news; bad ones stay until they are closed."""
    answer = Response(status=303)
    answer.headers["Location"] = path
    if news:
        told = ((_BAD if bad else "") + news[:500]).encode("utf-8", "replace")[:_MOST_NEWS].decode("utf-8", "ignore")
        answer.set_cookie(_NEWS, quote(told), max_age=30, httponly=True, samesite="Lax", secure=is_secure())
    return answer


def protect(answer: Response) -> Response:
    """Tell the browser what the page may do; what it shows is kept nowhere."""
    answer.headers.update(_HEADERS)
    if "Cache-Control" not in answer.headers:
        answer.headers["Cache-Control"] = "no-store"
    return answer


def _news() -> str:
    return unquote(request.cookies.get(_NEWS, ""))
