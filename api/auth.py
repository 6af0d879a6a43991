"""Who may ask what: event keys for senders of events; the signing key's token, and API tokens, for SDKs and tools.

Keys are compared in constant time, and always all of them, so that the time of a refusal tells nothing about them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence

from flask import Request

from orchestrator.api.access import SIGNING_KEY, Credential
from orchestrator.core.scope import Scope
from orchestrator.engine.keyring import Keyring
from orchestrator.engine.tokens import PREFIX
from orchestrator.errors import ForbiddenError, UnauthorizedError
from orchestrator.protocol.signature import bearer_accepted
from orchestrator.store.tokens import Token

#: Characters of a token's name that tell who asks; the audit has room for them and the id.
_MOST_NAME = 200
_BEARER = re.compile(rf"bearer\s+({PREFIX}\S+)\s*", re.IGNORECASE)


def bearer_authorizer(keys: Sequence[str], keyring: Keyring) -> Callable[[Request], Credential]:
    """Make the check of a bearer: one of `keys`, which may do everything, or a token, which may do what it lists.

    It raises `UnauthorizedError` for any other; without keys and tokens nobody passes.
    """

    def authorize(request: Request) -> Credential:
        given = request.headers.get("Authorization")
        if not given:
            raise UnauthorizedError("Authentication failed: there is no Authorization header with a bearer token")
        if named := _BEARER.fullmatch(given):
            token = keyring.find(named[1])
            if token is None:
                raise UnauthorizedError("Authentication failed: there is no such token, or it was revoked")
            return credential_of(token)
        if not bearer_accepted(given, keys):
            raise UnauthorizedError("Authentication failed: the bearer token belongs to no signing key of this server")
        return SIGNING_KEY

    return authorize


def credential_of(token: Token) -> Credential:
    """A token as whoever asks with it; names need not be unique, ids are."""
    return Credential(f"token {token.name[:_MOST_NAME]} ({token.id})", token.scopes)


class EventKeys:
    """The check of an event key: one of `keys`, or a token that may send events."""

    def __init__(self, keys: Sequence[str], keyring: Keyring) -> None:
        # Hashes are of one length: comparing the keys themselves would tell theirs.
        self._hashes = [_hash(key) for key in keys]
        self._keyring = keyring

    def __call__(self, key: str) -> None:
        """Raise `UnauthorizedError` or `ForbiddenError` unless the key may send; may read the database."""
        if not self._is_configured(key):
            self._check(self._keyring.find(key) if key.startswith(PREFIX) else None)

    def pass_at_once(self, key: str) -> bool:
        """Whether the key may send, without waiting for anything; False: perhaps it may."""
        if self._is_configured(key):
            return True
        token = self._keyring.find_at_once(key) if key.startswith(PREFIX) else None
        return token is not None and Scope.EVENTS in token.scopes

    def _is_configured(self, key: str) -> bool:
        given, accepted = _hash(key), False
        for digest in self._hashes:
            accepted |= hmac.compare_digest(given, digest)
        return accepted

    @staticmethod
    def _check(token: Token | None) -> None:
        if token is None:
            raise UnauthorizedError("Event key not found")
        if Scope.EVENTS not in token.scopes:
            raise ForbiddenError(f"the token {token.name} may not send events: it needs the scope {Scope.EVENTS.value}")


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()
