"""The table of all routes with the credential each needs, read off the app that serves them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from flask import Flask

from orchestrator import bootstrap
from orchestrator.api.access import Access, Way, declared
from orchestrator.api.app import create_app
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.clock import SystemClock
from orchestrator.config import Config
from orchestrator.core.scope import Scope
from orchestrator.queue.announce import Silence

_ARGUMENT = re.compile(r"<(?:[^:>]+:)?([^>]+)>")
#: Answered by Flask for every path.
_IMPLIED = {"HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Route:
    """One way to ask; `access` is None where the route does not say what it needs."""

    method: str
    path: str
    endpoint: str
    access: Access | None


def routes_of(app: Flask) -> list[Route]:
    """What the app serves, by path; the event API, which is served in front of it, is not among it."""
    found = [
        Route(method, rule.rule, rule.endpoint, declared(app.view_functions[rule.endpoint]))
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - _IMPLIED)
    ]
    return sorted(found, key=lambda route: (route.path, route.method))


def as_markdown(app: Flask) -> str:
    """The table for people."""
    return "\n".join(["| method | path | credential |", "|---|---|---|", *_lines(app), ""])


def unserved_app() -> Flask:
    """The app of a guarded server, to be looked at and not to be asked: it has no database."""
    parts = bootstrap.parts(Config(), "sqlite:///nowhere.db", Silence(), clock=SystemClock())
    return create_app(parts, server_kind="cloud", authorize=lambda _request: None, doors=Doors(login=True))


def _lines(app: Flask) -> Iterator[str]:
    yield "| POST | `/e/{event_key}` | an event key, or a token with the scope `events` |"
    for way in ("http/runs", "checkpoint"):
        yield f"| GET | `/v1/{way}/{{run_id}}/output` | the token that the run's SDK was given |"
    for route in routes_of(app):
        path = _ARGUMENT.sub(r"{\1}", route.path)
        yield f"| {route.method} | `{path}` | {_credential(route.access or Way.SIGNING_KEY)} |"


def _credential(access: Access) -> str:
    return f"`{access.value}`" if isinstance(access, Scope) else access.value
