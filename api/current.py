"""What the views work with: the server that the present request came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from flask import Flask, Request, current_app

from orchestrator.api.ready import Readiness
from orchestrator.engine.parts import Parts

_KEY = "orchestrator"


@dataclass(frozen=True, slots=True)
class Server:
    """One server as its API knows it; `authorize` raises for a request that may not pass (None: all may)."""

    parts: Parts
    kind: str
    version: str
    readiness: Readiness
    authorize: Callable[[Request], None] | None = None
    max_request_bytes: int = 16 * 1024 * 1024
    #: What `GET /dev` shows of how the server was started.
    start_options: Mapping[str, object] = field(default_factory=dict)


def install(app: Flask, server: Server) -> None:
    """Make the server known to the views of the app."""
    app.extensions[_KEY] = server


def current_server() -> Server:
    """Return the server that the present request came to."""
    return cast(Server, current_app.extensions[_KEY])
