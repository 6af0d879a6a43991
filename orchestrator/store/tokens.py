"""API tokens: who may do what, known by a hash of their secret.  A revoked one is kept for those who ask later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update

from orchestrator.core.scope import Scope
from orchestrator.store.tables import api_tokens

#: Tokens that count at once; every process that is asked with one knows them all.
MOST = 1_000

_IS_LIVE = api_tokens.c.revoked_at.is_(None)
_BY_ID = api_tokens.c.id == bindparam("of_id")
_LIVE = select(api_tokens).where(_IS_LIVE).order_by(api_tokens.c.id).limit(MOST + 1)
_READ = select(api_tokens).where(_BY_ID)
_REVOKE = update(api_tokens).where(_BY_ID, _IS_LIVE).values(revoked_at=bindparam("at"))
_USED = (
    update(api_tokens)
    .where(_BY_ID, or_(api_tokens.c.last_used_at.is_(None), api_tokens.c.last_used_at < bindparam("before")))
    .values(last_used_at=bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret."""

    id: str
    name: str
    #: SHA-256 of the secret.
    hash: str
    #: The first characters of the secret, by which people tell tokens apart.
    hint: str
    scopes: frozenset[Scope]
    created_at: datetime
    #: When it was last seen, give or take a minute.
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


def add(conn: Connection, token: Token) -> None:
    """Write a new token."""
    values = {
        "id": token.id,
        "name": token.name,
        "hash": token.hash,
        "hint": token.hint,
        "scopes": " ".join(scope for scope in Scope if scope in token.scopes),
        "created_at": token.created_at,
    }
    conn.execute(insert(api_tokens), values)


def live(conn: Connection) -> list[Token]:
    """The tokens that count, the oldest first."""
    return [_token(row) for row in conn.execute(_LIVE).all()]


def get(conn: Connection, token_id: str) -> Token | None:
    """One token, also a revoked one."""
    row = conn.execute(_READ, {"of_id": token_id}).first()
    return _token(row) if row is not None else None


def page(
    conn: Connection, *, limit: int, before: str | None = None, scope: Scope | None = None, revoked: bool = True
) -> list[Token]:
    """The newest tokens (revoked ones, too), at most `limit`, older than the token `before`, with the scope."""
    query = select(api_tokens).order_by(api_tokens.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(api_tokens.c.id < before)
    if not revoked:
        query = query.where(_IS_LIVE)
    if scope is not None:
        query = query.where(api_tokens.c.scopes.contains(scope.value))
    return [_token(row) for row in conn.execute(query).all()]


def revoke(conn: Connection, token_id: str, now: datetime) -> bool:
    """Let a token count no more; False: there is none, or it was revoked before."""
    return conn.execute(_REVOKE, {"of_id": token_id, "at": now}).rowcount == 1


def used(conn: Connection, token_id: str, now: datetime, before: datetime) -> None:
    """Note that a token was used, unless that was noted after `before`."""
    conn.execute(_USED, {"of_id": token_id, "at": now, "before": before})


def _token(row: Row[Any]) -> Token:
    # A scope of a later version of ours is none that this one could ask for.
    known = frozenset(Scope(word) for word in row.scopes.split() if word in set(Scope))
    return Token(row.id, row.name, row.hash, row.hint, known, row.created_at, row.last_used_at, row.revoked_at)
