"""The kinds of values a setting may have: each a parser and what to say to a person whose value it does not take."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T", int, timedelta)
V = TypeVar("V")

#: A parser, which raises `ValueError` for what it does not take, and what the value may be.
Kind = tuple[Callable[[Any], V], str]

KIB, MIB = 1024, 1024 * 1024
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def show(value: object, *, size: bool = False) -> str:
    """A value the way it could be written in a variable."""
    if value is None or value == ():
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return _show_span(value)
    if size and isinstance(value, int):
        return next((f"{value // n} {u}" for n, u in ((MIB, "MiB"), (KIB, "KiB")) if value % n == 0), str(value))
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _show_span(span: timedelta) -> str:
    if span % SECOND:
        return f"{span / timedelta(milliseconds=1):g}ms"
    units = ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"))
    return next((f"{span // unit}{name}" for unit, name in units if span and not span % unit), f"{span // SECOND}s")


def choice(*names: str, also: Mapping[str, str] | None = None) -> Kind[str]:
    """Take one of the names, in any case; `also` maps further spellings to them."""

    def parse(value: Any) -> str:
        text = str(value).strip().lower()
        text = (also or {}).get(text, text)
        if text not in names:
            raise ValueError
        return text

    return parse, "one of " + ", ".join(names)


_TRUTHS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _truth(value: Any) -> bool:
    return _TRUTHS[str(value).strip().lower()]


def whole(least: int, most: int) -> Kind[int]:
    """Take a whole number within bounds."""

    def parse(value: Any) -> int:
        if isinstance(value, (bool, float)):
            raise ValueError
        return _within(int(value), least, most)

    return parse, f"a whole number from {least} to {most}"


def size(least: int, most: int) -> Kind[int]:
    """Take a number of bytes within bounds, with or without a unit."""

    def parse(value: Any) -> int:
        found = re.fullmatch(r"(\d+)\s*(b|kb|kib|mb|mib)?", str(value).strip(), re.IGNORECASE | re.ASCII)
        if found is None:
            raise ValueError
        scale = {"": 1, "b": 1, "kb": KIB, "kib": KIB, "mb": MIB, "mib": MIB}[(found[2] or "").lower()]
        return _within(int(found[1]) * scale, least, most)

    return parse, f"a size from {show(least, size=True)} to {show(most, size=True)}, such as 65536, 512KiB or 3MiB"


def span(least: timedelta, most: timedelta, zero: timedelta | None = None) -> Kind[timedelta]:
    """Take a time within bounds; with `zero` a time of none means that one."""

    def parse(value: Any) -> timedelta:
        if isinstance(value, bool):
            raise ValueError
        span = value if isinstance(value, timedelta) else _span_of(str(value))
        return zero if zero is not None and not span else _within(span, least, most)

    return parse, f"a time from {show(least)} to {show(most)}, such as 90 (seconds), 500ms, 30s, 5m or 2h"


def _span_of(text: str) -> timedelta:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", text.strip().lower(), re.ASCII)
    if found is None:
        raise ValueError
    unit = {"ms": timedelta(milliseconds=1), "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}[found[2] or "s"]
    return float(found[1]) * unit


def _within(value: T, least: T, most: T) -> T:
    if not least <= value <= most:
        raise ValueError
    return value


def _several(one: Callable[[str], str]) -> Callable[[Any], tuple[str, ...]]:
    def parse(value: Any) -> tuple[str, ...]:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, Sequence) or not all(isinstance(item, str) for item in items):
            raise ValueError
        return tuple(dict.fromkeys(one(item.strip()) for item in items if item.strip()))

    return parse


def _matching(pattern: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        text = str(value).strip()
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return parse


#: Spellings of platforms and people -> SQLAlchemy's name for the dialect with the driver we ship.
_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
_DRIVERS |= {"mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}


def _database_url(value: Any) -> str:
    scheme, found, rest = str(value).strip().partition("://")
    if not found or scheme.split("+")[0] not in (*_DRIVERS, "sqlite"):
        raise ValueError
    return f"{_DRIVERS.get(scheme, scheme)}://{rest}"


def _network(text: str) -> str:
    from ipaddress import ip_network

    return str(ip_network(text, strict=False))


def _object(value: Any) -> Mapping[str, Any]:
    import json

    parsed = json.loads(value) if isinstance(value, str) else value
    if not isinstance(parsed, dict):
        raise ValueError
    return parsed


def _path(value: Any) -> Path:
    if not str(value).strip():
        raise ValueError
    return Path(value).expanduser()


TRUTH = (_truth, "true or false")
HOST = _matching(r"[^\s/]+"), "a host name or address"
PORT = whole(0, 65535)[0], "a port from 0 to 65535, where 0 picks a free one"
KEYS = _several(_matching(r"[A-Za-z0-9_.~-]+")), "keys of letters, digits and - _ . ~, parted by commas"
SIGNING = (
    _matching(r"(signkey-\w+-)?([0-9a-fA-F]{2})+"),
    "hexadecimal digits, an even number of them, with or without signkey-<env>- in front",
)
NETWORKS = _several(_network), "networks or addresses such as 10.0.0.0/8 or 127.0.0.1, parted by commas"
DIRECTORY = _path, "a directory"
APPS = _several(_matching(r"https?://[^\s/]+\S*")), "URLs that start with http:// or https://, parted by commas"
MODULES = (
    _several(_matching(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")),
    "modules such as shop.functions, parted by commas",
)
DATABASE = _database_url, "a URL such as postgresql://user:password@host/name, mysql://... or sqlite:///file"
BROKER = _matching(r"[a-z][a-z0-9+.-]*://\S*"), "a URL such as amqp://host, redis://host:6379/0 or sqs://"
OBJECT = _object, "a JSON object"
LEVELS = choice("debug", "info", "warning", "error", also={"trace": "debug", "warn": "warning"})
