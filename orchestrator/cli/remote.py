"""A running server as the commands see it: small JSON requests, and answers or a sentence that says what to do."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.problem import Problem
from orchestrator.cli.terminal import escape, shorten

DEFAULT_URL = "http://localhost:8288"
TIMEOUT_SECONDS = 15.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024

Command = TypeVar("Command", bound=Callable[..., Any])
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Server:
    """One server; an API token, or else a signing key, authenticates us where it wants that."""

    url: str
    signing_key: str | None = None
    token: str | None = None

    def request(self, method: str, path: str, body: object = None) -> JsonObject:
        """Send one request and return the JSON object answered; raises `Problem` for everything else."""
        answer = self._ask(method, path, body)
        if not isinstance(answer, dict):
            raise self._strange()
        return answer

    def array(self, path: str) -> list[Any]:
        """Ask for a JSON array, as a few old routes answer."""
        answer = self._ask("GET", path)
        if not isinstance(answer, list):
            raise self._strange()
        return answer

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        request = Request(self.url + path, method=method, headers=self._headers())
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with _opener(self.url).open(request, timeout=TIMEOUT_SECONDS) as response:
                return self._parse(response.read(MAX_ANSWER_BYTES))
        except HTTPError as error:
            with error:
                if error.headers.get("Location"):
                    raise self._elsewhere(error.headers["Location"], path) from None
                raise self._refused(error.code, error.read(MAX_ANSWER_BYTES)) from None
        except TimeoutError:
            raise self._silent(f"did not answer within {TIMEOUT_SECONDS:g} seconds") from None
        except (URLError, OSError, HTTPException) as error:
            raise self._unreachable(error) from None

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "orchestrator-cli"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        elif self.signing_key:
            headers["Authorization"] = f"Bearer {_hashed(self.signing_key)}"
        return headers

    def _parse(self, raw: bytes) -> Any:
        if not raw.strip():
            return {}
        try:
            return json.loads(raw)
        except ValueError:
            raise self._strange() from None

    def _strange(self) -> Problem:
        return self._silent("answers, but not as an orchestrator does; is --server right?")

    def _elsewhere(self, location: str, path: str) -> Problem:
        there = _server_of(location, path)
        if there is None:
            return self._strange()
        return self._silent(f"sends us on to {escape(there)}; give that address as --server")

    def _refused(self, status: int, raw: bytes) -> Problem:
        if status == 401:
            return Problem(
                "the server does not know us: set ORCHESTRATOR_SIGNING_KEY to its key, or ORCHESTRATOR_API_TOKEN to "
                "one of its tokens (for `send`: ORCHESTRATOR_EVENT_KEY to one of its event keys)",
                Exit.REFUSED,
            )
        code = _CODES.get(status, Exit.REFUSED if status < 500 else Exit.FAILED)
        return Problem(f"the server answered {status}: {_reason(raw)}", code)

    def _unreachable(self, error: Exception) -> Problem:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            return self._silent(f"did not answer within {TIMEOUT_SECONDS:g} seconds")
        why = "" if isinstance(reason, ConnectionRefusedError) else f" ({escape(reason)})"
        return Problem(
            f"nothing answers at {escape(self.url)}{why}: is `orchestrator dev` running? "
            "Another address is given with --server or ORCHESTRATOR_URL.",
            Exit.UNREACHABLE,
        )

    def _silent(self, what: str) -> Problem:
        return Problem(f"{escape(self.url)} {what}", Exit.UNREACHABLE)


_CODES = {404: Exit.NOT_FOUND}


def server_option(command: Command) -> Command:
    """Give a command --server and --json; it gets a `Server` as `server` and a bool as `as_json`."""

    @click.option("--server", "url", envvar="ORCHESTRATOR_URL", default=DEFAULT_URL, metavar="URL", show_default=True)
    @click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
    @functools.wraps(command)
    def wrapped(url: str, **options: Any) -> Any:
        return command(server=server_at(url, os.environ), **options)

    return wrapped  # type: ignore[return-value]  # click passes by keyword whatever `command` names.


def server_at(url: str, env: Mapping[str, str]) -> Server:
    """The server at a URL, with the token or the signing key of the environment if there is one."""
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", url):
        raise Problem(f"--server must be a URL that starts with http:// or https://; {url!r} is not", Exit.USAGE)
    key = env.get("ORCHESTRATOR_SIGNING_KEY") or env.get("INNGEST_SIGNING_KEY")
    token = env.get("ORCHESTRATOR_API_TOKEN", "").strip()
    if not token.isascii() or not token.isprintable():
        raise Problem("ORCHESTRATOR_API_TOKEN holds characters that no token has", Exit.CONFIG)
    return Server(url.rstrip("/"), key or None, token or None)


class _NoRedirects(HTTPRedirectHandler):
    """Leaves a redirect an error: followed, it would carry the key to wherever it points."""

    def http_error_302(self, *_args: object, **_keywords: object) -> None:
        return None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _server_of(location: str, path: str) -> str | None:
    """The server that a redirect leads to, without what was asked for: that may hold a key.  None: it names none."""
    try:
        there = urlsplit(location)
    except ValueError:
        return None
    asked = path.partition("?")[0]
    prefix = there.path.removesuffix(asked) if there.path.endswith(asked) else ""
    return f"{there.scheme}://{there.netloc}{prefix}" if there.netloc else None


def _opener(url: str) -> OpenerDirector:
    # A proxy set for the internet cannot reach this machine's own localhost.
    is_local = urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
    return build_opener(_NoRedirects, *([ProxyHandler({})] if is_local else []))


def _hashed(signing_key: str) -> str:
    try:
        return hashlib.sha256(bytes.fromhex(re.sub(r"^signkey-\w+-", "", signing_key.strip()))).hexdigest()
    except ValueError:
        raise Problem("the signing key in the environment is not hexadecimal", Exit.CONFIG) from None


def _reason(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace").strip()
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        # /v2 answers with a list of errors.
        errors = answer.get("errors") or [answer]
        first = errors[0] if isinstance(errors, list) and isinstance(errors[0], dict) else {}
        text = str(first.get("error") or first.get("message") or text)
    return shorten(escape(text), 500) or "nothing more"
