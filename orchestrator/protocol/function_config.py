"""A function as its SDK describes it, checked and turned into `core.function.Function`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

from orchestrator.core.cron import ZONE
from orchestrator.core.function import (
    DEFAULT_RETRIES,
    Batch,
    Cancel,
    Concurrency,
    Debounce,
    Function,
    RateLimit,
    Singleton,
    Throttle,
    Timeouts,
    Trigger,
)
from orchestrator.protocol import sync_limits as limits
from orchestrator.protocol.fields import Field

SCHEMES = ("http", "https", "ws", "wss")
#: Where functions live in processes of their own; nobody may claim that from outside.
LOCAL = "local"
#: Where runs are gone on with by repeating the request that began them (see `protocol.endpoint`).
ENDPOINT = "endpoint"

# croniter's own inventions: H is a hash, R is chance; a function must start at the same minutes wherever it is asked.
_FOREIGN_CRON = re.compile(r"(?<![A-Za-z])[HhRr](?![A-Za-z])")
_PATTERN = re.compile(r"[^*]*(?:[/.]\*)?")
_NOT_OF_SLUG = re.compile(r"[^a-z0-9]+")
_URL_CHARACTERS = re.compile(r"[!-~]+")
_QUERY_OF_SYNC = ("deployId", "probe")
#: What makes no sense for a run of many events, each of which has its own value.
_ALONE = ("cancel", "debounce", "singleton", "priority", "rateLimit", "idempotency")


def read_function(config: object, place: str, *, ours: bool = False) -> Function:
    """Read one function; `place` names it until its own id is known.  Raises `RequestError`.

    `ours`: it comes from this process or from the store, and may live in processes.
    """
    slug, name = _names(Field(place, "", config))
    field = Field(f'function "{slug}"', "", config)
    step = _only_step(field["steps"])
    idempotency = field["idempotency"].expression()
    function = Function(
        slug=slug,
        name=name,
        url=read_url(step["runtime"]["url"], (*SCHEMES, LOCAL, ENDPOINT) if ours else SCHEMES),
        triggers=_triggers(field["triggers"]),
        retries=_retries(field, step),
        cancels=tuple(map(_cancel, field["cancel"].items(limits.MAX_CANCELS))),
        concurrency=_concurrency(field["concurrency"]),
        throttle=_throttle(field["throttle"]),
        # Asking for idempotency is asking for another rate limit in place of this one.
        rate_limit=None if idempotency else _rate_limit(field["rateLimit"]),
        debounce=_debounce(field["debounce"]),
        batch=_batch(field["batchEvents"]),
        priority=_priority(field["priority"]),
        singleton=_singleton(field["singleton"]),
        timeouts=_timeouts(field["timeouts"]),
        idempotency=idempotency,
    )
    if function.batch is not None:
        _check_batch_alone(field)
    return function


def read_url(field: Field, schemes: Sequence[str] = SCHEMES) -> str:
    """Read an address an app can be called at; the query parameters that belong to syncing are dropped."""
    url = field.text(limits.MAX_URL)
    wish = f"a URL that starts with {', '.join(scheme + '://' for scheme in schemes)} and names a host"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not _URL_CHARACTERS.fullmatch(url):
        raise field.refuse(wish)
    address, _, query = url.partition("?")
    kept = [part for part in query.split("&") if part and part.partition("=")[0] not in _QUERY_OF_SYNC]
    return f"{address}?{'&'.join(kept)}" if kept else address


def _names(field: Field) -> tuple[str, str]:
    given_id, given_name = field["id"], field["name"]
    slug = given_id.text(limits.MAX_NAME) if given_id.present else ""
    name = given_name.text(limits.MAX_NAME) if given_name.present else slug
    slug = slug or _NOT_OF_SLUG.sub("-", name.lower()).strip("-")
    if not slug:
        raise given_id.refuse(f"a text of 1 to {limits.MAX_NAME} characters")
    return slug, name


def _only_step(steps: Field) -> Field:
    members = steps.members()
    if len(members) != 1:
        raise steps.fault(f"must have exactly one entry, got {len(members)}")
    name, step = next(iter(members.items()))
    return Field(steps.owner, f"steps.{name}"[: limits.MAX_NAME], step)


def _retries(field: Field, step: Field) -> int:
    retries = step["retries"]
    for count in (retries["attempts"] if retries.present else retries, field["retries"]):
        if count.present:
            return count.integer(0, limits.MAX_RETRIES)
    return DEFAULT_RETRIES


# What starts a function, and what ends it.


def _triggers(field: Field) -> tuple[Trigger, ...]:
    triggers = list[Trigger]()
    for item in field.items(limits.MAX_TRIGGERS):
        trigger = _trigger(item)
        if any(_same_start(trigger, other) for other in triggers):
            raise item.fault("is there twice")
        triggers.append(trigger)
    return tuple(triggers)


def _same_start(one: Trigger, other: Trigger) -> bool:
    return (one.event, one.expression, one.cron) == (other.event, other.expression, other.cron)


def _trigger(field: Field) -> Trigger:
    event, cron = field["event"], field["cron"]
    if event.present == cron.present:
        raise field.fault("must have either an event or a cron")
    if cron.present:
        jitter = field["jitter"].maybe_duration(limits.MIN_JITTER, limits.MAX_JITTER)
        return Trigger(cron=_cron(cron), jitter=jitter)
    name = event.text(limits.MAX_NAME)
    if not _PATTERN.fullmatch(name):
        raise event.refuse('a name with no "*" but one at its end, after "/" or "."')
    return Trigger(event=name, expression=field["expression"].expression())


def _cron(field: Field) -> str:
    line = field.text(limits.MAX_CRON)
    zone = ZONE.match(line)
    if zone is not None:
        _check_zone(field, zone[1])
    schedule = line[zone.end() :] if zone else line
    wish = "a cron line of five fields: minute, hour, day of month, month, day of week"
    if len(schedule.split()) != 5 or _FOREIGN_CRON.search(schedule):
        raise field.refuse(wish)
    try:
        croniter.expand(schedule)
    except (CroniterError, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError):
        raise field.refuse(wish) from None
    return line


def _check_zone(field: Field, name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise field.refuse("in a time zone that exists") from None


def _cancel(field: Field) -> Cancel:
    return Cancel(
        event=field["event"].text(limits.MAX_NAME),
        expression=field["if"].expression(restricted=True),
        timeout=field["timeout"].maybe_duration(limits.MIN_TIMEOUT, limits.MAX_TIMEOUT),
    )


def _timeouts(field: Field) -> Timeouts:
    if not field.present:
        return Timeouts()
    bounds = limits.MIN_TIMEOUT, limits.MAX_TIMEOUT
    return Timeouts(field["start"].maybe_duration(*bounds), field["finish"].maybe_duration(*bounds))


# The promises it asks for.


def _concurrency(field: Field) -> tuple[Concurrency, ...]:
    if not field.present:
        return ()
    if isinstance(field.value, dict) and (field["fn"].present or field["step"].present):
        whole = _slots(field["fn"], most=1, whole_run=True)
        return whole + _slots(field["step"], limits.MAX_CONCURRENCY)
    return _slots(field, limits.MAX_CONCURRENCY)


def _slots(field: Field, most: int, whole_run: bool = False) -> tuple[Concurrency, ...]:
    entries = field.items(most) if isinstance(field.value, list | None) else iter((field,))
    return tuple(slot for entry in entries if (slot := _slot(entry, whole_run)) is not None)


def _slot(field: Field, whole_run: bool) -> Concurrency | None:
    if not isinstance(field.value, dict):
        count = field.integer(0, limits.MAX_COUNT)
        return Concurrency(count, whole_run=whole_run) if count else None
    key, scope = field["key"].expression(), _scope(field["scope"])
    if scope != "fn" and key is None:
        raise field["key"].refuse(f'an expression where the scope is "{scope}"')
    count = field["limit"].integer(0, limits.MAX_COUNT) if field["limit"].present else 0
    return Concurrency(count, key, scope, whole_run) if count else None


def _scope(field: Field) -> Literal["fn", "env", "account"]:
    match field.value:
        case None | "":
            return "fn"
        case "fn" | "env" | "account" as scope:
            return scope
        case _:
            raise field.refuse('"fn", "env" or "account"')


def _throttle(field: Field) -> Throttle | None:
    if not field.present:
        return None
    burst = field["burst"].integer(0, limits.MAX_COUNT) if field["burst"].present else 0
    return Throttle(_limit(field), _period(field), burst, field["key"].expression())


def _rate_limit(field: Field) -> RateLimit | None:
    if not field.present:
        return None
    return RateLimit(_limit(field), _period(field), field["key"].expression())


def _limit(field: Field) -> int:
    return field["limit"].integer(1, limits.MAX_COUNT)


def _period(field: Field) -> timedelta:
    return field["period"].duration(limits.MIN_PERIOD, limits.MAX_PERIOD)


def _debounce(field: Field) -> Debounce | None:
    if not field.present:
        return None
    return Debounce(
        period=field["period"].duration(limits.MIN_DEBOUNCE, limits.MAX_DEBOUNCE),
        timeout=field["timeout"].maybe_duration(limits.MIN_DEBOUNCE, limits.MAX_TIMEOUT),
        key=field["key"].expression(),
    )


def _batch(field: Field) -> Batch | None:
    if not field.present:
        return None
    timeout = field["timeout"].maybe_duration(limits.MIN_BATCH_TIMEOUT, limits.MAX_BATCH_TIMEOUT)
    return Batch(
        max_size=field["maxSize"].integer(limits.MIN_BATCH, limits.MAX_BATCH),
        timeout=timeout or limits.DEFAULT_BATCH_TIMEOUT,
        key=field["key"].expression(),
        expression=field["if"].expression(),
    )


def _check_batch_alone(field: Field) -> None:
    for name in _ALONE:
        if field[name].value:
            raise field.fault(f"batchEvents cannot be combined with {name}")


def _priority(field: Field) -> str | None:
    return field["run"].expression() if field.present else None


def _singleton(field: Field) -> Singleton | None:
    if not field.present:
        return None
    mode = field["mode"]
    match mode.value:
        case "skip" | "cancel" as known:
            return Singleton(known, field["key"].expression())
        case _:
            raise mode.refuse('"skip" or "cancel"')
