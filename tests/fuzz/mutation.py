"""Inputs that are nearly right: known good ones, changed in their structure, their values or their bytes."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

#: What stands where nobody expects it.
STRANGE: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**63,
    -(2**70),
    1e308,
    1.5,
    "",
    " ",
    "\x00",
    "\ud800",
    "é😀\u202e",
    "x" * 300,
    "9" * 400,
    "inngest/function.finished",
    "../../etc/passwd",
    "'; DROP TABLE runs; --",
    "<script>alert(1)</script>",
    "http://127.0.0.1:1/",
    "1h",
    "-1s",
    "2024-01-01T00:00:00Z",
    "TZ=Nowhere/Else * * * * *",
    "* * * * *",
    "event.data.x == async.data.x",
    "event.",
    [],
    {},
    [[[[[]]]]],
    {"": None},
    [None] * 20,
)
_BYTES = (b"\x00", b"\xff\xfe", b"{", b"}", b"[", b'"', b"\\", b",", b":", b"1e999", b"NaN", b"\xed\xa0\x80", b"\r\n")


def changed(chance: Random, value: Any) -> bytes:
    """Change a JSON value a little, or a lot, and write it down; sometimes as what is no JSON any more."""
    made = copy.deepcopy(value)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))):
        made = _altered(chance, made)
    text = json.dumps(made, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")
    return damaged(chance, text) if chance.random() < 0.2 else text


def damaged(chance: Random, raw: bytes) -> bytes:
    """Damage bytes: cut, double, drop, put in what does not belong."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(raw))
        to = min(len(raw), at + chance.randint(0, 40))
        match chance.randrange(5):
            case 0:
                raw = raw[:at]
            case 1:
                raw = raw[:at] + raw[to:]
            case 2:
                raw = raw[:to] + raw[at:]
            case 3:
                raw = raw[:at] + chance.choice(_BYTES) + raw[at:]
            case _:
                raw = raw[:at] + chance.randbytes(chance.randint(1, 6)) + raw[to:]
    return raw


def _altered(chance: Random, value: Any) -> Any:
    """Change one place of a JSON value."""
    if chance.random() < 0.2 or not isinstance(value, dict | list) or not value:
        return _other(chance, value)
    key = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
    if chance.random() < 0.6:
        value[key] = _altered(chance, value[key])
    elif isinstance(value, list):
        _alter_list(chance, value, key)
    else:
        _alter_object(chance, value, key)
    return value


def _alter_list(chance: Random, value: list[Any], at: int) -> None:
    if chance.random() < 0.5:
        del value[at]
    else:
        value.insert(at, copy.deepcopy(chance.choice(value)))


def _alter_object(chance: Random, value: dict[str, Any], key: str) -> None:
    held = value.pop(key)
    if chance.random() < 0.5:
        value[chance.choice((key.upper(), key + "_", "", key[:1], "__proto__", "\x00"))] = held


def _other(chance: Random, value: Any) -> Any:
    match chance.randrange(6):
        case 0:
            return [value]
        case 1:
            return {"data": value}
        case 2 if isinstance(value, str):
            return value * chance.choice((2, 50))
        case 3 if isinstance(value, int) and not isinstance(value, bool):
            return value * chance.choice((-1, 1000, 10**12)) + 1
        case _:
            return copy.deepcopy(chance.choice(STRANGE))
