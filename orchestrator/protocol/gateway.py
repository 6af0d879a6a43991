"""Requests that the server makes for an app (`step.fetch`, `step.ai.infer`): what is asked for, and what the SDK gets.

The request travels as text from the op to the job that makes it, and holds the app's secrets: it is nobody's to see,
and goes with the job.  An answer of `step.fetch` counts whatever its status is, as with any fetch; one of a provider of
AI must be a success and JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

import msgspec

from orchestrator.core.message import StepDone, StepErrored
from orchestrator.core.retry import RETRY_AFTER_MAX
from orchestrator.protocol import run_errors

FETCH, AI = "Gateway", "AIGateway"
MAX_URL = 8192
#: The names the SDKs know the errors by.
FETCH_ERROR, AI_ERROR = "GatewayError", "AIGatewayError"

_SECONDS = re.compile(r"[0-9]{1,9}")
_METHOD = re.compile(r"[A-Z]{1,20}")
_NEVER = frozenset({"CONNECT", "TRACE"})
#: What speaks of the connection, which is ours: a length that is wrong would let a second request hide in the first.
_OURS = frozenset(
    (
        *("accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
#: A `Response` of JavaScript refuses a body with these, even an empty one.
_WITHOUT_BODY = frozenset({204, 205, 304})
#: More tries would end the same way.
_HOPELESS = frozenset(
    {"blocked_address", "invalid_header", "invalid_url", "response_too_large", "unsupported_protocol"}
)


class Asked(msgspec.Struct, frozen=True, gc=False):
    """One request.  `kind` is its opcode; the URL and the headers may hold secrets."""

    kind: str
    url: str
    method: str
    headers: dict[str, str]
    body: str

    def __repr__(self) -> str:
        return f"Asked({self.kind})"


def asked(kind: str, options: Mapping[str, msgspec.Raw]) -> Asked:
    """Read the options of an op.  Raises `ValueError` with a sentence for what cannot be asked for."""
    url = _text(options.get("url")) or ""
    if not 0 < len(url) <= MAX_URL:
        raise ValueError(f"the url must have 1 to {MAX_URL} characters")
    method = (_text(options.get("method")) or "POST").upper() if kind == FETCH else "POST"
    if not _METHOD.fullmatch(method) or method in _NEVER:
        raise ValueError("the method must be one of HTTP's")
    headers = _headers(options.get("headers"))
    body = _body(options.get("body"))
    if kind == AI:
        headers.setdefault("content-type", "application/json")
        url = _proven(url, headers, _text(options.get("format")) or "", _text(options.get("auth_key")) or "")
    return Asked(kind, url, method, headers, body)


def text_of(request: Asked) -> str:
    """Write a request, for the job that makes it."""
    return msgspec.json.encode(request).decode()


def read(text: str) -> Asked:
    """Read what `text_of` wrote."""
    return msgspec.json.decode(text, type=Asked)


def answered(
    step_id: str, request: Asked, url: str, status: int, headers: Mapping[str, str], body: bytes, most: int
) -> StepDone | StepErrored:
    """What an answer from `url` means for the step; `most` is how many bytes its memo may have."""
    if request.kind == AI:
        return _ai_answered(step_id, status, headers, body, most)
    text = None if status in _WITHOUT_BODY and not body else body.decode(errors="replace")
    value = {"url": url, "headers": dict(headers), "body": text, "status_code": status}
    output = msgspec.json.encode(value).decode()
    if len(output) > most // 4 and len(output.encode()) > most:
        return _failed(step_id, request.kind, _too_large(most), final=True)
    return StepDone(step_id, step_id, request.kind, output)


def unanswered(step_id: str, request: Asked, code: str, sentence: str) -> StepErrored:
    """What it means that no whole answer came, for the reason `code`."""
    return _failed(step_id, request.kind, sentence, final=code in _HOPELESS)


def _ai_answered(
    step_id: str, status: int, headers: Mapping[str, str], body: bytes, most: int
) -> StepDone | StepErrored:
    text = body.decode(errors="replace")
    if not 200 <= status < 300:
        failed = _failed(step_id, AI, f"Error making AI request: unsuccessful status code: {status}", False, text)
        seconds = headers.get("retry-after", "").strip()
        after = min(timedelta(seconds=int(seconds)), RETRY_AFTER_MAX) if _SECONDS.fullmatch(seconds) else None
        return replace(failed, retry_after=after)
    if len(body) > most:
        return _failed(step_id, AI, _too_large(most), final=True)
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return _failed(step_id, AI, "Error making AI request: the answer is not JSON", False, text)
    return StepDone(step_id, step_id, AI, text.strip())


def _failed(step_id: str, kind: str, message: str, final: bool, stack: str | None = None) -> StepErrored:
    error = {"name": AI_ERROR if kind == AI else FETCH_ERROR, "message": message}
    if stack:
        error["stack"] = stack[: run_errors.MAX_MESSAGE]
    return StepErrored(step_id, step_id, kind, msgspec.json.encode(error).decode(), final)


def _too_large(most: int) -> str:
    return f"the answer is larger than the limit of a step's output, {most} bytes"


def _proven(url: str, headers: dict[str, str], format: str, key: str) -> str:
    """Put the provider's key where its format wants it, unless the app did; returns the URL."""
    if not key:
        return url
    if format == "gemini":
        parts = urlsplit(url)
        if any(name == "key" for name, _ in parse_qsl(parts.query)):
            return url
        query = f"{parts.query}&key={quote(key, safe='')}".lstrip("&")
        return urlunsplit(parts._replace(query=query))
    if format == "anthropic":
        headers.setdefault("x-api-key", key)
    elif format != "azure-openai":  # whose adapter sends a header of its own
        headers.setdefault("authorization", f"Bearer {key}")
    return url


def _headers(value: msgspec.Raw | None) -> dict[str, str]:
    text = bytes(value) if value is not None else b"null"
    if not text.startswith(b"{"):
        return {}
    found = msgspec.json.decode(text, type=dict[str, object])
    named = {name.lower(): _header(given) for name, given in found.items() if given is not None}
    return {name: given for name, given in named.items() if name not in _OURS}


def _header(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _body(value: msgspec.Raw | None) -> str:
    """A text is sent as it is, anything else as JSON."""
    text = _text(value)
    if text is not None:
        return text
    raw = bytes(value).decode() if value is not None else "null"
    return "" if raw == "null" else raw


def _text(value: msgspec.Raw | None) -> str | None:
    raw = bytes(value) if value is not None else b""
    return msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else None
