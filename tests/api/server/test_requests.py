"""The HTTP server as well-behaved clients meet it: requests, answers and connections."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    pass
from tests.api.server.site import HUGE, PATIENCE, Served, Shop, _until, ask, is_closed, read_answer, request, serving


def test_one_connection_carries_many_requests(served: Served) -> None:
    with closing(served.connect()) as client:
        answers = []
        for body in (b"first", b"second", b""):
            client.sendall(request(body=body))
            answers.append(read_answer(client))

    assert [b"first", b"second", b""] == [answer.body for answer in answers]
    assert {"keep-alive"} == {answer.headers["connection"] for answer in answers}


def test_requests_sent_ahead_are_answered_in_order(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/slow", b"a") + request("/empty") + request("/echo", b"b") + request("/echo", b"c"))
        assert shop.entered.wait(PATIENCE)
        assert 1 == len(shop.asked)
        shop.opened.set()
        statuses = [read_answer(client) for _ in range(4)]

    assert [(200, b"a"), (204, b""), (200, b"b"), (200, b"c")] == [(it.status, it.body) for it in statuses]


def test_an_application_is_told_what_was_asked(served: Served, shop: Shop) -> None:
    target = "/a%20b/%C3%A9?q=%20x"

    ask(
        served,
        request(target, b"{}", "Content-Type: text/x", "X-A: 1", "X-A: 2", "X_A: 3", "Cookie: a=1", "Cookie: b=2"),
    )

    (asked,) = shop.asked
    assert "/a b/\xc3\xa9" == asked["PATH_INFO"]
    assert "q=%20x" == asked["QUERY_STRING"]
    assert ("POST", "HTTP/1.1", "2", "text/x") == tuple(
        asked[name] for name in ("REQUEST_METHOD", "SERVER_PROTOCOL", "CONTENT_LENGTH", "CONTENT_TYPE")
    )
    assert ("1,2", "a=1; b=2", "shop") == (asked["HTTP_X_A"], asked["HTTP_COOKIE"], asked["HTTP_HOST"])
    assert ("127.0.0.1", str(served.port)) == (asked["REMOTE_ADDR"], asked["SERVER_PORT"])


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [("http://shop/a?b", "/a", "b"), ("http://shop", "/", ""), ("/a://b", "/a://b", ""), ("//a", "//a", "")],
)
def test_a_target_may_name_the_host(served: Served, shop: Shop, target: str, path: str, query: str) -> None:
    ask(served, request(target))

    assert [(path, query)] == [(asked["PATH_INFO"], asked["QUERY_STRING"]) for asked in shop.asked]


def test_a_chunked_body_arrives_whole(served: Served, shop: Shop) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"

    answer = ask(served, head + b"3\r\nabc\r\n4;note=x\r\ndefg\r\n0\r\nX-Trailer: 1\r\n\r\n")

    assert b"abcdefg" == answer.body
    assert "CONTENT_LENGTH" not in shop.asked[0]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_it_does_not_matter_in_which_pieces_a_request_comes(data: st.DataObject) -> None:
    whole = (
        request("/echo", b"x" * 50) + b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nyy\r\n0\r\n\r\n"
    )
    cuts = sorted(data.draw(st.lists(st.integers(1, len(whole) - 1), max_size=6, unique=True)))
    with serving(Shop()) as served, closing(served.connect()) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            client.sendall(whole[begin:end])
        assert [b"x" * 50, b"yy"] == [read_answer(client).body for _ in range(2)]


def test_an_answer_to_head_tells_its_length_and_has_no_body(served: Served) -> None:
    with closing(served.connect()) as client:
        for _ in range(2):
            client.sendall(request("/echo", b"12345", method="HEAD"))
            answer = read_answer(client, "HEAD")
            assert ("5", b"") == (answer.headers["content-length"], answer.body)


def test_an_answer_without_content_has_no_length(served: Served) -> None:
    answer = ask(served, request("/empty"))

    assert 204 == answer.status
    assert "content-length" not in answer.headers


@pytest.mark.parametrize(
    ("version", "asked", "kept"),
    [("1.1", "", True), ("1.1", "close", False), ("1.0", "", False), ("1.0", "keep-alive", True)],
)
def test_a_connection_is_kept_as_the_client_wishes(served: Served, version: str, asked: str, kept: bool) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/echo", b"a", *([f"Connection: {asked}"] if asked else []), version=version))
        assert ("keep-alive" if kept else "close") == read_answer(client).headers["connection"]
        if kept:
            client.sendall(request("/echo", b"b", version=version))
            assert b"b" == read_answer(client).body
        else:
            assert is_closed(client)


def test_parts_of_unknown_length_are_sent_as_they_are_made(served: Served) -> None:
    answer = ask(served, request("/parts"))

    assert "chunked" == answer.headers["transfer-encoding"]
    assert b"one,two,three" == answer.body


def test_an_old_client_gets_parts_until_the_connection_ends(served: Served) -> None:
    answer = ask(served, request("/parts", version="1.0"))

    assert "transfer-encoding" not in answer.headers
    assert b"one,two,three" == answer.body


def test_a_large_answer_arrives_whole(served: Served, shop: Shop) -> None:
    with closing(served.connect()) as client:
        client.sendall(request("/huge") + request("/echo", b"next"))
        assert HUGE == len(read_answer(client).body)
        assert b"next" == read_answer(client).body
    assert shop.ended.is_set()


def test_requests_of_many_clients_are_answered_each_to_its_own(served: Served) -> None:
    def talk(client_number: int) -> bool:
        with closing(HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)) as client:
            for number in range(20):
                body = f"{client_number}:{number}".encode()
                client.request("POST", "/echo", body)
                if client.getresponse().read() != body:
                    return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert [True] * 16 == list(pool.map(talk, range(16)))


def test_answers_given_by_another_thread_need_none_of_ours(shop: Shop) -> None:
    with serving(shop, threads=0) as served, ExitStack() as stack:
        clients = [stack.enter_context(closing(served.connect())) for _ in range(40)]
        for number, client in enumerate(clients):
            client.sendall(request(f"/quick/{number}", b"now"))
        _until(lambda: len(shop.answers) == 40)

        shop.let_go()

        assert [f"/quick/{number} now".encode() for number in range(40)] == [read_answer(it).body for it in clients]


# --- bodies that are too large, and clients that ask first
