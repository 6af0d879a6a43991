"""Looking at the broker: quickly told, seldom asked, its secrets kept; one that hangs holds nobody up."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import kombu
import pytest

from orchestrator.queue.announce import BrokerAnnouncer, Silence
from orchestrator.queue.broker import EXECUTOR_QUEUE, NOWHERE, RUNNER_QUEUE, Broker
from orchestrator.queue.probe import Probed, look
from orchestrator.queue.watch import BrokerHealth, BrokerWatch, place_of, watch_of
from tests.services import require

PATIENCE = 20


class Looks:
    """Counts looks, and lets each end when told."""

    def __init__(self, *, free: bool = True, error: Exception | None = None) -> None:
        self.number, self.free, self.error = 0, threading.Event(), error
        if free:
            self.free.set()

    def __call__(self, _told: Broker) -> Probed:
        self.number += 1
        assert self.free.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return Probed("Broker 1.0", {"q": 7})


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of somebody who takes connections and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


def test_what_was_seen_is_told_and_is_good_for_a_while() -> None:
    looks = Looks()
    watch = BrokerWatch(Broker("redis://:secret@cache:6379/0"), looks=looks, patience=PATIENCE)

    told = [watch.ask(), watch.ask()]

    expected = BrokerHealth("redis", True, "cache:6379/0", "Broker 1.0", {"q": 7})
    assert ([expected, expected], 1) == (told, looks.number)


def test_once_that_is_old_it_is_looked_at_again() -> None:
    looks = Looks()
    watch = BrokerWatch(NOWHERE, looks=looks, patience=PATIENCE, fresh=0)

    for _ in range(2):
        watch.ask()

    assert 2 == looks.number


def test_a_broker_that_hangs_delays_those_who_ask_once_and_holds_one_thread() -> None:
    looks = Looks(free=False)
    watch = BrokerWatch(NOWHERE, looks=looks, patience=0.05)
    first = watch.ask()

    began = time.monotonic()
    later = [watch.ask() for _ in range(100)]
    took = time.monotonic() - began
    looks.free.set()

    assert (False, "it does not answer within 0.05 s") == (first.reachable, first.problem)
    assert ({False}, 1) == ({it.reachable for it in later}, looks.number)
    assert took < 0.05 * 100 / 2


def test_it_is_reachable_again_when_the_look_ends_after_all() -> None:
    looks = Looks(free=False)
    watch = BrokerWatch(NOWHERE, looks=looks, patience=0.01)
    watch.ask()
    looks.free.set()

    deadline = time.monotonic() + PATIENCE
    while not watch.ask().reachable:
        assert time.monotonic() < deadline
        time.sleep(0.005)

    assert 1 == looks.number


@pytest.mark.parametrize("password", ["s3cret", "p%40ss", "p/w", "p?w", "p#w"])
def test_no_answer_holds_the_password(password: str) -> None:
    url = f"amqp://ada:{password}@127.0.0.1:1//?token=t0ken"
    error = OSError(f"cannot use {url}: {password} or t0ken is wrong\nmore of {password}")
    health = BrokerWatch(Broker(url), looks=Looks(error=error), patience=PATIENCE).ask()

    assert health.reachable is False
    assert password not in repr(health)
    assert not {"p@ss", "t0ken"} & set(re.split(r"[^\w@]+", repr(health)))


def test_a_refused_login_and_a_dead_host_have_ways_out_of_their_own() -> None:
    def way_out(error: Exception) -> str:
        return BrokerWatch(NOWHERE, looks=Looks(error=error), patience=PATIENCE).ask().way_out

    assert "the name and the password" in way_out(PermissionError("(0, 0): (403) ACCESS_REFUSED"))
    assert "may this machine connect" in way_out(ConnectionRefusedError(111, "Connection refused"))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("amqp://ada:x@mq:5672/shop", "mq:5672/shop"),
        ("redis://cache:6379/0?password=x", "cache:6379/0"),
        ("redis://:a/b@cache:6379/1", "cache:6379/1"),
        ("redis://:a?b@cache/1", "redis"),
        ("redis://cache/1?password=a@b", "redis"),
        ("amqp://a:b@one;amqp://a:b@two", "amqp"),
        ("amqp://a:b;c@one", "amqp"),
        ("memory://", "memory"),
    ],
)
def test_the_place_is_told_only_where_it_is_clear_what_is_secret(url: str, place: str) -> None:
    assert place == place_of(url)


def test_without_a_broker_it_says_so_and_a_process_of_its_own_needs_none() -> None:
    none, own, brokers = watch_of(Silence()), watch_of(lambda _hints: None), watch_of(BrokerAnnouncer(NOWHERE))  # type: ignore[arg-type]

    assert isinstance(none, BrokerHealth)
    assert ("none", None) == (none.kind, none.reachable)
    assert "ORCHESTRATOR_BROKER_URL" in none.way_out
    assert BrokerHealth("in process") == own
    assert isinstance(brokers, BrokerWatch)


def test_hints_that_wait_are_counted_by_queue_and_looking_makes_no_queue() -> None:
    with kombu.Connection("memory://") as connection:
        queue = NOWHERE.queue(RUNNER_QUEUE)(connection.channel())
        queue.declare()
        queue.purge()
        kombu.Producer(connection.channel()).publish([], exchange="", routing_key=RUNNER_QUEUE)

        assert 1 == look(NOWHERE).queues[RUNNER_QUEUE]

        queue.purge()


@pytest.mark.parametrize(("name", "product"), [("rabbitmq", "RabbitMQ"), ("redis", "Redis")])
def test_a_real_broker_tells_what_it_is(name: str, product: str) -> None:
    health = BrokerWatch(Broker(require(name)), patience=PATIENCE).ask()

    assert (True, "") == (health.reachable, health.problem)
    assert health.product.startswith(product)
    assert {RUNNER_QUEUE, EXECUTOR_QUEUE} == set(health.queues)


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_broker_that_takes_connections_and_says_nothing_is_told_of_soon(silent: int, scheme: str) -> None:
    watch = BrokerWatch(Broker(f"{scheme}://127.0.0.1:{silent}//"), patience=0.2)

    began = time.monotonic()
    health = watch.ask()

    assert (False, "it does not answer within 0.2 s") == (health.reachable, health.problem)
    assert time.monotonic() - began < 2
