"""What the use cases work with; put together in `orchestrator.bootstrap` and nowhere else."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from orchestrator.clock import Clock
from orchestrator.core.cron import CatchUp
from orchestrator.core.run import Policy
from orchestrator.drivers.base import Driver, HttpClient
from orchestrator.drivers.guard import AddressPolicy
from orchestrator.drivers.local import LocalDriver
from orchestrator.engine.groups import Groups
from orchestrator.engine.versions import Versions
from orchestrator.queue.announce import Announcer
from orchestrator.queue.lease import Holdings
from orchestrator.store.apply import Holder
from orchestrator.store.database import Database
from orchestrator.store.retention import Keep

_EVERYWHERE = AddressPolicy(allow_private=True)


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers the use cases go by."""

    server_kind: str = "dev"
    max_steps: int = 10_000
    max_state_bytes: int = 32 * 1024 * 1024
    retry_interval: timedelta | None = None
    call_timeout: timedelta = timedelta(hours=2)
    #: Of one request that the server makes for an app.
    fetch_timeout: timedelta = timedelta(minutes=10)
    #: A durable endpoint may go on without a word for this long before the server takes its run over.
    endpoint_silence: timedelta = timedelta(minutes=5)
    #: A worker goes on with the same run this long before it lets others have a turn.
    continue_calls: int = 50
    continue_span: timedelta = timedelta(seconds=5)
    #: Lost leases of one job after which it is dead.
    max_crashes: int = 5
    cron_catch_up: CatchUp = field(default_factory=CatchUp)
    ping_timeout: timedelta = timedelta(seconds=10)
    #: How long what is over is kept.
    keep: Keep = field(default_factory=Keep)
    #: Both sides of the wire prove themselves by one of these; the first is the one to sign with.
    signing_keys: tuple[str, ...] = field(default=(), repr=False)
    #: Where apps may be called.
    addresses: AddressPolicy = _EVERYWHERE

    def policy(self, max_attempts: int) -> Policy:
        """The bounds of a run of a function that may be tried so often."""
        return Policy(max_attempts, self.max_steps, self.retry_interval)


@dataclass(frozen=True, slots=True)
class Parts:
    """One process's means."""

    database: Database
    clock: Clock
    announcer: Announcer
    holdings: Holdings
    driver: Driver
    http: HttpClient
    settings: Settings = field(default_factory=Settings)
    #: What this process has read of its functions.
    versions: Versions = field(default_factory=Versions)
    #: The runs whose planned steps it called last.
    groups: Groups = field(default_factory=Groups)
    chance: Callable[[], float] = random.SystemRandom().random
    #: Functions of this very process.
    local: LocalDriver = field(default_factory=LocalDriver)

    def holder(self) -> Holder:
        """This process as the holder of leases made now."""
        now = self.clock.now()
        return Holder(self.holdings.owner, now, now + self.holdings.span)
