"""Apps, their functions, and the triggers that lead from events to functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, or_, select, update

from orchestrator.core.event import patterns
from orchestrator.core.function import Concurrency, Function
from orchestrator.ids import named_uuid
from orchestrator.store import allowances, overrides
from orchestrator.store.tables import apps, functions, triggers

_MATCHING = (
    select(
        triggers.c.event,
        triggers.c.expression,
        functions.c.id,
        functions.c.slug,
        functions.c.version,
        functions.c.paused_at,
    )
    .join(functions, functions.c.id == triggers.c.function_id)
    .where(triggers.c.event.in_(bindparam("names", expanding=True)), functions.c.archived_at.is_(None))
    .order_by(functions.c.slug, triggers.c.position)
)
_LISTENS = select(triggers.c.function_id).where(triggers.c.event.in_(bindparam("names", expanding=True))).limit(1)

_PAUSED = select(functions.c.paused_at).where(functions.c.id == bindparam("function")).with_for_update(read=True)


@dataclass(frozen=True, slots=True)
class App:
    """One registered app; `name` is None for one added by URL and never synced."""

    id: str
    name: str | None
    url: str
    checksum: str | None
    error: str | None
    error_code: str | None
    sdk_language: str | None
    sdk_version: str | None
    framework: str | None
    version: str | None
    synced_at: datetime | None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """A function that an event name may start, if `expression` agrees."""

    event: str
    expression: str | None
    function_id: str
    slug: str
    version: int
    #: It starts no runs at present.
    paused: bool = False


@dataclass(frozen=True, slots=True)
class StoredFunction:
    """A function as the store has it; `config` is the JSON text its app sent."""

    id: str
    app_id: str
    slug: str
    name: str
    version: int
    config: str
    checksum: str
    created_at: datetime
    archived_at: datetime | None
    #: Its waits also take events that came between the run's start and the wait.
    wait_look_back: bool = False
    #: Since when it starts no runs.
    paused_at: datetime | None = None
    #: How many calls at once an operator allows, where the app limits nothing.
    imposed: int | None = None
    #: What an operator wants of its starts (see `store.overrides`).
    overrides: str | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """A function an app declares, with its configuration as sent and the checksum of that."""

    function: Function
    config: str
    checksum: str


def listeners(conn: Connection, names: Sequence[str]) -> list[Listener]:
    """What events of these names may start (wildcards included), each function's triggers in their order."""
    wanted = {pattern for name in names for pattern in patterns(name)}
    rows = conn.execute(_MATCHING, {"names": sorted(wanted)})
    return [
        Listener(row.event, row.expression, row.id, row.slug, row.version, row.paused_at is not None) for row in rows
    ]


def anyone_listens(conn: Connection, name: str) -> bool:
    """Whether a trigger on this event name exists."""
    return conn.execute(_LISTENS, {"names": patterns(name)}).first() is not None


def all_apps(conn: Connection) -> list[App]:
    """Every app that is not archived."""
    query = select(apps).where(apps.c.archived_at.is_(None)).order_by(apps.c.created_at)
    return [_app(row) for row in conn.execute(query)]


def app_by_name(conn: Connection, name: str) -> App | None:
    """The app of this name, archived or not."""
    row = conn.execute(select(apps).where(apps.c.name == name)).first()
    return _app(row) if row else None


def app_by_id(conn: Connection, app_id: str) -> App | None:
    """The app with this id, archived or not."""
    row = conn.execute(select(apps).where(apps.c.id == app_id)).first()
    return _app(row) if row else None


def apps_by_ids(conn: Connection, ids: Sequence[str]) -> Mapping[str, App]:
    """The apps with these ids, archived or not."""
    return {row.id: _app(row) for row in conn.execute(select(apps).where(apps.c.id.in_(ids)))}


def functions_of(conn: Connection, app_id: str | None = None) -> list[StoredFunction]:
    """The functions that are not archived, of one app or of all."""
    query = select(functions).where(functions.c.archived_at.is_(None)).order_by(functions.c.slug)
    if app_id is not None:
        query = query.where(functions.c.app_id == app_id)
    return [_function(row) for row in conn.execute(query)]


def function(conn: Connection, function_id: str, *, lock: bool = False) -> StoredFunction | None:
    """One function, archived or not, by its id or its slug; whoever is about to change it by what it is locks it."""
    query = select(functions).where(or_(functions.c.id == function_id, functions.c.slug == function_id))
    row = conn.execute(query.with_for_update() if lock else query).first()
    return _function(row) if row else None


def by_ids(conn: Connection, ids: Sequence[str]) -> Mapping[str, StoredFunction]:
    """The functions with these ids, archived or not."""
    return {row.id: _function(row) for row in conn.execute(select(functions).where(functions.c.id.in_(ids)))}


def by_slugs(conn: Connection, slugs: Sequence[str]) -> Mapping[str, StoredFunction]:
    """The functions with these slugs, archived or not, by their slugs."""
    return {row.slug: _function(row) for row in conn.execute(select(functions).where(functions.c.slug.in_(slugs)))}


def of_apps(conn: Connection, app_ids: Sequence[str]) -> Mapping[str, Sequence[StoredFunction]]:
    """The functions of each of these apps that are not archived."""
    query = select(functions).where(functions.c.app_id.in_(app_ids), functions.c.archived_at.is_(None))
    found = dict[str, list[StoredFunction]]()
    for row in conn.execute(query.order_by(functions.c.slug)):
        found.setdefault(row.app_id, []).append(_function(row))
    return found


def is_paused(conn: Connection, function_id: str) -> bool:
    """Whether a function starts no runs at present, which stays so to the end of the transaction."""
    row = conn.execute(_PAUSED, {"function": function_id}).first()
    return row is not None and row.paused_at is not None


def set_paused(conn: Connection, slug: str, at: datetime | None) -> bool:
    """Pause a function, or resume it (None); False: it is so already, or there is no such function."""
    was = functions.c.paused_at.is_(None) if at is not None else functions.c.paused_at.is_not(None)
    return conn.execute(update(functions).where(functions.c.slug == slug, was).values(paused_at=at)).rowcount == 1


def set_wait_look_back(conn: Connection, slug: str, wanted: bool) -> bool:
    """Let a function's waits look back, or not; False: there is no such function."""
    statement = update(functions).where(functions.c.slug == slug).values(wait_look_back=wanted)
    return conn.execute(statement).rowcount == 1


def save_app(conn: Connection, app_id: str, values: dict[str, Any], now: datetime) -> None:
    """Write an app's row, new or known."""
    changed = conn.execute(update(apps).where(apps.c.id == app_id).values(**values)).rowcount
    if not changed:
        conn.execute(insert(apps).values(id=app_id, created_at=now, **values))


def forget_unnamed(conn: Connection, url: str) -> None:
    """Drop the place-holder of an app that was added by URL and has now told its name."""
    conn.execute(delete(apps).where(apps.c.url == url, apps.c.name.is_(None)))


def save_functions(conn: Connection, app_id: str, declared: Sequence[Declared], now: datetime) -> None:
    """Make an app's functions those declared: new ones added, changed ones a version up, missing ones archived."""
    # Locked: an operator may be changing them, too, and neither may write over what the other wants.
    query = select(functions).where(functions.c.app_id == app_id).order_by(functions.c.id).with_for_update()
    known = {row.slug: row for row in conn.execute(query)}
    for item in declared:
        _save_function(conn, app_id, item, known.pop(item.function.slug, None), now)
    for row in known.values():
        if row.archived_at is None:
            _archive(conn, row.id, now)


def save_function(conn: Connection, app_id: str, declared: Declared, now: datetime) -> None:
    """Write one function of an app, new or changed, and leave the others as they are."""
    query = select(functions).where(functions.c.slug == declared.function.slug).with_for_update()
    _save_function(conn, app_id, declared, conn.execute(query).first(), now)


def archive_app(conn: Connection, app_id: str, now: datetime) -> None:
    """Take an app and its functions out of service; their runs and history stay."""
    for stored in functions_of(conn, app_id):
        _archive(conn, stored.id, now)
    conn.execute(update(apps).where(apps.c.id == app_id).values(archived_at=now, checksum=None))


def _save_function(conn: Connection, app_id: str, item: Declared, row: Row[Any] | None, now: datetime) -> None:
    if row is not None and row.checksum == item.checksum and row.archived_at is None:
        return
    values: dict[str, Any] = {"name": item.function.name, "config": item.config, "checksum": item.checksum}
    values |= {"updated_at": now, "archived_at": None}
    if item.function.concurrency:
        values["imposed"] = None
    if row is None:
        function_id = named_uuid("function", item.function.slug)
        keys = {"id": function_id, "app_id": app_id, "slug": item.function.slug, "version": 1, "created_at": now}
        conn.execute(insert(functions).values(**keys, **values))
    else:
        function_id = row.id
        conn.execute(update(functions).where(functions.c.id == row.id).values(version=row.version + 1, **values))
        overrides.hurry(conn, row.id, now)
    _save_triggers(conn, function_id, item.function)
    imposed = row.imposed if row is not None else None
    allowances.save(conn, function_id, limited(item.function, imposed).concurrency)


def limited(function: Function, imposed: int | None, wanted: str | None = None) -> Function:
    """The function with the limits that an operator wants: calls at once where it has none of its own, and starts."""
    function = overrides.read(wanted).on(function)
    if imposed is None or function.concurrency:
        return function
    return replace(function, concurrency=(Concurrency(imposed),))


def _save_triggers(conn: Connection, function_id: str, declared: Function) -> None:
    conn.execute(delete(triggers).where(triggers.c.function_id == function_id))
    rows = [
        {
            "function_id": function_id,
            "position": at,
            "event": trigger.event,
            "expression": trigger.expression,
            "cron": trigger.cron,
        }
        for at, trigger in enumerate(declared.triggers)
    ]
    if rows:
        conn.execute(insert(triggers), rows)


def _archive(conn: Connection, function_id: str, now: datetime) -> None:
    conn.execute(update(functions).where(functions.c.id == function_id).values(archived_at=now))
    conn.execute(delete(triggers).where(triggers.c.function_id == function_id))


def _app(row: Row[Any]) -> App:
    return App(
        row.id,
        row.name,
        row.url,
        row.checksum,
        row.error,
        row.error_code,
        row.sdk_language,
        row.sdk_version,
        row.framework,
        row.version,
        row.synced_at,
        row.created_at,
    )


def _function(row: Row[Any]) -> StoredFunction:
    return StoredFunction(
        row.id,
        row.app_id,
        row.slug,
        row.name,
        row.version,
        row.config,
        row.checksum,
        row.created_at,
        row.archived_at,
        row.wait_look_back,
        row.paused_at,
        row.imposed,
        row.overrides,
    )
