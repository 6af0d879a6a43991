"""Carries a plan out on a cluster."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count

from tests.cluster.cluster import Cluster
from tests.cluster.link import Link
from tests.cluster.plan import Deed


class Chaos:
    """Does each deed at its time, and undoes it."""

    def __init__(self, cluster: Cluster, app_link: Link) -> None:
        self._cluster = cluster
        self._app_link = app_link
        self._order = count()
        self._todo: list[tuple[float, int, Callable[[], object]]] = []

    def run(self, deeds: Sequence[Deed]) -> None:
        """Do everything, and leave the cluster whole."""
        begin = time.monotonic()
        for deed in deeds:
            self._later(deed.at, lambda deed=deed: self._do(deed))  # type: ignore[misc]
        while self._todo:
            at, _, do = heapq.heappop(self._todo)
            time.sleep(max(0.0, begin + at - time.monotonic()))  # the plan's time, not a wait for something
            do()
            self._cluster.heal()

    def _later(self, at: float, do: Callable[[], object]) -> None:
        heapq.heappush(self._todo, (at, next(self._order), do))

    def _do(self, deed: Deed) -> None:
        end = deed.at + deed.lasts
        cluster = self._cluster
        if deed.what == "kill":
            cluster.kill(deed.whom)
            self._later(end, lambda: cluster.start(deed.whom))
        elif deed.what == "wipe":
            with suppress(Exception):  # it may be down: then there is nothing to wipe
                cluster.wipe_broker()
        elif deed.what == "kill broker":
            cluster.broker.kill()
            cluster.deaths[deed.what] += 1
            self._later(end, cluster.broker.begin)
        elif deed.what == "restart database":
            self._restart_database(deed.lasts)
        else:
            self._disturb_link(deed, end)

    def _restart_database(self, lasts: float) -> None:
        cluster = self._cluster
        begin = time.time()
        cluster.database.kill()
        cluster.deaths["restart database"] += 1
        time.sleep(lasts)  # it is away so long
        cluster.database.start()
        cluster.disturb("restart database", "*", 5.0, begin=begin)

    def _disturb_link(self, deed: Deed, end: float) -> None:
        what, _, where = deed.what.partition(" ")
        cluster = self._cluster
        links = {"database": cluster.database_links, "broker": cluster.broker_links}
        link = self._app_link if where == "app" else links[where][deed.whom]
        cluster.disturb(deed.what, deed.whom, deed.lasts)
        if what == "cut":
            link.cut()
            return
        link.freeze()
        self._later(end, link.thaw)
