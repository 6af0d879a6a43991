"""Sign in: a name and a password become a session, which a browser proves by a secret that is not kept.

Guessing is slow: ten wrong passwords for a name from one address, and fifty from one address, within a quarter of an
hour, and no more are looked at until one of them is that old.  The database counts, so it holds for all processes.
Whoever has one address of IPv6 has the whole network of 64 bits around it: that counts as one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from ipaddress import IPv4Address, ip_address

from orchestrator import log
from orchestrator.core.role import Role
from orchestrator.engine.passwords import hash_password, is_password
from orchestrator.engine.users import user_name
from orchestrator.errors import RequestError, UnauthorizedError
from orchestrator.store import audit, keys, sessions, users
from orchestrator.store.database import Database
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.users import User

_log = log.get(__name__)

#: Wrong passwords within `WITHIN`.
PER_NAME, PER_ADDRESS = 10, 50
WITHIN = timedelta(minutes=15)
#: A session ends so long after it began, however much it is used.
LONGEST = timedelta(days=7)
#: Passwords that are looked at together in one process: each takes 32 MiB and a core.
_AT_ONCE = threading.BoundedSemaphore(2)
_PATIENCE = 5.0
_WRONG = "name or password is wrong"


class TooManyError(RequestError):
    """There were too many attempts; try again later."""

    status = 429
    code = "too_many_attempts"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in, and what proves that a form of theirs is theirs."""

    name: str
    role: Role
    session_id: str
    csrf: str
    user_id: str


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An attempt to sign in, the places that it has taken, and where it comes from."""

    id: str
    places: Sequence[tuple[str, ...]]
    address: str


def sign_in(database: Database, name: str, password: str, address: str, now: datetime, span: timedelta) -> str:
    """Open a session that lasts `span` from its last use; returns its secret.

    Raises `UnauthorizedError`, which does not tell a wrong name from a wrong password, and `TooManyError`.
    """
    known = _known_name(name)
    attempt = secrets.token_hex(16)
    claimed = _claim(database, known, address, attempt, now)
    user = _check(database, known, password)
    secret = secrets.token_urlsafe(32)
    _open(database, user, secret, _Attempt(attempt, claimed, address), now, now + min(span, LONGEST))
    _log.info("signed in", user=known, address=address)
    return secret


def prove(database: Database, person: Person, password: str, address: str, now: datetime) -> None:
    """Check that somebody who is signed in knows their password; wrong ones count as attempts to sign in.

    Raises `UnauthorizedError` and `TooManyError`.
    """
    attempt = secrets.token_hex(16)
    claimed = _claim(database, person.name, address, attempt, now)
    _check(database, person.name, password)
    _give_back(database, _Attempt(attempt, claimed, address))


def who(database: Database, secret: str, now: datetime, span: timedelta) -> Person | None:
    """Whoever holds the secret of an open session; that it is used prolongs it, noted now and again."""
    session_id = _digest(secret)
    with database.read() as conn:
        session = sessions.open_one(conn, session_id, now)
    if session is None:
        return None
    until = min(now + span, session.created_at + LONGEST)
    if until - session.expires_at > span / 20:
        _prolong(database, session_id, until)
    return Person(session.name, session.role, session_id, csrf_token(secret), session.user_id)


@undisturbed
def sign_out(database: Database, person: Person) -> None:
    """Close the session."""
    with database.write() as conn:
        sessions.end(conn, person.session_id)
    _log.info("signed out", user=person.name)


def csrf_token(secret: str) -> str:
    """What forms of a session carry: it cannot be made without the secret, and does not tell it."""
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()[:32]


def _known_name(name: str) -> str:
    try:
        return user_name(name)
    except RequestError:
        raise UnauthorizedError(_WRONG) from None


@undisturbed
def _claim(database: Database, name: str, address: str, attempt: str, now: datetime) -> list[tuple[str, ...]]:
    """Take a place among the attempts of a name and of an address; it is given back when the password was right."""
    claimed, origin = [], _origin(address)
    with database.write() as conn:
        for scope, most in ((("sign-in", name, origin), PER_NAME), (("sign-in", origin), PER_ADDRESS)):
            places = ((*scope, str(number)) for number in range(most))
            free = next((it for it in places if keys.claim(conn, it, attempt, now, now + WITHIN) == attempt), None)
            if free is None:
                _log.warning("sign-in refused", user=name, address=address)
                raise TooManyError("there were too many attempts to sign in; try again in a quarter of an hour")
            claimed.append(free)
    return claimed


@undisturbed
def _open(database: Database, checked: User, secret: str, attempt: _Attempt, now: datetime, until: datetime) -> None:
    with database.write() as conn:
        user = users.lock(conn, checked.name)
        if user is None or user.password != checked.password:  # removed, or given another password, just now
            raise UnauthorizedError(_WRONG)
        for place in attempt.places:
            keys.release(conn, place, attempt.id)
        sessions.add(conn, _digest(secret), user.id, now, until)
        users.signed_in(conn, user.id, now)
        audit.record(conn, "signed in", user.name, now, actor=user.name, data={"address": attempt.address})


@undisturbed
def _give_back(database: Database, attempt: _Attempt) -> None:
    with database.write() as conn:
        for place in attempt.places:
            keys.release(conn, place, attempt.id)


@undisturbed
def _prolong(database: Database, session_id: str, until: datetime) -> None:
    with database.write() as conn:
        sessions.prolong(conn, session_id, until)


def _check(database: Database, name: str, password: str) -> User:
    with database.read() as conn:
        user = users.by_name(conn, name)
    if not _AT_ONCE.acquire(timeout=_PATIENCE):
        raise TooManyError("many people sign in at this moment; try again")
    try:
        # Of a name that is not known, as much is computed: the time of a refusal tells nothing.
        right = is_password(password, user.password if user is not None else _nobodys())
    finally:
        _AT_ONCE.release()
    if user is None or not right:
        _log.warning("sign-in failed", user=name)
        raise UnauthorizedError(_WRONG)
    return user


def _origin(address: str) -> str:
    """What of an address its owner cannot choose."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    return str(found.ipv4_mapped) if found.ipv4_mapped is not None else f"{int(found) >> 64:x}/64"


@cache
def _nobodys() -> str:
    return hash_password(secrets.token_urlsafe())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
