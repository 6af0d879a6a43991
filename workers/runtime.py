"""What one Celery worker process works with: made once, after the fork, from the configuration."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator import bootstrap, log
from orchestrator.clock import SystemClock
from orchestrator.config import Config, require_secrets
from orchestrator.drivers.local import LocalDriver
from orchestrator.engine.branch import Held
from orchestrator.engine.parts import Parts
from orchestrator.engine.poll import Poller
from orchestrator.engine.register import add_url
from orchestrator.errors import ConfigError
from orchestrator.queue import broker
from orchestrator.queue.announce import Announcer, BrokerAnnouncer
from orchestrator.queue.local import LocalQueue, Own, Shared
from orchestrator.sdk.function import Registry
from orchestrator.store import schema
from orchestrator.store.patience import patiently
from orchestrator.workers.inprocess import InProcessWorker
from orchestrator.workers.modules import declare_all, import_modules
from orchestrator.workers.pool import Pool
from orchestrator.workers.sweeper import SWEEP, SWEEP_ALONE

_log = log.get(__name__)


@dataclass(slots=True)
class Runtime:
    """A running worker of this process."""

    worker: InProcessWorker
    parts: Parts
    poller: Poller | None = None

    def stop(self, *, outlast: bool = False) -> None:
        """Drain and end; with `outlast` not before the Celery tasks that hold jobs have ended, too."""
        if self.poller is not None:
            self.poller.stop()
        self.worker.stop(outlast=outlast)


def prepare(config: Config, *, guest: bool = False) -> str:
    """See that a worker can begin, and import its modules; returns the database's URL.

    A guest lives in somebody else's process, which needs no keys as long as nothing is reached over the network.
    Waits a while for a database that is away.  Raises `ConfigError` for what cannot be used.
    """
    if config.database_url is None:
        raise ConfigError(
            "database_url is not set: workers in processes of their own share a database; give DATABASE_URL one "
            "(or ORCHESTRATOR_DATABASE_URL), or run everything in one process with `orchestrator start`"
        )
    if not guest:
        require_secrets(config)
    import_modules(config.apps)
    url = config.database_url
    patiently(lambda: schema.check(url))
    return url


def start(config: Config, executors: int, apps: Mapping[str, Registry], *, guest: bool = False) -> Runtime:
    """Begin working, at most `executors` calls at once, for the functions of `apps` too.

    Raises `ConfigError` for what cannot be used (see `prepare`).
    """
    database_url = prepare(config, guest=guest)
    clock = SystemClock()
    queue = LocalQueue(clock)
    pool = Pool[Held](executors)
    local = LocalDriver(apps)
    told = broker.of(config)
    others: Announcer = BrokerAnnouncer(told) if told else Own(queue, local.holds)
    announcer = Shared(queue, others, lambda: max(0, pool.room - queue.depth), clock, local.holds)
    parts = bootstrap.parts(config, database_url, announcer, clock=clock, local=local)
    if told is None:
        _log.warning("no broker set", way_out="give ORCHESTRATOR_BROKER_URL one; until then workers look for work")
    every = SWEEP if told else SWEEP_ALONE
    worker = InProcessWorker(parts, queue, pool, alone=False, drain=config.grace, sweep_every=every)
    patiently(lambda: declare_all(parts, apps))
    worker.start()
    _log.info(
        "worker ready",
        owner=parts.holdings.owner,
        executors=executors,
        broker=told is not None,
        apps=[name for name, registry in apps.items() if not registry.empty],
    )
    return Runtime(worker, parts, _poller(config, parts))


def _poller(config: Config, parts: Parts) -> Poller | None:
    """Keep the apps named in the configuration synced, if there are any; every worker does, which does no harm."""
    if not config.sdk_urls:
        return None
    for url in config.sdk_urls:
        add_url(parts, url)
    poller = Poller(parts, interval=config.poll_interval, poll=config.poll, discover=False, own_port=0)
    poller.start()
    return poller


def configure_log(config: Config) -> None:
    """Write this process's records as JSON lines."""
    log.configure(log.render_json, config.log_level, sys.stdout)
