"""What the views work with: the server that the present request came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from flask import Flask, Request, current_app

from orchestrator.api.access import Credential
from orchestrator.api.outputs import OutputTokens
from orchestrator.api.ready import Readiness
from orchestrator.core.event import Event
from orchestrator.engine.keyring import Keyring
from orchestrator.engine.parts import Parts
from orchestrator.engine.survey import Surveyor
from orchestrator.protocol.events import EventLimits

_KEY = "orchestrator"


@dataclass(frozen=True, slots=True)
class Server:
    """One server as its API knows it; `authorize` raises for a request that may not pass (None: all may).

    `accept` stores events and returns their ids.
    """

    parts: Parts
    kind: str
    version: str
    readiness: Readiness
    keyring: Keyring
    accept: Callable[[Sequence[Event]], list[str]]
    surveyor: Surveyor
    authorize: Callable[[Request], Credential | None] | None = None
    event_limits: EventLimits = field(default_factory=EventLimits)
    max_request_bytes: int = 16 * 1024 * 1024
    #: What `GET /dev` shows of how the server was started.
    start_options: Mapping[str, object] = field(default_factory=dict)
    #: For those who wait for the output of a durable endpoint.
    outputs: OutputTokens = field(default_factory=lambda: OutputTokens(()))


def install(app: Flask, server: Server) -> None:
    """Make the server known to the views of the app."""
    app.extensions[_KEY] = server


def current_server() -> Server:
    """Return the server that the present request came to."""
    return cast(Server, current_app.extensions[_KEY])
