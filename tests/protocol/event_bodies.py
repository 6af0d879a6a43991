"""How tests parse what was sent to the event API."""

from __future__ import annotations

from datetime import UTC, datetime

from orchestrator.protocol.events import EventLimits, Parsed, parse_events

NOW = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)
NOW_MS = 1_795_262_400_250
LIMITS = EventLimits()
ENTROPY = bytes(range(10))


def parse(body: bytes | str, limits: EventLimits = LIMITS) -> Parsed:
    raw = body.encode() if isinstance(body, str) else body
    return parse_events(raw, id_at=lambda position: f"id-{position}", now=NOW, limits=limits)
