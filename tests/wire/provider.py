"""A server on this machine that apps want requests made to: it notes what comes, and answers what the test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import flask
from werkzeug.serving import make_server


@dataclass(frozen=True)
class Got:
    """A request that came."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: str


@dataclass(frozen=True)
class Said:
    """What is answered to it."""

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Provider:
    """Answers with what is next in `say`, the last of which it repeats."""

    def __init__(self, *say: Said) -> None:
        self.say = list(say) or [Said(200, {"ok": True})]
        self.got: list[Got] = []
        #: What answers wait for.
        self.open = threading.Event()
        self.open.set()
        web = flask.Flask("provider")
        methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
        web.add_url_rule("/", "root", self._answer, methods=methods, defaults={"path": ""})
        web.add_url_rule("/<path:path>", "any", self._answer, methods=methods)
        self._http = make_server("127.0.0.1", 0, web, threaded=True)
        self.url = f"http://127.0.0.1:{self._http.port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.open.set()
        self._http.shutdown()

    def _answer(self, path: str) -> flask.Response:
        asked = flask.request
        headers = {name.lower(): value for name, value in asked.headers.items()}
        body = asked.get_data(as_text=True)
        self.got.append(Got(asked.method, f"/{path}", asked.query_string.decode(), headers, body))
        self.open.wait(30)
        said = self.say.pop(0) if len(self.say) > 1 else self.say[0]
        return flask.Response(_text(said.body), said.status, dict(said.headers))


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)
