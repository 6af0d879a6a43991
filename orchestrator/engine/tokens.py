"""API tokens: made by somebody who may, shown once, known by their hash from then on, and revoked."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable

from orchestrator import log
from orchestrator.core.scope import Scope
from orchestrator.engine.parts import Parts
from orchestrator.errors import ConflictError, NotFoundError, RequestError
from orchestrator.ids import new_ulid
from orchestrator.store import audit, tokens
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.tokens import Token

_log = log.get(__name__)

#: What every token begins with, so that people and scanners of code know one.
PREFIX = "orch_"
MAX_NAME = 255
_BYTES = 24
_HINT = 10


@undisturbed
def create(parts: Parts, name: str, scopes: Iterable[Scope], actor: str | None = None) -> tuple[Token, str]:
    """Make a token; returns it with its secret, which is not kept.

    Raises `RequestError`, and `ConflictError` where there are as many as may be.
    """
    now, secret = parts.clock.now(), PREFIX + secrets.token_hex(_BYTES)
    token = Token(new_ulid(), _name(name), hashed(secret), secret[:_HINT], _some(scopes), now)
    with parts.database.write() as conn:
        if len(tokens.live(conn)) >= tokens.MOST:
            raise ConflictError(f"there are {tokens.MOST} tokens, which is the most: revoke one that is not needed")
        tokens.add(conn, token)
        told = {"name": token.name, "scopes": sorted(token.scopes)}
        audit.record(conn, "token made", token.id, now, actor=actor, data=told)
    _log.info("token made", token=token.id, name=token.name, scopes=sorted(token.scopes))
    return token, secret


@undisturbed
def revoke(parts: Parts, token_id: str, actor: str | None = None) -> Token:
    """Let a token count no more, within a second in every process; one that was revoked stays so.

    Raises `NotFoundError`.
    """
    now = parts.clock.now()
    with parts.database.write() as conn:
        revoked = tokens.revoke(conn, token_id, now)
        token = tokens.get(conn, token_id)
        if token is None:
            raise NotFoundError(f"there is no token {token_id}")
        if revoked:
            audit.record(conn, "token revoked", token.id, now, actor=actor, data={"name": token.name})
    if revoked:
        _log.info("token revoked", token=token.id, name=token.name)
    return token


def hashed(secret: str) -> str:
    """What a token is known by.  Secrets are long and random, so that a plain hash tells nothing of them."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _name(name: str) -> str:
    stripped = name.strip()
    if not 0 < len(stripped) <= MAX_NAME or not stripped.isprintable():
        raise RequestError(f"name must have 1 to {MAX_NAME} characters, none of them a control character")
    return stripped


def _some(scopes: Iterable[Scope]) -> frozenset[Scope]:
    chosen = frozenset(scopes)
    if not chosen:
        raise RequestError(f"scopes must name at least one of {', '.join(Scope)}")
    return chosen
