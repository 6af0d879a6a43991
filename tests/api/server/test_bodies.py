"""Bodies that are asked for first, too large, broken or no requests at all, and applications that fail."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack, closing
from http.client import IncompleteRead
from typing import TYPE_CHECKING

import pytest

from orchestrator.api import server as servers

if TYPE_CHECKING:
    pass
from tests.api.server.site import Served, Shop, _until, ask, is_closed, read_answer, request, serving


def test_a_client_that_asks_first_is_told_to_go_on(served: Served) -> None:
    with closing(served.connect()) as client:
        client.sendall(
            request("/echo", b"", "Expect: 100-continue").replace(b"Content-Length: 0", b"Content-Length: 5")
        )
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == client.recv(25, socket.MSG_WAITALL)
        client.sendall(b"12345")
        assert b"12345" == read_answer(client).body


def test_a_client_that_asks_first_with_too_much_is_not_told_to_go_on(served: Served) -> None:
    large = request("/echo", b"", "Expect: 100-continue").replace(b"Content-Length: 0", b"Content-Length: 1001")
    with closing(served.connect()) as client:
        client.sendall(large)
        answer = read_answer(client)
        assert (413, "close") == (answer.status, answer.headers["connection"])


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_not_far_too_large_is_thrown_away_and_the_connection_goes_on(served: Served, chunked: bool) -> None:
    with closing(served.connect()) as client:
        client.sendall(_chunked(1_900) if chunked else request("/echo", b"x" * 1_900))
        assert 413 == read_answer(client).status
        client.sendall(request("/echo", b"next"))
        assert b"next" == read_answer(client).body


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_far_too_large_is_answered_while_the_client_still_sends(served: Served, chunked: bool) -> None:
    body = _chunked(200_000) if chunked else request("/echo", b"x" * 200_000)
    with closing(served.connect()) as client:
        client.sendall(body)
        answer = read_answer(client)
        assert (413, "close") == (answer.status, answer.headers["connection"])


def test_of_a_body_too_large_no_more_is_kept_than_shows_it(served: Served) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(closing(served.connect()))
            client.sendall(_chunked(1_900)[:-5])  # all but its end
            client.sendall(b"")
        _until(lambda: served.server.room.held > 0)
        assert served.server.room.held <= 20 * 1_100
    _until(lambda: served.server.room.held == 0)


def test_large_bodies_that_find_no_room_are_refused_and_small_ones_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LARGE_AT_ONCE", 1)
    most = 200_000
    with serving(Shop(most_body=most)) as served, ExitStack() as stack:
        first = stack.enter_context(closing(served.connect()))
        first.sendall(request("/echo", b"x" * most)[:-1])
        _until(lambda: served.server.room.held == most - 1)

        second = ask(served, request("/echo", b"y" * most))

        assert 503 == second.status
        assert b"small" == ask(served, request("/echo", b"small")).body
        first.sendall(b"x")
        assert most == len(read_answer(first).body)
        assert 200 == ask(served, request("/echo", b"y" * most)).status


def _chunked(size: int) -> bytes:
    head = b"POST /echo HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"64\r\n%b\r\n" % (b"x" * 100) * (size // 100) + b"0\r\n\r\n"


# --- what is not HTTP


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01 hello\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA b\r\n\r\n", 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: unheard\r\n\r\n", 501),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 9_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_request_is_refused_and_nothing_behind_it_is_read(
    served: Served, shop: Shop, raw: bytes, status: int
) -> None:
    with closing(served.connect()) as client:
        client.sendall(raw + request())
        answer = read_answer(client)

        assert (status, "close") == (answer.status, answer.headers["connection"])
        assert status == json.loads(answer.body)["status"]
        assert is_closed(client)
    assert [] == shop.asked


def test_a_broken_body_is_the_applications_to_refuse(served: Served) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"

    answer = ask(served, head + b"3\r\nabcdef")

    assert (400, b"broken", "close") == (answer.status, answer.body, answer.headers["connection"])


def test_an_offer_to_speak_another_protocol_is_passed_over(served: Served) -> None:
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    with closing(served.connect()) as client:
        client.sendall(request("/echo", b"first", *offer) + request("/echo", b"second"))

        assert [b"first", b"second"] == [read_answer(client).body for _ in range(2)]


# --- applications that fail


@pytest.mark.parametrize("path", ["/fails", "/forged"])
def test_an_application_that_fails_is_a_500_without_details(served: Served, path: str) -> None:
    answer = ask(served, request(path))

    assert 500 == answer.status
    said = json.loads(answer.body)
    assert ("internal", "The server failed to answer; its log tells why", 500) == (
        said["code"],
        said["error"],
        said["status"],
    )


@pytest.mark.parametrize("path", ["/breaks", "/short"])
def test_an_answer_that_breaks_off_does_not_pass_for_a_whole_one(served: Served, path: str) -> None:
    with pytest.raises((IncompleteRead, ConnectionError)):
        ask(served, request(path))


# --- slow clients, and many
