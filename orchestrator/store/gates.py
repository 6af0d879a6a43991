"""Gates: what a function's promise has come to for one key, behind a lock.

Whoever decides about a start locks the gates that it goes through and keeps them to the end of its transaction.  The
kind stands first in a gate's key, so that the order of the keys, in which everybody locks, is also the order of the two
stages of admission.  A gate without a row is one of which nothing is remembered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, select, update

from orchestrator.store.changing import NewOnly
from orchestrator.store.expiry import Expiry
from orchestrator.store.tables import admissions, gates

# In the order of the stages.
BATCH, DEBOUNCE, RATE, SINGLETON, THROTTLE = "batch", "debounce", "rate", "singleton", "throttle"

#: A gate that nobody wrote a state to is kept so long.
_FRESH = timedelta(minutes=10)
_TRIES = 5

_INSERT = NewOnly(gates)
_KEYS = gates.c.key.in_(bindparam("keys", expanding=True))
_LOCK = select(gates.c.key, gates.c.function_id, gates.c.state).where(_KEYS).order_by(gates.c.key).with_for_update()
_GET = select(gates.c.key, gates.c.function_id, gates.c.state).where(gates.c.key == bindparam("of_key"))
_KEPT = (
    select(gates.c.key, gates.c.function_id, gates.c.state)
    .where(
        gates.c.function_id == bindparam("of_function"),
        gates.c.key.like(bindparam("of_kind")),
        gates.c.expires_at > bindparam("now"),
    )
    .limit(bindparam("most"))
)
_SAVE = (
    update(gates)
    .where(gates.c.key == bindparam("of_key"))
    .values(state=bindparam("new_state"), expires_at=bindparam("until"))
)
_EXPIRY = Expiry(gates.c.key, admissions.c.gate)


@dataclass(frozen=True, slots=True)
class Gate:
    """A locked gate; `state` is JSON text, None: nothing is remembered."""

    key: str
    function_id: str
    state: str | None


def gate_key(kind: str, function_id: str, key: str) -> str:
    """The name of the gate for one value of a function's key."""
    digest = hashlib.sha256(f"{function_id}\x1f{key}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{kind}:{digest[:48]}"


def lock(conn: Connection, wanted: Mapping[str, str], now: datetime) -> dict[str, Gate]:
    """Lock gates to the end of the transaction, each with the id of its function; those without a row get one."""
    if not wanted:
        return {}
    keys = sorted(wanted)
    rows = [{"key": key, "function_id": wanted[key], "expires_at": now + _FRESH} for key in keys]
    for _ in range(_TRIES):
        _INSERT.run(conn, rows)
        found = {row.key: Gate(row.key, row.function_id, row.state) for row in conn.execute(_LOCK, {"keys": keys})}
        # One that had expired may have been deleted while we waited for it.
        if len(found) == len(keys):
            return found
    raise RuntimeError(f"gates could not be locked: {set(keys) - set(found)}")


def get(conn: Connection, key: str) -> Gate | None:
    """A gate as it is, without its lock: to be told, not to decide by."""
    row = conn.execute(_GET, {"of_key": key}).first()
    return Gate(row.key, row.function_id, row.state) if row is not None else None


def of_function(conn: Connection, kind: str, function_id: str, now: datetime, most: int) -> list[Gate]:
    """Up to `most` gates of a kind that matter still, without their locks."""
    values = {"of_function": function_id, "of_kind": f"{kind}:%", "now": now, "most": most}
    return [Gate(row.key, row.function_id, row.state) for row in conn.execute(_KEPT, values)]


def save(conn: Connection, key: str, state: str | None, expires_at: datetime | None) -> None:
    """Write the state of a gate that the caller has locked; `expires_at` None: it is kept until it is saved again."""
    conn.execute(_SAVE, {"of_key": key, "new_state": state, "until": expires_at})


def expire(conn: Connection, now: datetime, most: int = 1000) -> int:
    """Delete up to `most` gates of which nothing matters any more; returns how many."""
    return _EXPIRY.delete(conn, now, most)
