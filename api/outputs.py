"""What became of a durable endpoint's run, told to the client of the endpoint, who waits for it.

`GET /v1/http/runs/{id}/output?token=` (and `/v1/checkpoint/{id}/output`) is answered when the run has ended: with the
endpoint's own status, headers and body.  However many clients wait, they hold no thread: one asks the database for all
of them.  The token, which the SDK was given when it began the run, is good for that run alone.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

import msgspec
import orjson
from itsdangerous import BadData, SignatureExpired, URLSafeTimedSerializer

from orchestrator import log
from orchestrator.api.cors import cors_headers
from orchestrator.api.wsgi_call import Headers
from orchestrator.core.effect import Status
from orchestrator.ids import is_ulid
from orchestrator.store import endpoints
from orchestrator.store.database import Database
from orchestrator.store.endpoints import Ended

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from orchestrator.api.server import Application

_log = log.get(__name__)

PATH = re.compile(r"/v1/(?:http/runs|checkpoint)/([0-9A-Za-z]{1,64})/output")
#: Seconds that a client may wait, and between two looks at the database.
PATIENCE, LOOK = 300.0, 0.2
#: Clients that may wait at once in a process.
MOST = 1000
#: Seconds that a token is good for: as long as anybody can wait for an answer.
_GOOD_FOR = 7 * 24 * 3600
_SALT = "the output of a run"
_ALLOWED = {"Allow": "GET, OPTIONS"}
_JSON = {"Content-Type": "application/json"}
#: Of the endpoint's headers, those that belong to a connection or are the server's to set.
_OURS = frozenset(
    ("connection", "content-length", "date", "keep-alive", "server", "te", "trailer", "transfer-encoding", "upgrade")
)
_NAME, _VALUE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}"), re.compile(r"[\t -~\x80-\xff]{0,8000}")

Answer = Callable[[str, Headers, bytes], None]


class OutputTokens:
    """Makes and reads tokens; without keys, in development, every token is good."""

    def __init__(self, keys: Sequence[str]) -> None:
        # The oldest key comes first there, and the last is the one to sign with.
        self._serializer = URLSafeTimedSerializer(list(reversed(keys)) or ["development"], salt=_SALT)
        self._trusting = not keys

    def make(self, run_id: str) -> str:
        """Make the token for a run's output."""
        return str(self._serializer.dumps(run_id))

    def complaint(self, run_id: str, token: str) -> str | None:
        """Say why a token is not good for this run; None: it is."""
        if self._trusting:
            return None
        try:
            good = self._serializer.loads(token, max_age=_GOOD_FOR) == run_id
        except SignatureExpired:
            return "the token has expired"
        except BadData:
            good = False
        return None if good else "the token is not one for the output of this run"


class OutputApp:
    """Answers who waits for outputs, and hands everything else on."""

    def __init__(
        self,
        app: Application,
        database: Database,
        tokens: OutputTokens,
        server_kind: str,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._waiting = _Waiting(database, patience)
        self._shared = [*cors_headers(), ("X-Inngest-Server-Kind", server_kind), ("Cache-Control", "no-store")]
        #: The most bytes of a request's body that are read.
        self.most_body = app.most_body

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer in a thread that can wait."""
        answers: list[tuple[str, Headers, bytes]] = []
        answered = threading.Event()

        def answer(status: str, headers: Headers, body: bytes) -> None:
            answers.append((status, headers, body))
            answered.set()

        if not self._takes(environ, answer):
            return self._app(environ, start_response)
        answered.wait()
        status, headers, body = answers[0]
        start_response(status, list(headers))
        return [body]

    def answer_soon(self, environ: WSGIEnvironment, answer: Answer) -> bool:
        """Have `answer` called when the run has ended, by another thread."""
        return self._takes(environ, answer) or self._app.answer_soon(environ, answer)

    def stop_waiting(self) -> None:
        """Lead whoever waits to the same address, where another process is that goes on waiting."""
        self._waiting.stop()

    def _takes(self, environ: WSGIEnvironment, answer: Answer) -> bool:
        match = PATH.fullmatch(environ.get("PATH_INFO", ""))
        if match is None:
            return False
        method = environ["REQUEST_METHOD"]
        if method != "GET":
            said = (
                Outcome(204, _ALLOWED, b"")
                if method == "OPTIONS"
                else replace(_refused(405, f"the output is asked for by GET, not {method}"), headers=_JSON | _ALLOWED)
            )
            self._tell(answer, said)
            return True
        run_id = match[1].upper()
        token = parse_qs(environ.get("QUERY_STRING", "")).get("token", [""])[0]
        refusal = _refused(400, "the run's id must be a ULID (26 letters and digits)") if not is_ulid(run_id) else None
        if refusal is None and (complaint := self._tokens.complaint(run_id, token)):
            refusal = _refused(401, complaint)
        if refusal is not None:
            self._tell(answer, refusal)
        else:
            elsewhere = _once_more(environ)
            self._waiting.wait(run_id, lambda outcome: self._tell(answer, outcome or elsewhere))
        return True

    def _tell(self, answer: Answer, outcome: Outcome) -> None:
        headers = [*outcome.headers.items(), ("Content-Length", str(len(outcome.body)))]
        named = {name.lower() for name in outcome.headers}
        shared = [(name, value) for name, value in self._shared if name.lower() not in named]
        answer(f"{outcome.status} {_phrase(outcome.status)}", headers + shared, outcome.body)


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer that can be given."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def outcome_of(ended: Ended) -> Outcome:
    """Replay what the endpoint returned, or say how its run failed."""
    if ended.status is Status.COMPLETED:
        return _replayed(ended.output or "null")
    if ended.status is Status.FAILED:
        # Whoever waits is a stranger: the traceback is for those who can read the run.
        return _refused(500, _failure(ended.error or "{}"))
    return _refused(410, f"the run was {ended.status.value}")


class _Error(msgspec.Struct):
    name: str | None = None
    message: str | None = None


class _Response(msgspec.Struct):
    """What an endpoint returned.  Values that are handed on stay the text they are: not every reader takes them."""

    status: int
    body: msgspec.Raw
    headers: msgspec.Raw = msgspec.Raw()


def _failure(text: str) -> str:
    try:
        error = msgspec.json.decode(text, type=_Error)
    except (msgspec.MsgspecError, RecursionError):
        return "the run failed"
    return f"{error.name or 'Error'}: {error.message or ''}"[:1000]


def _replayed(output: str) -> Outcome:
    try:
        found = msgspec.json.decode(output, type=_Response)
        body = bytes(found.body)
        text = msgspec.json.decode(body, type=str).encode() if body.startswith(b'"') else body
        headers = dict(_headers(found.headers))
    except (msgspec.MsgspecError, RecursionError):
        return Outcome(200, {"Content-Type": "application/json"}, output.encode())
    return Outcome(found.status if 200 <= found.status <= 599 else 200, headers, text)


def _headers(given: msgspec.Raw) -> Iterator[tuple[str, str]]:
    members = msgspec.json.decode(given, type=dict[str, msgspec.Raw]) if bytes(given).startswith(b"{") else {}
    for name, raw in members.items():
        if bytes(raw).startswith(b'"') and name.lower() not in _OURS and _NAME.fullmatch(name):
            value = msgspec.json.decode(raw, type=str)
            if _VALUE.fullmatch(value):
                yield name, value


def _refused(status: int, sentence: str) -> Outcome:
    body = orjson.dumps({"code": _CODES[status], "error": sentence, "data": None, "status": status})
    headers = {"Content-Type": "application/json"} | ({"Retry-After": "1"} if status in (307, 503, 504) else {})
    return Outcome(status, headers, body)


def _once_more(environ: WSGIEnvironment) -> Outcome:
    """Send the client to where it asked: clients follow by themselves, and whoever does not is told to ask again."""
    query = environ.get("QUERY_STRING", "")
    path = quote(environ.get("PATH_INFO", ""), safe="/") + (f"?{query}" if query else "")
    told = _refused(307, "this process stops before the run has ended; ask again at the same address")
    return replace(told, headers={**told.headers, "Location": path})


_CODES = {
    307: "not_ended",
    400: "invalid_request",
    401: "unauthorized",
    405: "method_not_allowed",
    404: "not_found",
    410: "cancelled",
    500: "run_failed",
    503: "unavailable",
    504: "not_ended",
}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


@dataclass(frozen=True, slots=True)
class _Waiter:
    run_id: str
    #: None: nobody knows, and nobody waits here any more.
    tell: Callable[[Outcome | None], None]
    until: float


class _Waiting:
    """Who waits; while anybody does, one thread looks for the ends of their runs."""

    def __init__(self, database: Database, patience: float) -> None:
        self._database = database
        self._patience = patience
        self._lock = threading.Lock()
        self._waiters = list[_Waiter]()
        self._looking = False
        self._stopped = False

    def wait(self, run_id: str, tell: Callable[[Outcome | None], None]) -> None:
        """Have `tell` called once."""
        with self._lock:
            stopped, full = self._stopped, len(self._waiters) >= MOST
            if not full and not stopped:
                self._waiters.append(_Waiter(run_id, tell, time.monotonic() + self._patience))
                if not self._looking:
                    self._looking = True
                    threading.Thread(target=self._look, name="outputs", daemon=True).start()
        if stopped:
            tell(None)
        elif full:
            tell(_refused(503, f"{MOST} clients wait for outputs already; ask again"))

    def stop(self) -> None:
        """Let everybody go, and take nobody more."""
        with self._lock:
            self._stopped = True
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.tell(None)

    def _look(self) -> None:
        while True:
            with self._lock:
                waiters = list(self._waiters)
                if not waiters:
                    self._looking = False
                    return
            told = self._told(waiters)
            with self._lock:  # who was let go meanwhile has an answer
                leaving = [it for it in self._waiters if it in told]
                self._waiters = [it for it in self._waiters if it not in told]
            for waiter in leaving:
                waiter.tell(told[waiter])
            time.sleep(LOOK)

    def _told(self, waiters: Sequence[_Waiter]) -> dict[_Waiter, Outcome]:
        try:
            with self._database.read() as conn:
                known = endpoints.ended(conn, sorted({it.run_id for it in waiters}))
        except Exception as error:  # whatever a driver raises: the database is away, and they may go on waiting
            _log.warning("outputs not read", error=f"{type(error).__name__}: {error}")
            known = {it.run_id: None for it in waiters}
        told, now = dict[_Waiter, Outcome](), time.monotonic()
        for waiter in waiters:
            if waiter.run_id not in known:
                told[waiter] = _refused(404, f"there is no run {waiter.run_id}")
            elif (end := known[waiter.run_id]) is not None:
                told[waiter] = outcome_of(end)
            elif now >= waiter.until:
                told[waiter] = _refused(504, "the run has not ended yet; ask again")
        return told
