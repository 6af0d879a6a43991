"""What is fuzzed: each target makes one input by chance, and says what is wrong with how it was taken."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import compile_expression, key_text
from orchestrator.protocol.reply import parse_reply
from tests.fuzz.mutation import STRANGE, changed, damaged
from tests.protocol.recorded import exchanges

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ULID = "01J00000000000000000000000"
_REGISTRATIONS = [exchange.request for exchange in exchanges("register") if exchange.request]
_CALLS = list(exchanges("call"))
_EVENT = {
    "name": "shop/sold",
    "data": {"n": 1, "list": ["a", {"b": None}]},
    "user": {"id": 7},
    "id": "x",
    "ts": 1_700_000_000_000,
    "v": "1",
}
_STEP = {"op": "StepRun", "id": "a" * 40, "displayName": "one", "data": {"x": 1}, "opts": {}}
_ENDPOINT = {
    "run_id": ULID,
    "event": {
        "name": "inngest/http.request",
        "data": {"domain": "http://127.0.0.1:1", "path": "/x", "method": "GET", "query_params": "a=1", "body": ""},
    },
    "steps": [_STEP, {"op": "Sleep", "id": "b" * 40, "name": "1h"}],
    "retries": 3,
    "request_version": 2,
}
_REPORT = {"steps": _ENDPOINT["steps"]}
_TOLD = ("retry-after", "x-inngest-no-retry", "x-inngest-req-version")
_TOKENS = (
    *("event", "async", ".data", ".x", "[0]", "(", ")", "{", "}", ",", ":", "?", "+", "-", "*", "/", "%", "!"),
    *(
        "==",
        "!=",
        "<",
        ">=",
        "&&",
        "||",
        " in ",
        "'a'",
        '"b"',
        "'''",
        "\\",
        "1",
        "0",
        "2.5",
        "1u",
        "1e999",
        "null",
        "true",
    ),
    *("has(", "size(", ".all(x, x > 1)", ".map(y, y + y)", ".matches('(a+)+$')", "duration('1h')", "now()", "date("),
)
_VALUES = (*STRANGE, {"data": {"x": [1, 2, 3], "n": 1.5}, "ts": 1, "name": "a/b"}, {"data": None}, ["a"] * 50)

#: Makes one input and hands it over; returns what was sent, and what is wrong (None: nothing).
Try = Callable[[Random], tuple[object, str | None]]


@dataclass
class OverHttp:
    """A way to a running server, over a connection that is kept."""

    port: int
    _connection: http.client.HTTPConnection | None = None

    def send(self, method: str, path: str, body: bytes, content_type: str = "application/json") -> str | None:
        """Say what is wrong with the answer: that there is none in ten seconds, or that the server blames itself."""
        try:
            status, text = self._ask(method, path, body, content_type)
        except (OSError, http.client.HTTPException) as error:
            self._connection = None
            return f"no answer: {type(error).__name__}: {error}"
        return f"HTTP {status}: {text[:300]!r}" if status >= 500 else None

    def _ask(self, method: str, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        self._connection.request(method, path, body, {"Content-Type": content_type})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.will_close:
            self._connection = None
        return answer.status, text

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()


def targets(way: OverHttp) -> dict[str, Try]:
    """All there are, by name."""

    def posted(path: str, makes: Callable[[Random], bytes], content_type: str = "application/json") -> Try:
        def attempt(chance: Random) -> tuple[object, str | None]:
            body = makes(chance)
            return body, way.send("POST", path, body, content_type)

        return attempt

    return {
        "events": posted("/e/key", lambda chance: changed(chance, _events(chance))),
        "forms": posted("/e/key", _form, "application/x-www-form-urlencoded"),
        "registrations": posted("/fn/register", lambda chance: changed(chance, chance.choice(_REGISTRATIONS))),
        "endpoints": posted("/v1/checkpoint", lambda chance: changed(chance, _ENDPOINT)),
        "reports": posted(
            f"/v1/checkpoint/{ULID}/steps", lambda chance: changed(chance, {"steps": _ENDPOINT["steps"]})
        ),
        "expressions": _expression,
        "replies": _reply,
    }


def _events(chance: Random) -> Any:
    return _EVENT if chance.random() < 0.6 else [_EVENT] * chance.randint(0, 5)


def _form(chance: Random) -> bytes:
    return damaged(chance, b"name=shop%2Fsold&data=%7B%22n%22%3A1%7D&ts=1&a=1&a=2")


def _expression(chance: Random) -> tuple[object, str | None]:
    text = "".join(chance.choices(_TOKENS, k=chance.randint(1, 14)))
    event, answer = chance.choice(_VALUES), chance.choice(_VALUES)
    try:
        program = compile_expression(text)
        key_text(program.evaluate(event, answer, now=NOW))
        program.truth(event, answer)
    except ExpressionError:
        pass
    except Exception as error:
        return (text, event, answer), f"{type(error).__name__}: {error}"
    return (text, event, answer), None


def _reply(chance: Random) -> tuple[object, str | None]:
    exchange = chance.choice(_CALLS)
    headers = {name: value for name, value in exchange.headers.items() if chance.random() < 0.95}
    if chance.random() < 0.1:
        headers[chance.choice(_TOLD)] = str(chance.choice(STRANGE))
    status = exchange.status if chance.random() < 0.8 else chance.choice((200, 201, 206, 400, 401, 500, 599, 204))
    body = changed(chance, exchange.answer)
    try:
        parse_reply(status, headers, body, target=exchange.target, attempt=0, now=NOW)
    except Exception as error:
        return (status, headers, body), f"{type(error).__name__}: {error}"
    return (status, headers, body), None
