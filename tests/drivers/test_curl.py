"""The HTTP client, against real sockets."""

from __future__ import annotations

import gc
import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from orchestrator.drivers import curl
from orchestrator.drivers.base import Response
from orchestrator.drivers.curl import CurlClient
from orchestrator.errors import TransportError
from tests.drivers.asking import OPEN, SOON, failure, post


class TestRequests:
    def test_what_is_sent_is_what_was_given(self, client, echo) -> None:
        response = post(client, echo.url + "/api?a=1", b"\x00\xff", **{"X-One": "1", "X-Empty": "", "X-Text": "grün"})

        received = echo.requests[0]
        assert ("POST", "/api?a=1", b"\x00\xff") == (received.method, received.target, received.body)
        assert ("1", "") == (received.headers["x-one"], received.headers["x-empty"])
        assert "grün" == received.headers["x-text"].encode("latin-1").decode()
        assert Response(200, {"content-length": "2", "x-method": "POST"}, b"\x00\xff") == response

    def test_nothing_is_sent_that_nobody_asked_for(self, client, echo) -> None:
        post(client, echo.url, b"x" * 2_000_000)

        assert {"host", "user-agent", "accept", "content-length"} == set(echo.requests[0].headers)

    @pytest.mark.parametrize("method", ["PUT", "POST"])
    def test_an_empty_body_has_a_length(self, client, echo, method: str) -> None:
        client.request(method, echo.url, headers={}, timeout=SOON)

        assert "0" == echo.requests[0].headers["content-length"]

    def test_methods_do_not_leak_into_the_next_request(self, client, echo) -> None:
        for method, body in [("POST", b"1"), ("GET", b""), ("PUT", b"2"), ("DELETE", b""), ("HEAD", b""), ("GET", b"")]:
            client.request(method, echo.url, headers={}, body=body, timeout=SOON)

        assert [("POST", b"1"), ("GET", b""), ("PUT", b"2"), ("DELETE", b""), ("HEAD", b""), ("GET", b"")] == [
            (received.method, received.body) for received in echo.requests
        ]

    def test_text_of_every_script_comes_back_whole(self, client, echo) -> None:
        body = json.dumps({"text": "Ünïcødé 漢字 🚀 \u2028"}, ensure_ascii=False).encode()

        assert body == post(client, echo.url, body).body

    def test_a_megabyte_goes_both_ways(self, client, echo) -> None:
        body = os.urandom(1024 * 1024)

        assert body == post(client, echo.url, body).body

    def test_a_redirect_is_an_answer_like_any_other(self, client, reply_with, whole_answer) -> None:
        site = reply_with(whole_answer(b"moved", "302 Found", "Location: http://127.0.0.1:1/\r\n"))

        response = post(client, site.url, b"{}")

        assert (302, "http://127.0.0.1:1/", b"moved") == (response.status, response.headers["location"], response.body)

    def test_headers_given_twice_are_joined_and_interim_ones_and_trailers_dropped(self, client, reply_with) -> None:
        site = reply_with(
            b"HTTP/1.1 103 Early Hints\r\nLink: early\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:2\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nok\r\n0\r\nX-Trailer: late\r\n\r\n"
        )

        assert Response(200, {"x-a": "1, 2", "transfer-encoding": "chunked"}, b"ok") == post(client, site.url)

    @pytest.mark.parametrize("headers", [{"X-A": "1\r\nX-B: 2"}, {"X-A\n": "1"}, {"X-A": "\0"}])
    def test_a_header_cannot_smuggle_another(self, client, echo, headers: dict[str, str]) -> None:
        with pytest.raises(TransportError) as caught:
            client.request("GET", echo.url, headers=headers, timeout=SOON)

        assert "invalid_header" == caught.value.code


class TestConnections:
    def test_a_connection_serves_many_requests(self, client, echo) -> None:
        bodies = [post(client, echo.url, str(number).encode()).body for number in range(20)]

        assert [str(number).encode() for number in range(20)] == bodies
        assert 1 == echo.connections

    def test_a_connection_that_the_server_closed_meanwhile_is_no_failure(self, client, serve, whole_answer) -> None:
        """The server says nothing of closing; the next request finds a dead connection and takes a new one."""

        def close_in_silence(connection, _received) -> bool:
            connection.sendall(whole_answer(b"ok"))
            return False

        site = serve(close_in_silence)
        bodies = [post(client, site.url, b"{}").body for _ in range(30)]

        assert [b"ok"] * 30 == bodies
        assert 30 == site.connections

    def test_a_connection_closed_as_the_next_request_arrives_is_replaced(self, client, serve, whole_answer) -> None:
        """The race of keep-alive: the second request is read, and the connection closed without an answer."""
        seen: dict[socket.socket, int] = {}

        def close_on_second(connection, _received) -> bool:
            seen[connection] = seen.get(connection, 0) + 1
            if seen[connection] == 2:
                return False
            connection.sendall(whole_answer(b"ok"))
            return True

        site = serve(close_on_second)
        bodies = [post(client, site.url, b"{}").body for _ in range(3)]

        assert [b"ok"] * 3 == bodies
        assert 3 == site.connections

    def test_a_request_whose_app_dies_at_work_is_not_repeated(
        self, client, serve, whole_answer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only a repetition soon after the sending is one of a dead connection; later ones would run a step twice."""
        monkeypatch.setattr(curl, "REPEAT_WITHIN", timedelta(milliseconds=20))

        def die_at_work(connection, received) -> bool:
            if received.body == b"work":
                time.sleep(0.1)
                return False
            connection.sendall(whole_answer(b"ok"))
            return True

        site = serve(die_at_work)
        post(client, site.url, b"hello")
        with pytest.raises(TransportError) as caught:
            post(client, site.url, b"work")

        assert ("closed_without_answer", 2) == (caught.value.code, len(site.requests))
        monkeypatch.undo()
        assert b"ok" == post(client, site.url, b"hello").body

    def test_threads_share_a_client(self, client, echo) -> None:
        barrier = threading.Barrier(8, timeout=20)

        def work(number: int) -> list[bytes]:
            barrier.wait()
            return [post(client, echo.url, f"{number}-{turn}".encode()).body for turn in range(20)]

        with ThreadPoolExecutor(8) as pool:
            bodies = list(pool.map(work, range(8)))

        assert [[f"{number}-{turn}".encode() for turn in range(20)] for number in range(8)] == bodies
        assert 8 == echo.connections

    def test_connections_of_ended_threads_are_closed(self, client, serve, whole_answer) -> None:
        """At once: no garbage collector is needed for it."""
        closed = threading.Semaphore(0)

        def behave(connection, _received) -> bool:
            connection.sendall(whole_answer(b"ok"))
            if connection.recv(1) == b"":
                closed.release()
            return False

        site = serve(behave)
        gc.disable()
        try:
            threads = [threading.Thread(target=post, args=(client, site.url)) for _ in range(3)]
            for thread in threads:
                thread.start()

            assert [closed.acquire(timeout=10) for _ in threads] == [True] * 3
        finally:
            gc.enable()

    def test_closing_ends_idle_connections_and_leaves_the_client_usable(self, client, serve, whole_answer) -> None:
        ended = threading.Event()

        def behave(connection, _received) -> bool:
            connection.sendall(whole_answer(b"ok"))
            if connection.recv(1) == b"":
                ended.set()
            return False

        site = serve(behave)
        post(client, site.url)
        client.close()
        client.close()

        assert ended.wait(10)
        assert b"ok" == post(client, site.url).body

    def test_closing_waits_for_no_request_and_breaks_none(self, client, serve, whole_answer) -> None:
        arrived, proceed = threading.Event(), threading.Event()

        def behave(connection, _received) -> bool:
            arrived.set()
            proceed.wait(10)
            connection.sendall(whole_answer(b"ok"))
            return True

        site = serve(behave)
        with ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(post, client, site.url)
            arrived.wait(10)
            client.close()
            proceed.set()

            assert b"ok" == under_way.result(10).body

    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_forked_process_does_not_use_connections_of_its_parent(self, client, echo) -> None:
        post(client, echo.url, b"parent")

        pid = os.fork()
        if pid == 0:  # pragma: no cover - the child's lines are not measured
            try:
                os._exit(0 if post(client, echo.url, b"child").body == b"child" else 1)
            except BaseException:
                os._exit(2)
        _, status = os.waitpid(pid, 0)
        again = post(client, echo.url, b"parent again").body

        assert (0, b"parent again") == (os.waitstatus_to_exitcode(status), again)
        assert 2 == echo.connections


class TestLimits:
    def test_a_dripping_body_ends_at_the_total_timeout(self, client, serve) -> None:
        """No pause between two bytes is long, but the whole is."""
        gone = threading.Event()

        def drip(connection, _received) -> bool:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            while not gone.wait(0.02):
                connection.sendall(b".")
            return False

        site = serve(drip)
        begun = time.monotonic()
        error = failure(client, site.url, timedelta(seconds=0.4))
        took = time.monotonic() - begun
        gone.set()

        assert "timeout" == error.code
        assert f"No answer from 127.0.0.1:{site.port}: it did not answer in full within 0.4 s." == error.message
        assert 0.4 <= took < 5

    def test_silence_on_a_kept_connection_is_no_failure_to_connect(self, client, serve, whole_answer) -> None:
        release = threading.Event()

        def answer_once(connection, received) -> bool:
            if received.body == b"{}":
                return release.wait(10)
            connection.sendall(whole_answer(b"ok"))
            return True

        site = serve(answer_once)
        post(client, site.url, b"first")
        error = failure(client, site.url, timedelta(seconds=0.1))
        release.set()

        assert error.message.endswith("it did not answer in full within 0.1 s.")

    def test_connecting_has_a_time_limit_of_its_own(self) -> None:
        client = CurlClient(policy=OPEN, connect_timeout=timedelta(seconds=0.2))
        with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, but never shakes hands for TLS
            error = failure(client, f"https://127.0.0.1:{silent.getsockname()[1]}")

        assert "timeout" == error.code
        assert error.message.endswith("no connection could be made within 0.2 s.")

    def test_a_chunked_body_beyond_the_limit_is_cut_off(self, serve) -> None:
        client = CurlClient(policy=OPEN, body_limit=100_000)
        sent = []

        def flood(connection, _received) -> bool:
            connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            while len(sent) < 10_000:
                connection.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
                sent.append(10_000)
            return False

        error = failure(client, serve(flood).url)

        assert "response_too_large" == error.code
        assert "exceeds the limit of 100000 bytes" in error.message
        assert len(sent) < 10_000

    def test_a_body_of_just_the_limit_is_taken(self, echo) -> None:
        client = CurlClient(policy=OPEN, body_limit=1000)

        assert 1000 == len(post(client, echo.url, b"x" * 1000).body)

    @pytest.mark.parametrize(
        "headers",
        ["".join(f"X-{number}: {'v' * 1000}\r\n" for number in range(400)), f"X-One: {'v' * 500_000}\r\n"],
        ids=["many", "one"],
    )
    def test_headers_beyond_the_limit_are_refused(self, client, reply_with, whole_answer, headers: str) -> None:
        error = failure(client, reply_with(whole_answer(b"{}", headers=headers)).url)

        assert "response_too_large" == error.code
        assert "headers" in error.message

    def test_a_client_is_whole_again_after_a_failure(self, echo) -> None:
        client = CurlClient(policy=OPEN, body_limit=10)
        with pytest.raises(TransportError):
            post(client, echo.url, b"x" * 11)

        assert b"x" * 10 == post(client, echo.url, b"x" * 10).body
