"""Who may ask what: event keys for senders of events, the signing key's token for SDKs and tools.

Keys are compared in constant time, and always all of them, so that the time of a refusal tells nothing about them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

from flask import Request

from orchestrator.errors import UnauthorizedError
from orchestrator.protocol.signature import bearer_accepted


def signing_key_authorizer(keys: Sequence[str]) -> Callable[[Request], None]:
    """Make the check of a bearer token: it raises `UnauthorizedError` unless the token belongs to one of `keys`.

    Without keys nobody passes.
    """

    def authorize(request: Request) -> None:
        given = request.headers.get("Authorization")
        if not given:
            raise UnauthorizedError("Authentication failed: there is no Authorization header with a bearer token")
        if not bearer_accepted(given, keys):
            raise UnauthorizedError("Authentication failed: the bearer token belongs to no signing key of this server")

    return authorize


def event_key_authorizer(keys: Sequence[str]) -> Callable[[str], None]:
    """Make the check of an event key: it raises `UnauthorizedError` unless the key is one of `keys`.

    Without keys nobody passes.
    """
    # Hashes are of one length: comparing the keys themselves would tell theirs.
    known = [_hash(key) for key in keys]

    def authorize(key: str) -> None:
        given, accepted = _hash(key), False
        for digest in known:
            accepted |= hmac.compare_digest(given, digest)
        if not accepted:
            raise UnauthorizedError("Event key not found")

    return authorize


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()
