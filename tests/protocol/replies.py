"""How tests read an app's answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.core.message import Asked, Op, Threw
from orchestrator.protocol.reply import Parsed, parse_reply

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SDK = {"x-inngest-sdk": "inngest-py:v0.5.19", "x-inngest-req-version": "2"}


def parse(status: int, body: Any, headers: Mapping[str, str] | None = None, sdk: bool = True) -> Parsed:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given_headers = {**(SDK if sdk else {}), **(headers or {})}
    return parse_reply(status, given_headers, raw, target=None, attempt=1, now=NOW)


def asked(*ops: Mapping[str, Any], **headers: str) -> tuple[Op, ...]:
    reply = parse(206, list(ops), {name.replace("_", "-"): value for name, value in headers.items()}).reply
    assert isinstance(reply, Asked)
    return reply.ops


def threw(parsed: Parsed) -> tuple[dict[str, Any], bool]:
    assert isinstance(parsed.reply, Threw)
    return json.loads(parsed.reply.error), parsed.reply.retryable


# Functions that return.


def parsed_ops(body: bytes) -> tuple[Op, ...]:
    reply = parse(206, body).reply
    assert isinstance(reply, Asked)
    return reply.ops
