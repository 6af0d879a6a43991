"""Identifiers: ULIDs for events and runs (26 characters on the wire), UUIDs for apps and functions."""

from __future__ import annotations

import os
import threading
import time
import uuid
from datetime import UTC, datetime

from ulid import ULID
from ulid_transform import bytes_to_ulid, ulid_to_bytes


class _Maker:
    """Makes ULIDs that sort in the order of their making, within one millisecond, too.

    Within a millisecond the random part counts up; by a random stride, so that ids cannot be guessed from others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = (0, 0)

    def make(self) -> str:
        with self._lock:
            milliseconds, chance = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")
            if milliseconds <= self._last[0]:
                milliseconds = self._last[0]
                chance = self._last[1] + 1 + (chance >> 40)
            if chance >> 80:
                milliseconds, chance = milliseconds + 1, chance & ((1 << 79) - 1)
            self._last = (milliseconds, chance)
        return bytes_to_ulid((milliseconds << 80 | chance).to_bytes(16, "big"))


_maker = _Maker()


def new_ulid() -> str:
    """A fresh ULID; those made by one process sort in order of their making."""
    return _maker.make()


def ulid_at(milliseconds: int, entropy: bytes) -> str:
    """The ULID of a moment (Unix milliseconds) and ten bytes of entropy."""
    return str(ULID(milliseconds.to_bytes(6, "big") + entropy))


def is_ulid(text: str) -> bool:
    """Whether the text is a ULID."""
    try:
        ULID.from_str(text)
    except ValueError:
        return False
    return len(text) == 26


def ulid_moment(text: str) -> datetime:
    """The moment, to the millisecond, that a ULID was made at."""
    return datetime.fromtimestamp(int.from_bytes(ulid_to_bytes(text)[:6], "big") / 1000, UTC)


def ulid_bytes(text: str) -> bytes:
    """The 16 bytes of a ULID."""
    return ulid_to_bytes(text)


def ulid_from_bytes(raw: bytes) -> str:
    """The ULID of 16 bytes."""
    return bytes_to_ulid(raw)


def ulid_as_uuid(text: str) -> uuid.UUID:
    """The UUID of the same bytes."""
    return uuid.UUID(bytes=ulid_to_bytes(text))


def ulid_from_uuid(text: str) -> str:
    """The ULID whose bytes a UUID spells."""
    return bytes_to_ulid(uuid.UUID(text).bytes)


def new_uuid() -> str:
    """A fresh UUID in its canonical spelling."""
    return str(uuid.uuid4())


def named_uuid(*parts: str) -> str:
    """The UUID that always belongs to these names."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "orchestrator:" + "\x1f".join(parts)))
