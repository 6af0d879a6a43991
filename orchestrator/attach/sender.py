"""Send events from a user's process: into the database where that is configured, else to the server's event API."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from orchestrator import bootstrap
from orchestrator.attach.settings import configuration
from orchestrator.clock import SystemClock
from orchestrator.engine.ingest import Ingest
from orchestrator.engine.parts import Parts
from orchestrator.engine.progress import wire_events
from orchestrator.errors import ConfigError
from orchestrator.ids import new_ulid
from orchestrator.protocol.events import parse_events
from orchestrator.queue.announce import announcer
from orchestrator.sdk.asks import new_events
from orchestrator.sdk.triggers import NewEvent
from orchestrator.store import schema

if TYPE_CHECKING:
    from celery import Celery

_lock = threading.Lock()
_entrances: dict[int, Ingest] = {}


def send(celery: Celery | None, event: str | NewEvent | Sequence[NewEvent], data: Any) -> list[str]:
    """Store events and return their ids.  Raises `RequestError` for what cannot be an event, `ConfigError`."""
    new = new_events(event, data)
    body = orjson.dumps(wire_events(new))
    config = configuration(celery)
    parsed = parse_events(
        body, id_at=lambda _: new_ulid(), now=SystemClock().now(), limits=bootstrap.event_limits(config)
    )
    if parsed.error is not None:
        raise parsed.error
    return _entrance(celery).accept(parsed.events)


def serve_from(parts: Parts) -> None:
    """Send by these parts from now on: the server runs in this very process."""
    with _lock:
        _entrances[os.getpid()] = Ingest(parts)


def _entrance(celery: Celery | None) -> Ingest:
    with _lock:
        entrance = _entrances.get(os.getpid())
        if entrance is None:
            entrance = _entrances[os.getpid()] = _made(celery)
        return entrance


def _made(celery: Celery | None) -> Ingest:
    config = configuration(celery)
    if config.database_url is None:
        raise ConfigError(
            "database_url is not set: give DATABASE_URL (or ORCHESTRATOR_DATABASE_URL) the database that the "
            "orchestrator's workers share"
        )
    schema.check(config.database_url)
    return Ingest(bootstrap.parts(config, config.database_url, announcer(config), clock=SystemClock()))
