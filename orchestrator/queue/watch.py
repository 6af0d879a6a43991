"""Looking at the broker for people: from a thread of its own, so that whoever asks never waits long for it.

One look at a time, and what was seen is good for some seconds, however many people ask.  A broker that hangs holds
that one thread; who asks meanwhile is told that it does not answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from orchestrator.errors import OrchestratorError
from orchestrator.masking import mask_urls
from orchestrator.queue.announce import Announcer, BrokerAnnouncer, Silence
from orchestrator.queue.broker import Broker
from orchestrator.queue.probe import Probed, look

#: Seconds that an outcome is good for, and that somebody who asks waits for the first one.
FRESH = 5.0
PATIENCE = 1.0
_LONGEST = 300
_MEANWHILE = "Nothing is lost meanwhile: workers find the work in the database, a little later."
_NONE = "Workers look into the database four times a second. A broker makes many workers quicker."
_SET = "Set CLOUDAMQP_URL, REDIS_URL or ORCHESTRATOR_BROKER_URL for web and workers."
_REACH = f"Does it run, is its URL right, and may this machine connect? {_MEANWHILE}"
_REFUSED = f"Look at the name and the password in its URL. {_MEANWHILE}"
#: What errors of a login are made of, in the words of transports.
_LOGIN = ("auth", "access_refused", "password", "login", "403", "credential", "invalidclienttoken")


@dataclass(frozen=True, slots=True)
class BrokerHealth:
    """What is known of the broker; `reachable` None: there is none to reach, or nobody knows yet."""

    #: `none`, `in process`, or what its URL begins with.
    kind: str
    reachable: bool | None = None
    #: Where it is, without names and passwords.
    place: str = ""
    #: What it calls itself, with its version.
    product: str = ""
    #: Hints that wait there, by queue; None: the queue has not been made.
    queues: Mapping[str, int | None] = field(default_factory=dict)
    problem: str = ""
    way_out: str = ""


class BrokerWatch:
    """Knows how a broker is."""

    def __init__(
        self,
        told: Broker,
        *,
        looks: Callable[[Broker], Probed] = look,
        patience: float = PATIENCE,
        fresh: float = FRESH,
    ) -> None:
        self._told = told
        self._looks = looks
        self._patience = patience
        self._fresh = fresh
        self._lock = threading.Lock()
        self._look: threading.Event | None = None
        self._began = 0.0
        self._seen: tuple[float, BrokerHealth] | None = None

    def ask(self) -> BrokerHealth:
        """How the broker is, or was some seconds ago; never raises, and waits for one look, if that is quick."""
        with self._lock:
            if self._seen is not None and time.monotonic() - self._seen[0] < self._fresh:
                return self._seen[1]
            ended = self._look or self._begin()
            waits = self._patience - (time.monotonic() - self._began)
        if ended.wait(max(0.0, waits)):
            with self._lock:
                if self._seen is not None:
                    return self._seen[1]
        problem = f"it does not answer within {self._patience:g} s"
        return self._health(False, problem=problem, way_out=_REACH)

    def _begin(self) -> threading.Event:
        """Begin to look; the lock is held."""
        self._look, self._began = threading.Event(), time.monotonic()
        threading.Thread(target=self._see, args=(self._look,), name="broker watch", daemon=True).start()
        return self._look

    def _see(self, ended: threading.Event) -> None:
        try:
            probed = self._looks(self._told)
            found = self._health(True, product=probed.product, queues=probed.queues)
        except Exception as error:  # transports raise whatever they like
            found = self._health(False, problem=self._sentence(error), way_out=_way_out(error))
        with self._lock:
            self._seen, self._look = (time.monotonic(), found), None
        ended.set()

    def _health(
        self,
        reachable: bool,
        *,
        product: str = "",
        queues: Mapping[str, int | None] | None = None,
        problem: str = "",
        way_out: str = "",
    ) -> BrokerHealth:
        kind, place = self._told.transport, place_of(self._told.url)
        return BrokerHealth(kind, reachable, place, product, queues or {}, problem, way_out)

    def _sentence(self, error: Exception) -> str:
        """What went wrong, in one line and without the secrets of the URL."""
        told = error.message if isinstance(error, OrchestratorError) else str(error)
        line = mask_urls(next(iter(told.splitlines()), "") or type(error).__name__)
        for secret in _secrets(self._told.url):
            line = line.replace(secret, "***")
        return line[:_LONGEST]


def watch_of(announcer: Announcer) -> BrokerWatch | BrokerHealth:
    """Who knows of the broker that an announcer uses; where there is none, what is to be said of that."""
    if isinstance(announcer, BrokerAnnouncer):
        return BrokerWatch(announcer.broker)
    if isinstance(announcer, Silence):
        return BrokerHealth("none", problem=_NONE, way_out=_SET)
    return BrokerHealth("in process")


def place_of(url: str) -> str:
    """Host, port and path of a broker's URL; where it is not clear what of it is the password, what it begins with."""
    scheme, _, rest = url.partition("://")
    credentials, _, after = rest.rpartition("@")
    several, odd = ";" in url, any(mark in credentials for mark in "@?#")
    return scheme if several or odd or not after else after.partition("?")[0].rstrip("/")


def _secrets(url: str) -> list[str]:
    """What must not be told of a URL, as it stands there and as it is meant; the longest first."""
    credentials, _, after = url.partition("://")[2].rpartition("@")
    told = {credentials.partition(":")[2], *(value for _, value in parse_qsl(after.partition("?")[2]))}
    return sorted({it for it in (*told, *map(unquote, told)) if it}, key=len, reverse=True)


def _way_out(error: Exception) -> str:
    told = f"{type(error).__name__} {error}".lower()
    return _REFUSED if any(word in told for word in _LOGIN) else _REACH
