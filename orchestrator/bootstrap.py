"""The only place where real parts are chosen and put together."""

from __future__ import annotations

from orchestrator.clock import Clock
from orchestrator.config import Config
from orchestrator.core.cron import CatchUp
from orchestrator.drivers.curl import CurlClient
from orchestrator.drivers.guard import AddressPolicy, parse_networks
from orchestrator.drivers.http import HttpDriver
from orchestrator.drivers.local import LocalDriver
from orchestrator.engine.parts import Parts, Settings
from orchestrator.protocol.events import EventLimits
from orchestrator.queue.announce import Announcer
from orchestrator.queue.lease import Holdings
from orchestrator.store.database import Database, Synchronous
from orchestrator.store.presence import Presence
from orchestrator.store.retention import Keep


def parts(
    config: Config,
    database_url: str,
    announcer: Announcer,
    *,
    synchronous: Synchronous = "FULL",
    clock: Clock,
    local: LocalDriver | None = None,
) -> Parts:
    """The means of one process, as configured."""
    server_kind = kind(config)
    database = Database(database_url, synchronous=synchronous)
    http = http_client(config)
    driver = HttpDriver(
        http,
        clock=clock,
        signing_key=config.signing_key,
        signing_key_fallback=config.signing_key_fallback,
        server_kind=server_kind,
    )
    return Parts(
        database=database,
        clock=clock,
        announcer=announcer,
        holdings=Holdings(database, Presence(database), config.lease),
        driver=driver,
        http=http,
        settings=settings(config, server_kind),
        local=local or LocalDriver(),
    )


def http_client(config: Config) -> CurlClient:
    """What requests to apps are made with."""
    return CurlClient(policy=addresses(config))


def kind(config: Config) -> str:
    """What the server calls itself to apps."""
    return "dev" if config.mode == "dev" else "cloud"


def settings(config: Config, server_kind: str) -> Settings:
    """The engine's numbers, as configured."""
    return Settings(
        server_kind=server_kind,
        max_steps=config.max_steps,
        max_state_bytes=config.max_state_bytes,
        retry_interval=config.retry_interval or None,
        call_timeout=config.call_timeout,
        fetch_timeout=config.fetch_timeout,
        endpoint_silence=config.endpoint_silence,
        continue_calls=config.continue_calls,
        continue_span=config.continue_span,
        cron_catch_up=CatchUp(config.cron_catch_up, config.cron_catch_up_window),
        keep=keep(config),
        signing_keys=signing_keys(config),
        addresses=addresses(config),
    )


def keep(config: Config) -> Keep:
    """How long things are kept, as configured."""
    return Keep(config.retention_runs, config.retention_events, config.retention_dead_jobs, config.retention_audit)


def signing_keys(config: Config) -> tuple[str, ...]:
    """The keys that prove an app to us and us to an app, the one to sign with first."""
    return tuple(key for key in (config.signing_key, config.signing_key_fallback) if key)


def addresses(config: Config) -> AddressPolicy:
    """Where apps may be called: everywhere in development, else where the public is and in the networks allowed."""
    return AddressPolicy(allow_private=config.mode == "dev", allowed=parse_networks(",".join(config.allowed_networks)))


def event_limits(config: Config) -> EventLimits:
    """How much one request to the event API may hold, as configured."""
    return EventLimits(config.max_event_bytes, config.max_request_bytes, config.max_events_per_request)
