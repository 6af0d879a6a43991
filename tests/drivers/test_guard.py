"""Which addresses outgoing requests may reach."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

import pytest

from orchestrator.drivers.curl import CurlClient
from orchestrator.drivers.guard import AddressPolicy, parse_networks
from orchestrator.errors import TransportError

SOON = timedelta(seconds=5)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.8.8", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("100.64.0.1", "private"),
        ("fd12::1", "private"),
        ("fec0::1", "private"),
        ("::10.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("169.254.169.254", "metadata"),
        ("::ffff:169.254.169.254", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("168.63.129.16", "metadata"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("nonsense", "unreadable"),
    ],
)
def test_an_address_inside_is_refused_with_its_kind(address: str, kind: str) -> None:
    assert kind == AddressPolicy().refusal(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::"]
)
def test_a_public_address_may_be_reached(address: str) -> None:
    assert AddressPolicy().refusal(address) is None


def test_an_allowed_network_may_be_reached_however_it_is_spelt() -> None:
    policy = AddressPolicy(allowed=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")))

    refusals = [policy.refusal(address) for address in ("10.1.1.1", "::ffff:10.1.1.1", "fd01::1", "192.168.0.1")]

    assert [None, None, None, "private"] == refusals


def test_dev_mode_allows_all() -> None:
    policy = AddressPolicy(allow_private=True)

    assert [None, None, None] == [policy.refusal(address) for address in ("127.0.0.1", "169.254.169.254", "10.0.0.1")]


def test_networks_are_read_from_a_line() -> None:
    assert (ip_network("10.0.0.0/8"), ip_network("::1/128")) == parse_networks("10.0.0.1/8, ::1,")


def test_a_wrong_network_is_named() -> None:
    with pytest.raises(ValueError, match="shop"):
        parse_networks("10.0.0.0/8,shop")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0"]
)
def test_no_spelling_of_this_machine_is_connected_to(echo, host: str) -> None:
    client = CurlClient()

    with pytest.raises(TransportError, match="not allowed here") as caught:
        client.request("POST", f"http://{host}:{echo.port}/", headers={}, timeout=SOON)

    assert "blocked_address" == caught.value.code
    assert 0 == echo.connections


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "192.168.0.1"])
def test_the_network_around_is_not_connected_to(host: str) -> None:
    client = CurlClient()

    with pytest.raises(TransportError, match=f"No answer from {host}:80: {host} is a") as caught:
        client.request("GET", f"http://{host}/latest", headers={}, timeout=SOON)

    assert "blocked_address" == caught.value.code


def test_a_name_is_judged_by_what_it_resolves_to(echo) -> None:
    """`localhost` is blocked as a name of a loopback address, and reached once that address is allowed."""
    client = CurlClient(policy=AddressPolicy(allowed=parse_networks("127.0.0.0/8")))

    response = client.request("POST", f"http://localhost:{echo.port}/", headers={}, body=b"hi", timeout=SOON)

    assert b"hi" == response.body


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "dict://x/", "x"])
def test_only_http_is_spoken(url: str) -> None:
    client = CurlClient(policy=AddressPolicy(allow_private=True))

    with pytest.raises(TransportError) as caught:
        client.request("GET", url, headers={}, timeout=SOON)

    assert "unsupported_protocol" == caught.value.code


def test_a_proxy_of_the_environment_does_not_stand_in_for_the_app(echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", echo.url)
    client = CurlClient(policy=AddressPolicy(allowed=parse_networks("127.0.0.1")))

    with pytest.raises(TransportError) as caught:
        client.request("GET", "http://10.0.0.1/", headers={}, timeout=SOON)

    assert "blocked_address" == caught.value.code
