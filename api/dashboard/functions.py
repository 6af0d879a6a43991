"""Functions: what starts them, what they promise, how full their limits are; pausing, invoking, limiting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any
from urllib.parse import quote

import orjson
from flask import Response, request

from orchestrator.api.current import current_server
from orchestrator.api.dashboard.lists import address, mark, text
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.run_filters import EVERY
from orchestrator.api.dashboard.templating import go, nothing_new, page
from orchestrator.api.dashboard.visitor import actor
from orchestrator.core.concurrency import limit_id, needs
from orchestrator.core.cron import next_tick
from orchestrator.core.durations import format_duration
from orchestrator.core.function import Function
from orchestrator.core.override import Starts, takes_rate_limit
from orchestrator.engine.hold import pause, resume
from orchestrator.engine.invoke import invoke_once
from orchestrator.engine.limit import STARTS, Limited, StartsWithin, change, set_concurrency, starts_of
from orchestrator.engine.rate import use_of
from orchestrator.engine.search import search_runs
from orchestrator.errors import NotFoundError, RequestError
from orchestrator.protocol.function_config import read_function
from orchestrator.store import allowances, functions, overrides, pool_use, throttles
from orchestrator.store.allowances import Allowance
from orchestrator.store.database import Connection
from orchestrator.store.filters import RunFilter
from orchestrator.store.functions import StoredFunction
from orchestrator.store.pool_use import PoolUse

#: Pools at which calls wait, and runs, that a page shows.
_POOLS, _RUNS, _TICKS = 20, 10, 5
#: Counting those that wait for a throttle goes no further.
_COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class Listed:
    """One function of the list; `means` is None where its configuration cannot be read."""

    stored: StoredFunction
    means: Function | None
    app: str
    limits: tuple[Allowance, ...]


@routes.page("/functions")
def show_functions() -> Response:
    """List the functions."""
    wanted = text(request.args, "q").lower()
    with current_server().parts.database.read() as conn:
        stored, apps = functions.functions_of(conn), {app.id: app.name or app.url for app in functions.all_apps(conn)}
        limits = allowances.of_each(conn, [it.id for it in stored])
    listed = [Listed(it, _read(it), apps.get(it.app_id, ""), tuple(limits.get(it.id, ()))) for it in stored]
    found = [it for it in listed if wanted in f"{it.stored.slug} {it.stored.name} {it.app}".lower()]
    return page("functions.html", found=found, wanted=wanted, any=bool(stored))


@routes.page("/functions/<path:slug>")
def show_function(slug: str) -> Response:
    """Show one function."""
    parts = current_server().parts
    now = parts.clock.now()
    with parts.database.read() as conn:
        stored = _stored(conn, slug)
        app = functions.app_by_id(conn, stored.app_id)
        means, limits = _read(stored), allowances.of_function(conn, stored.id)
        uses = _uses(conn, stored, means)
        throttled = means is not None and means.throttle is not None
        held = throttles.held_of(conn, stored.id, _COUNTED) if throttled else None
        rate = use_of(conn, stored.id, means.rate_limit, now) if means is not None and means.rate_limit else None
        runs = search_runs(conn, RunFilter(function_ids=(stored.id,)), limit=_RUNS)
    seen = mark([stored, limits, uses, held, rate, runs.items])
    if seen == request.args.get("seen"):
        return nothing_new()
    return page(
        "function.html",
        every=EVERY,
        held=held if held is not None and held.number else None,
        poll=address(_page_of(stored.slug), request.args, seen=seen),
        function=stored,
        means=means,
        app=app,
        limits=[(limit, [use for use in uses if use.limit_id == limit.limit_id]) for limit in limits],
        runs=runs.items,
        ticks=[
            (it.cron, list(islice(_ticks(it.cron, now), _TICKS))) for it in (means.triggers if means else ()) if it.cron
        ],
        promises=list(_promises(means)) if means else [],
        starts=list(_starts(stored, means)) if means else [],
        rate=rate,
    )


@routes.action("/functions/pause")
def pause_function() -> Response:
    """Let a function start no runs."""
    found = pause(current_server().parts, _slug(), actor())
    return go(_page_of(found.slug), f"{found.name} is paused")


@routes.action("/functions/resume")
def resume_function() -> Response:
    """Let it start runs again."""
    found = resume(current_server().parts, _slug(), actor())
    return go(_page_of(found.slug), f"{found.name} starts runs again")


@routes.action("/functions/invoke")
def invoke_function() -> Response:
    """Start a run of it with the data of the form."""
    run_id = invoke_once(current_server().parts, _slug(), _object(request.form.get("data", "")), None, actor())
    return go(f"/runs/{run_id}", "A run is about to begin")


@routes.action("/functions/limit")
def limit_function() -> Response:
    """Set how many calls it makes at once; an empty number is what its app declares."""
    slug, number = _slug(), request.form.get("concurrency", "").strip()
    if number and not (number.isascii() and number.isdecimal() and len(number) < 10 and int(number) > 0):
        raise RequestError(f"concurrency must be a whole number from 1 to 999999999, not {number[:40]}")
    set_concurrency(current_server().parts, slug, int(number) if number else None, request.form.get("key"), actor())
    return go(_page_of(slug), "The limit counts at once" if number else "The limit is that of the app again")


@routes.action("/functions/starts")
def limit_starts() -> Response:
    """Set how many runs it starts within a period; an empty number is what its app declares."""
    slug, number = _slug(), request.form.get("number", "").strip()
    of = next((name for name in STARTS if name == request.form.get("of", "")), None)
    if of is None:
        raise RequestError("the form names no limit: it must be throttle or rate_limit")
    if number and not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise RequestError(f"number must be a whole number from 1 to 999999999, not {number[:40]}")
    wanted = starts_of(of, int(number), request.form.get("period", "").strip()) if number else None
    change(current_server().parts, slug, [StartsWithin(of, wanted)], actor())
    return go(_page_of(slug), "The limit counts from now on" if number else "The limit is that of the app again")


@dataclass(frozen=True, slots=True)
class StartsLimit:
    """A limit on starts as the page shows it: what counts (None: nothing), and whether an operator wants it so."""

    of: Limited
    name: str
    counts: Starts | None
    wanted: bool

    @property
    def period(self) -> str:
        """As a form takes it."""
        return format_duration(self.counts.period) if self.counts is not None else "1m"


def _starts(stored: StoredFunction, means: Function) -> Iterator[StartsLimit]:
    wanted = overrides.read(stored.overrides)
    throttle, rate = means.throttle, means.rate_limit
    counts = Starts(throttle.limit, throttle.period) if throttle is not None else None
    yield StartsLimit("throttle", "Throttle", counts, wanted.throttle is not None)
    if takes_rate_limit(means):
        counts = Starts(rate.limit, rate.period) if rate is not None else None
        yield StartsLimit("rate_limit", "Rate limit", counts, wanted.rate_limit is not None)


def _read(stored: StoredFunction) -> Function | None:
    try:
        config = orjson.loads(stored.config)
        return functions.limited(read_function(config, stored.slug, ours=True), stored.imposed, stored.overrides)
    except RequestError:
        return None


def _stored(conn: Connection, slug: str) -> StoredFunction:
    # Databases refuse a zero byte instead of finding nothing.
    found = functions.function(conn, slug) if "\0" not in slug else None
    if found is None:
        raise NotFoundError(f"there is no function {slug[:200]}")
    return found


def _uses(conn: Connection, stored: StoredFunction, means: Function | None) -> list[PoolUse]:
    if means is None or not means.concurrency:
        return []
    keyless, _ = needs(stored.id, [limit for limit in means.concurrency if limit.key is None], None)
    keys = [pool.key for pool in keyless.pools] if keyless is not None else []
    return pool_use.of_function(conn, stored.id, [limit_id(it) for it in means.concurrency], keys, _POOLS)


def _ticks(line: str, now: datetime) -> Iterator[datetime]:
    tick = next_tick(line, now)
    while tick is not None:
        yield tick
        tick = next_tick(line, tick)


def _promises(means: Function) -> Iterator[tuple[str, str]]:
    """What the function asks for besides concurrency, in words."""
    yield "Retries", f"{means.retries} after the first attempt"
    if (it := means.throttle) is not None:
        yield "Throttle", f"{it.limit} starts in {format_duration(it.period)}, {it.burst} more at once{_by(it.key)}"
    if (rate := means.rate_limit) is not None:
        yield "Rate limit", f"{rate.limit} starts in {format_duration(rate.period)}{_by(rate.key)}, the rest is skipped"
    if (debounce := means.debounce) is not None:
        cap = f", {format_duration(debounce.timeout)} at most" if debounce.timeout else ""
        yield "Debounce", f"{format_duration(debounce.period)} after the last event{cap}{_by(debounce.key)}"
    if (batch := means.batch) is not None:
        yield "Batch", f"up to {batch.max_size} events, or after {format_duration(batch.timeout)}{_by(batch.key)}"
    if (single := means.singleton) is not None:
        yield "Singleton", f"{single.mode}{_by(single.key)}"
    yield from _more(means)


def _more(means: Function) -> Iterator[tuple[str, str]]:
    if means.priority is not None:
        yield "Priority", means.priority
    if means.idempotency is not None:
        yield "Idempotency", means.idempotency
    if means.timeouts.start is not None:
        yield "Begins within", format_duration(means.timeouts.start)
    if means.timeouts.finish is not None:
        yield "Ends within", format_duration(means.timeouts.finish)
    for cancel in means.cancels:
        yield "Cancelled by", f"{cancel.event}{f' if {cancel.expression}' if cancel.expression else ''}"


def _by(key: str | None) -> str:
    return f", by {key}" if key else ""


def _slug() -> str:
    slug = request.form.get("function", "")
    if not slug or "\0" in slug:
        raise NotFoundError("the form names no function")
    return slug


def _object(given: str) -> str:
    try:
        found: Any = orjson.loads(given or "{}")
    except orjson.JSONDecodeError as error:
        raise RequestError(f"data must be a JSON object: {error}") from None
    if not isinstance(found, dict):
        raise RequestError("data must be a JSON object")
    return given.strip() or "{}"


def _page_of(slug: str) -> str:
    return f"/functions/{quote(slug)}"
