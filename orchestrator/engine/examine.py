"""Look at an app from where the server stands: reached, an SDK, in our mode, and with which of our keys.

Nothing is registered and nothing of the app's is run: SDKs answer a GET by telling about themselves, in production
only to whoever signs it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from orchestrator.clock import Clock
from orchestrator.drivers.base import HttpClient, Response
from orchestrator.drivers.signed import UNAUTHORIZED, request_signed
from orchestrator.errors import TransportError
from orchestrator.protocol import headers as names

_PATIENCE = timedelta(seconds=10)
_FORBIDDEN = 403
_SHORTEST_HASH = 12


@dataclass(frozen=True, slots=True)
class Examined:
    """What an app said of itself; `refused` is the sentence of what stands in the way, `code` names it."""

    code: str = "ok"
    refused: str | None = None
    sdk: str = ""
    mode: str = ""
    functions: int | None = None
    #: Which of our signing keys it takes, by position; None: it was not asked for one.
    key: int | None = None
    #: Whether events that it sends carry a key of ours; None: it does not say.
    event_key_known: bool | None = None


@dataclass(frozen=True, slots=True)
class Examiner:
    """What is ours of the handshake."""

    http: HttpClient
    clock: Clock
    server_kind: str
    signing_keys: Sequence[str] = field(repr=False)
    event_keys: Sequence[str] = field(repr=False)

    def examine(self, url: str) -> Examined:
        """Ask the app at `url` about itself; never raises for what it does."""
        try:
            first = self._ask(url, ())
            if not names.handled_by_sdk(first.headers):
                sentence = f"it answers HTTP {first.status}, but not as an app on an SDK: is the path right?"
                return Examined("not_sdk", sentence)
            return self._of_dev(first) if self.server_kind == names.KIND_DEV else self._of_cloud(url, first)
        except TransportError as error:
            return Examined(error.code, f"it cannot be reached: {error.message}")

    def _of_dev(self, first: Response) -> Examined:
        if first.status == UNAUTHORIZED or _told(first).get("mode") == "cloud":
            return Examined("mode", "it is in production mode, and this server in `dev`: set INNGEST_DEV=1 for the app")
        return self._described(first, None)

    def _of_cloud(self, url: str, first: Response) -> Examined:
        if first.status == _FORBIDDEN or _told(first).get("mode") == "dev":
            sentence = (
                "it is in development mode, and this server is not: take INNGEST_DEV from the app, and give it "
                "INNGEST_SIGNING_KEY"
            )
            return Examined("mode", sentence)
        for at, key in enumerate(self.signing_keys):
            answer = self._ask(url, (key,))
            if answer.status == _FORBIDDEN:
                return Examined("mode", "it expects a server of another mode (HTTP 403): is INNGEST_DEV set there?")
            if answer.status < 400:
                return self._described(answer, at)
        if not self.signing_keys:
            return Examined("missing_signing_key", "it wants signed requests, and no signing key is set here")
        refused = "it refuses our signing key" if len(self.signing_keys) == 1 else "it refuses both our signing keys"
        sentence = f"{refused} (HTTP 401): give it INNGEST_SIGNING_KEY with the value of ours, and look at its clock"
        return Examined("invalid_signing_key", sentence)

    def _ask(self, url: str, keys: Sequence[str]) -> Response:
        return request_signed(
            self.http,
            "GET",
            url,
            headers={names.SERVER_KIND: self.server_kind},
            body=b"",
            timeout=_PATIENCE,
            keys=keys,
            clock=self.clock,
        )

    def _described(self, answer: Response, key: int | None) -> Examined:
        told = _told(answer)
        count = told.get("function_count")
        return Examined(
            sdk=str(answer.headers.get(names.SDK) or told.get("sdk_version") or "an SDK")[:60],
            mode=str(told.get("mode") or ""),
            functions=count if isinstance(count, int) else None,
            key=key,
            event_key_known=self._knows(told.get("event_key_hash")),
        )

    def _knows(self, digest: object) -> bool | None:
        if not isinstance(digest, str) or len(digest) < _SHORTEST_HASH or not self.event_keys:
            return None
        return any(hashlib.sha256(key.encode()).hexdigest().startswith(digest) for key in self.event_keys)


def _told(answer: Response) -> dict[str, Any]:
    try:
        told = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
