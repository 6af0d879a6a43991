"""Events sent as fast as asked, to every web process in turn."""

from __future__ import annotations

import http.client
import threading
import urllib.error
from collections import Counter
from itertools import count

from tests.cluster.cluster import PATIENCE, WEBS, Cluster

#: Each kind of function, over HTTP and in process.
NAMES = tuple(f"{app}/{kind}" for kind in ("chain", "nap", "group") for app in ("chaos", "inside"))
#: Senders, so that one that waits for an answer does not hold up the others.
SENDERS = 4


class Load:
    """Remembers which events were accepted: for those we answer."""

    def __init__(self, cluster: Cluster, per_second: float, patience: float = PATIENCE) -> None:
        """`patience`: so many seconds a sender waits for an answer."""
        self.accepted: dict[str, str] = {}
        #: What senders saw instead of an answer, and how often.
        self.refusals = Counter[str]()
        self._cluster = cluster
        self._pause = SENDERS / per_second
        self._patience = patience
        self._numbers = count(1)
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self) -> None:
        while not self._stopped.wait(self._pause):
            number = next(self._numbers)
            try:
                self.accepted[str(number)] = self._send(number)
            except (OSError, http.client.HTTPException) as error:
                self.refusals[str(getattr(error, "reason", type(error).__name__))] += 1

    def _send(self, number: int) -> str:
        """Send to one web process, and to the other if nobody listens there, as a load balancer does."""
        name, data = NAMES[number % len(NAMES)], {"n": str(number)}
        first = number // len(NAMES) % len(WEBS)
        try:
            return self._cluster.send_to(WEBS[first], name, data, self._patience)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            return self._cluster.send_to(WEBS[first - 1], name, data, self._patience)

    @property
    def refused(self) -> int:
        """How many events were not accepted, as far as their senders know."""
        return self.refusals.total()
