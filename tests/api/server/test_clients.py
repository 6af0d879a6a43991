"""Clients that are slow, silent, many or gone, and the end of the server."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from contextlib import ExitStack, closing
from http.client import RemoteDisconnected
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    pass
from tests.api.server.site import (
    PATIENCE,
    Served,
    Shop,
    _until,
    ask,
    is_closed,
    read_all,
    read_answer,
    request,
    serving,
)


@pytest.mark.usefixtures("impatient")
def test_a_client_that_says_nothing_is_forgotten(served: Served) -> None:
    with closing(served.connect()) as client:
        assert is_closed(client)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("begun", [b"POST /echo HT", request("/echo", b"12345")[:-2]], ids=["head", "body"])
def test_a_request_that_does_not_go_on_is_given_up(served: Served, begun: bytes) -> None:
    with closing(served.connect()) as client:
        client.sendall(begun)
        assert 408 == read_answer(client).status


@pytest.mark.usefixtures("impatient")
def test_a_head_that_drips_is_given_up(served: Served) -> None:
    with closing(served.connect()) as client:
        client.settimeout(0.1)
        client.sendall(b"POST /echo HTTP/1.1\r\n")
        answer = b""
        for _ in range(int(PATIENCE / 0.1)):
            try:
                answer = client.recv(1_000)
                break
            except TimeoutError:
                client.sendall(b"X")

    assert b"HTTP/1.1 408 " == answer[:13]


@pytest.mark.usefixtures("impatient")
def test_a_body_may_be_slow_as_long_as_it_comes(served: Served) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/echo", b"123456")[:-6])
        for byte in b"123456":
            time.sleep(0.2)  # together longer than the silence that is borne
            client.sendall(bytes([byte]))
        assert b"123456" == read_answer(client).body


@pytest.mark.usefixtures("impatient")
def test_a_client_that_does_not_take_its_answer_is_given_up(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/huge"))

        assert shop.ended.wait(PATIENCE)


@pytest.mark.usefixtures("impatient")
def test_a_connection_that_rests_too_long_is_closed(shop: Shop) -> None:
    with serving(shop, keepalive=0.2) as served, closing(served.connect()) as client:
        client.sendall(request())
        assert 200 == read_answer(client).status
        assert is_closed(client)


def test_slow_clients_take_no_threads(shop: Shop) -> None:
    with serving(shop, threads=1) as served, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(closing(served.connect())).sendall(request("/echo", b"12345")[:-1])

        assert b"mine" == ask(served, request("/echo", b"mine")).body


def test_more_clients_than_there_is_room_for_are_told_so(shop: Shop) -> None:
    with serving(shop, connections=2) as served:
        with closing(served.connect()), closing(served.connect()):
            _until(lambda: len(served.server._connections) == 2)
            with closing(served.connect()) as third:
                assert 503 == read_answer(third).status
        _until(lambda: not served.server._connections)
        assert 200 == ask(served, request()).status


def test_a_client_that_has_said_all_still_gets_its_answer(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/slow", b"bye"))
        assert shop.entered.wait(PATIENCE)
        client.shutdown(socket.SHUT_WR)
        shop.opened.set()

        assert re.search(rb"^HTTP/1.1 200 OK\r\n.*\r\n\r\nbye$", read_all(client), re.DOTALL)


def test_a_client_that_is_gone_harms_nobody(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/slow"))
        assert shop.entered.wait(PATIENCE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no polite goodbye
    _until(lambda: not served.server._connections)
    shop.opened.set()

    assert b"mine" == ask(served, request("/echo", b"mine")).body


# --- the end


def test_at_the_end_idle_connections_are_closed_and_requests_under_way_answered(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as idle, closing(served.connect()) as busy:
        idle.sendall(request())
        read_answer(idle)
        busy.sendall(request("/slow", b"in time"))
        assert shop.entered.wait(PATIENCE)
        stopping = threading.Thread(target=served.stop, args=(PATIENCE,))
        stopping.start()

        assert is_closed(idle)
        shop.opened.set()
        answer = read_answer(busy)
        assert (b"in time", "close") == (answer.body, answer.headers["connection"])
        stopping.join(PATIENCE)
        assert not stopping.is_alive()
    with pytest.raises(ConnectionRefusedError):
        served.connect()


def test_a_client_that_has_just_come_gets_an_answer_at_the_end(served: Served) -> None:
    with closing(served.connect()) as client:
        _until(lambda: len(served.server._connections) == 1)
        stopping = threading.Thread(target=served.stop, args=(PATIENCE,))
        stopping.start()
        _until(lambda: served.server.stopping)

        client.sendall(request("/echo", b"first"))

        assert b"first" == read_answer(client).body
        stopping.join(PATIENCE)


def test_the_end_does_not_wait_for_ever(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as busy:
        busy.sendall(request("/slow"))
        assert shop.entered.wait(PATIENCE)

        served.stop(0.1)

        with pytest.raises((RemoteDisconnected, ConnectionError)):
            read_answer(busy)
