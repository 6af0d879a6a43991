"""What `orchestrator doctor` looks at: each check says what it found, and what to do where that is not well."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import partial

from orchestrator import bootstrap
from orchestrator.clock import Clock
from orchestrator.config import Config
from orchestrator.engine.examine import Examiner
from orchestrator.errors import ConfigError
from orchestrator.masking import mask_urls
from orchestrator.store import checkup, schema, workers
from orchestrator.store.database import POOL_SIZE, Connection

#: Connections of one worker: its pool, and the one that holds its sign of life.
WORKER_CONNECTIONS = POOL_SIZE + 1
_SKEW_WARN, _SKEW_FAIL = timedelta(seconds=1), timedelta(seconds=15)
_LAG_WARN, _LAG_FAIL = timedelta(seconds=5), timedelta(minutes=1)
_SHORTEST_SIGNING, _SHORTEST_EVENT = 32, 16


class Verdict(Enum):
    """How a check came out."""

    #: As it should be.
    OK = "ok"
    #: It works, and somebody should look at it.
    WARN = "warn"
    #: Something does not work.
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    verdict: Verdict
    said: str
    way_out: str = ""


def of_keys(config: Config) -> Iterator[Finding]:
    """Present, long enough, and not the same twice."""
    if config.mode == "dev":
        yield Finding("keys", Verdict.OK, "none needed in dev")
        return
    new = "`orchestrator keys new` makes a pair"
    yield from _signing_keys(config, new)
    short = [key for key in config.event_keys if len(key) < _SHORTEST_EVENT]
    if not config.event_keys:
        yield Finding("event keys", Verdict.FAIL, "not set: nobody can send events", f"set them: {new}")
    elif short:
        yield Finding("event keys", Verdict.WARN, f"{len(short)} of {len(config.event_keys)} are easily guessed", new)
    else:
        yield Finding("event keys", Verdict.OK, f"{len(config.event_keys)} set")


def _signing_keys(config: Config, new: str) -> Iterator[Finding]:
    key, fallback = config.signing_key, config.signing_key_fallback
    if key is None:
        yield Finding("signing key", Verdict.FAIL, "not set: neither web nor workers start", f"set it: {new}")
    elif len(key.rpartition("-")[2]) < _SHORTEST_SIGNING:
        yield Finding("signing key", Verdict.WARN, "is easily guessed", new)
    else:
        yield Finding("signing key", Verdict.OK, "set" + (", with a fallback" if fallback else ""))
    if fallback is not None and key is not None and fallback.rpartition("-")[2] == key.rpartition("-")[2]:
        yield Finding("signing key fallback", Verdict.WARN, "is the signing key itself", "take the fallback away")


def of_database(config: Config, clock: Clock) -> Iterator[Finding]:
    """Reachable, at the right revision, writable, roomy enough and at the same time; and the work in it."""
    url = config.database_url
    if url is None and config.mode == "dev":
        yield Finding("database", Verdict.OK, "none needed in dev")
        return
    if url is None:
        yield Finding(
            "database", Verdict.WARN, "not set: only `orchestrator start` works, on a file", "set DATABASE_URL"
        )
        return
    with checkup.connect(url) as conn:
        yield Finding("database", Verdict.OK, f"{checkup.version(conn)} at {mask_urls(url)}")
        yield from guarded("database settings", "", lambda: _settings(conn))
        complaint = schema.complaint(schema.current(url))
        if complaint is not None:
            yield Finding("schema", Verdict.FAIL, *_halves(complaint))
            return
        yield Finding("schema", Verdict.OK, f"revision {schema.read(conn)}")
        yield from guarded("writing", "grant this user INSERT, UPDATE and DELETE", lambda: _writing(conn))
        yield from guarded("connections", "", lambda: _connections(conn, clock))
        yield from guarded("clock", "", lambda: _clock(conn, clock))
        yield from guarded("workers", "", lambda: _workers(conn, clock))
        yield from guarded("work", "", lambda: _work(conn, clock))


def _halves(sentence: str) -> tuple[str, str]:
    said, _, way_out = sentence.partition(": ")
    return said, way_out


def _settings(conn: Connection) -> Iterator[Finding]:
    for said, way_out in checkup.shortcomings(conn):
        yield Finding("database settings", Verdict.FAIL, said, way_out)


def _writing(conn: Connection) -> Iterator[Finding]:
    checkup.try_writing(conn)
    yield Finding("writing", Verdict.OK, "rows can be written")


def _connections(conn: Connection, clock: Clock) -> Iterator[Finding]:
    found = checkup.connections(conn)
    if found is None:
        return
    most, used = found
    web = int(os.environ.get("WEB_CONCURRENCY") or os.cpu_count() or 1)
    alive = len(workers.alive(conn, clock.now()))
    needed = web * POOL_SIZE + max(alive, 1) * WORKER_CONNECTIONS
    said = f"{used} of {most} in use; {web} web processes and {max(alive, 1)} workers take up to {needed}"
    if needed > most:
        way_out = "raise the limit of the database, lower WEB_CONCURRENCY, or put a pooler between"
        yield Finding("connections", Verdict.FAIL, said, way_out)
    elif used > most * 0.9 or needed > most * 0.9:
        yield Finding("connections", Verdict.WARN, said, "there is little room left for a deploy, which has all twice")
    else:
        yield Finding("connections", Verdict.OK, said)


def _clock(conn: Connection, clock: Clock) -> Iterator[Finding]:
    before = clock.now()
    there = checkup.clock(conn)
    if there is None:
        return
    here = before + (clock.now() - before) / 2
    skew = abs(there - here)
    verdict = Verdict.FAIL if skew >= _SKEW_FAIL else Verdict.WARN if skew >= _SKEW_WARN else Verdict.OK
    said = f"{skew.total_seconds():.1f} s apart from the database's"
    yield Finding(
        "clock", verdict, said, "" if verdict is Verdict.OK else "let a time service set this machine's clock"
    )


def _workers(conn: Connection, clock: Clock) -> Iterator[Finding]:
    alive = workers.alive(conn, clock.now())
    if not alive:
        yield Finding("workers", Verdict.WARN, "none is alive: runs wait", "start `celery -A orchestrator worker`")
        return
    shown = ", ".join(f"{sign.host}:{sign.pid}" for sign in alive[:5]) + (", ..." if len(alive) > 5 else "")
    versions = sorted({sign.version for sign in alive})
    said = f"{len(alive)} alive ({shown}), {sum(sign.executors for sign in alive)} calls at once"
    if len(versions) > 1:
        yield Finding(
            "workers", Verdict.WARN, f"{said}, of versions {' and '.join(versions)}", "is a deploy under way?"
        )
    else:
        yield Finding("workers", Verdict.OK, f"{said}, version {versions[0]}")


def _work(conn: Connection, clock: Clock) -> Iterator[Finding]:
    now = clock.now()
    work = checkup.work(conn, now)
    oldest = min(filter(None, (work.due_since, work.overdue_since)), default=now)
    lag = now - oldest
    verdict = Verdict.FAIL if lag >= _LAG_FAIL else Verdict.WARN if lag >= _LAG_WARN else Verdict.OK
    way_out = "start more workers, or look at their logs" if verdict is not Verdict.OK else ""
    yield Finding("sweep", verdict, f"the oldest work that is due has waited {lag.total_seconds():.1f} s", way_out)
    if work.dead:
        count = f"{work.dead}{' or more' if work.dead >= checkup.MOST_DEAD else ''}"
        way_out = "their runs say why; `orchestrator requeue RUN_ID` lets one go on"
        yield Finding("dead jobs", Verdict.WARN, count, way_out)
    else:
        yield Finding("dead jobs", Verdict.OK, "none")


def of_broker(config: Config) -> Iterator[Finding]:
    """Reachable, and gives back what it is given."""
    url = config.broker_url
    if url is None and config.mode == "dev":
        yield Finding("broker", Verdict.OK, "none needed in dev")
        return
    if url is None:
        said = "not set: workers look for work four times a second"
        yield Finding("broker", Verdict.WARN, said, "set CLOUDAMQP_URL, REDIS_URL or ORCHESTRATOR_BROKER_URL")
        return
    from orchestrator.queue import broker, probe

    told = broker.of(config)
    assert told is not None
    seen = probe.round_trip(told)
    yield Finding("broker", Verdict.OK, f"{mask_urls(url)} is {seen}")
    if url.startswith("rediss:") and "ssl_cert_reqs=" not in url.lower().replace("ssl_cert_reqs=none", ""):
        said = "not checked: whoever sits between could read the password"
        way_out = "where its certificate is signed by an authority, add ?ssl_cert_reqs=required to the URL"
        yield Finding("broker certificate", Verdict.WARN, said, way_out)


def of_app(config: Config, url: str, clock: Clock) -> Iterator[Finding]:
    """Reachable from here, on an SDK, in our mode, and with our keys."""
    kind = bootstrap.kind(config)
    keys = bootstrap.signing_keys(config)
    found = Examiner(bootstrap.http_client(config), clock, kind, keys, config.event_keys).examine(url)
    check = f"app {mask_urls(url)}"
    if found.refused is not None:
        yield Finding(check, Verdict.FAIL, *_halves(found.refused))
        return
    count = "" if found.functions is None else f", {found.functions} functions"
    said = f"{found.sdk}{f' in {found.mode} mode' if found.mode else ''}{count}"
    if found.key:
        way_out = "give it the present signing key before the fallback goes"
        yield Finding(check, Verdict.WARN, f"{said}; it takes the fallback only", way_out)
    else:
        yield Finding(check, Verdict.OK, said + ("; it takes our signature" if found.key == 0 else ""))
    if found.event_key_known is False:
        said = "its event key is none of ours: what it sends is refused"
        yield Finding(f"{check}, events", Verdict.FAIL, said, "set INNGEST_EVENT_KEY there to one of our event keys")


def of_worker_here(config: Config, clock: Clock) -> Iterator[Finding]:
    """Whether a worker on this very host has given its sign lately."""
    if config.database_url is None:
        raise ConfigError("database_url is not set: give DATABASE_URL (or ORCHESTRATOR_DATABASE_URL) a database")
    host = socket.gethostname()[:255]
    with checkup.connect(config.database_url) as conn:
        here = [sign for sign in workers.alive(conn, clock.now()) if sign.host == host]
    if here:
        age = max(0.0, (clock.now() - max(sign.seen_at for sign in here)).total_seconds())
        yield Finding("worker", Verdict.OK, f"{len(here)} alive on {host}, seen {age:.0f} s ago")
    else:
        yield Finding("worker", Verdict.FAIL, f"none is alive on {host}", "look at its log")


def guarded(check: str, way_out: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of a check; what it raises is one, too."""
    try:
        yield from look()
    except ModuleNotFoundError as error:
        yield Finding(check, Verdict.FAIL, f"{error.name} is not installed", "install the extra that brings it")
    except Exception as error:  # drivers and transports raise whatever they like
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        yield Finding(check, Verdict.FAIL, mask_urls(first), way_out)


def all_of(config: Config, apps: Sequence[str], clock: Clock) -> Iterator[Finding]:
    """Every check, in the order in which one would look for what is wrong."""
    reach = "is the URL right, and may this machine connect?"
    yield from of_keys(config)
    yield from guarded("database", reach, lambda: of_database(config, clock))
    yield from guarded("broker", reach, lambda: of_broker(config))
    for url in apps:
        yield from guarded(f"app {mask_urls(url)}", reach, partial(of_app, config, url, clock))
