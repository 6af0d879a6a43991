"""Requests that follow redirects."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from orchestrator.drivers.base import Response
from orchestrator.drivers.follow import MOST_REDIRECTS, request_following
from orchestrator.errors import TransportError

SECRETS = {"authorization": "a", "cookie": "b", "x-api-key": "c", "x-anything": "d"}
HARMLESS = {"accept": "e", "content-type": "f"}
TIMEOUT = timedelta(seconds=30)


@dataclass
class Web:
    """Answers by URL; notes what was asked."""

    pages: dict[str, tuple[int, str | None]]
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    timeouts: list[timedelta] = field(default_factory=list)

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes = b"", timeout: timedelta
    ) -> Response:
        self.asked.append((method, url, dict(headers), body))
        self.timeouts.append(timeout)
        status, location = self.pages[url]
        return Response(status, {"location": location} if location is not None else {}, b"")

    def follow(self, method: str = "GET", url: str = "http://a/", body: bytes = b"") -> tuple[Response, str]:
        return request_following(self, method, url, headers=SECRETS | HARMLESS, body=body, timeout=TIMEOUT)


@pytest.mark.parametrize("status", [200, 204, 300, 304, 404, 500])
def test_what_is_no_redirect_is_the_answer(status: int):
    web = Web({"http://a/": (status, "http://b/")})

    response, url = web.follow()

    assert (status, "http://a/", 1) == (response.status, url, len(web.asked))


def test_a_redirect_that_leads_nowhere_is_the_answer():
    assert 302 == Web({"http://a/": (302, None)}).follow()[0].status


@pytest.mark.parametrize("location", ["/c", "c", "//a/c", "http://a/c", "http://a/c#part"])
def test_a_redirect_may_be_relative(location: str):
    assert "http://a/c" == Web({"http://a/": (302, location), "http://a/c": (200, None)}).follow()[1]


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_post_that_is_redirected_becomes_a_get_without_its_body(status: int):
    web = Web({"http://a/": (status, "/c"), "http://a/c": (200, None)})

    web.follow("POST", body=b"x")

    method, _, headers, body = web.asked[1]
    assert ("GET", b"", False) == (method, body, "content-type" in headers)
    assert "a" == headers["authorization"], "the server is the same"


@pytest.mark.parametrize("status", [307, 308])
def test_a_post_may_be_told_to_be_repeated_elsewhere(status: int):
    web = Web({"http://a/": (status, "/c"), "http://a/c": (200, None)})

    web.follow("POST", body=b"x")

    assert ("POST", b"x", "f") == (web.asked[1][0], web.asked[1][3], web.asked[1][2]["content-type"])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_only_reads_stays_as_it_is(method: str):
    web = Web({"http://a/": (302, "/c"), "http://a/c": (200, None)})

    web.follow(method)

    assert [method, method] == [it[0] for it in web.asked]


@pytest.mark.parametrize("there", ["http://b/", "https://a/", "http://a:81/", "http://a.b/", "http://a@b/"])
def test_another_server_gets_no_header_that_could_be_a_secret(there: str):
    web = Web({"http://a/": (302, there), there: (302, "http://a/back"), "http://a/back": (200, None)})

    web.follow()

    assert [HARMLESS, HARMLESS] == [it[2] for it in web.asked[1:]], "nor does the first one, when it leads back"


@pytest.mark.parametrize("there", ["http://A/c", "http://a/c?b=http://b/"])
def test_the_same_server_gets_all_headers(there: str):
    web = Web({"http://a/": (302, there), there: (200, None)})

    web.follow()

    assert SECRETS | HARMLESS == web.asked[1][2]


def test_a_few_redirects_are_followed_and_no_more():
    pages = {f"http://a/{n}": (302, f"/{n + 1}") for n in range(10)}

    with pytest.raises(TransportError) as caught:
        Web(pages).follow(url="http://a/0")
    enough = pages | {f"http://a/{MOST_REDIRECTS}": (200, None)}

    assert "too_many_redirects" == caught.value.code
    assert f"http://a/{MOST_REDIRECTS}" == Web(enough).follow(url="http://a/0")[1]


def test_all_redirects_share_one_time(monkeypatch: pytest.MonkeyPatch):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    web = Web({"http://a/": (302, "/c"), "http://a/c": (302, "/d"), "http://a/d": (200, None)})

    web.follow()

    assert [timedelta(seconds=10), timedelta(milliseconds=1), timedelta(milliseconds=1)] == web.timeouts


def test_a_redirect_to_what_is_no_url_is_an_error():
    with pytest.raises(TransportError) as caught:
        Web({"http://a/": (302, "http://[b/")}).follow()

    assert "invalid_url" == caught.value.code
