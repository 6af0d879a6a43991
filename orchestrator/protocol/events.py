"""What `POST /e/{key}` takes in: bytes become events, or a sentence about what is wrong with them.

Every event is parsed twice: orjson proves that the text is strict JSON (UTF-8, no lone surrogates, no infinities) and
gives the values to check; msgspec cuts the texts of `data`, `user` and `meta` out as they were sent, so that integers
beyond 64 bits and the sender's spelling survive.  Where a key is written twice the last one counts, in both.
Events are numbered from 0 in sentences, as array elements are, and from 1 in `id_at`, as seeds want it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from orchestrator import ids
from orchestrator.core.event import Event, is_internal
from orchestrator.errors import RequestError, TooLargeError

_WANTED = "an event object or an array of event objects"
#: Server-made additions to an event's data; nobody else may write them.
_SERVER_KEY = "_inngest"
_EARLIEST = int(datetime(1980, 1, 1, tzinfo=UTC).timestamp() * 1000)
_LATEST = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)
_TYPES = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object"}
#: Fields of a form that mean the same as in a JSON event; all others are data.
_FORM_FIELDS = ("id", "ts", "v")


@dataclass(frozen=True, slots=True)
class EventLimits:
    """How much one request may hold; sizes are bytes as sent, lengths are characters."""

    event_bytes: int = 512 * 1024
    request_bytes: int = 16 * 1024 * 1024
    events: int = 5_000
    name: int = 512
    id: int = 512
    depth: int = 256


@dataclass(frozen=True, slots=True)
class Parsed:
    """The events before the first bad one, and what is wrong with that one (None: all are good)."""

    events: tuple[Event, ...]
    error: RequestError | None = None


class _Parts(msgspec.Struct, gc=False):
    """The members of an event whose text is kept."""

    data: msgspec.Raw = msgspec.Raw()
    user: msgspec.Raw = msgspec.Raw()
    meta: msgspec.Raw = msgspec.Raw()


_parts = msgspec.json.Decoder(_Parts)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])


def parse_events(body: bytes, *, id_at: Callable[[int], str], now: datetime, limits: EventLimits) -> Parsed:
    """Read a JSON body of one event or an array of events; `id_at` gives the id of the n-th event, from 1.

    Never raises for anything in `body`.  Too many events, and text that is not JSON, spoil the whole request.
    """
    events: list[Event] = []
    try:
        texts, listed = _split(body, limits)
    except RequestError as error:
        return Parsed((), error)
    for index, text in enumerate(texts):
        try:
            events.append(_event(text, id_at(index + 1), now, limits))
        except RequestError as error:
            sentence = f"event {index}: {error.message}" if listed else error.message
            return Parsed(tuple(events), type(error)(sentence))
    return Parsed(tuple(events))


def seeded_ids(header: str | None) -> Callable[[int], str] | None:
    """Read an event id seed (`<Unix ms>,<base64 of 10 bytes>`) as a giver of ids; None if it is absent or malformed.

    The same seed gives the same ids: the last four bytes, read as a big-endian number, grow by the event's position.
    """
    if not header:
        return None
    moment, _, encoded = header.partition(",")
    if not (moment.isascii() and moment.isdecimal() and len(moment) <= 15 and int(moment) < 1 << 48):
        return None
    try:
        entropy = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(entropy) != 10:
        return None
    milliseconds, head, tail = int(moment), entropy[:6], int.from_bytes(entropy[6:], "big")

    def id_at(position: int) -> str:
        return ids.ulid_at(milliseconds, head + ((tail + position) % (1 << 32)).to_bytes(4, "big"))

    return id_at


def form_event(fields: Iterable[tuple[str, str]]) -> bytes:
    """Write a form's fields as the JSON text of the one event they stand for.

    `name` (or, without one, `event`) is the name; `id`, `ts` and `v` are what they are in JSON; `data`, if it is a
    JSON object, is the data, and every other field joins it: `data.x` and `data[x]` as `x`, a repeated field as array.
    """
    values: dict[str, Any] = {}
    for key, value in _gathered(fields).items():
        values[key] = value[0] if len(value) == 1 else value
    event: dict[str, Any] = {key: values.pop(key) for key in _FORM_FIELDS if key in values}
    event["name"] = values.pop("name" if "name" in values else "event", None)
    moment = event.get("ts")
    if isinstance(moment, str) and moment.isascii() and moment.isdecimal() and len(moment) <= 15:
        event["ts"] = int(moment)
    data = _object_in(values.get("data"))
    if data is not None:
        del values["data"]
    event["data"] = {**(data or {}), **{_bare(key): value for key, value in values.items()}}
    return msgspec.json.encode(event)


def _split(body: bytes, limits: EventLimits) -> tuple[list[bytes], bool]:
    """The texts of the events in a body, and whether they came as an array."""
    text = body.strip(b" \t\r\n")
    if not text:
        raise RequestError(f"Request body is empty; it must contain {_WANTED}")
    if text.startswith(b"{"):
        return [text], False
    if not text.startswith(b"["):
        _load(text, "Request body")
        raise RequestError(f"Request body must contain {_WANTED}")
    # Only a look: the array would have to be taken apart to know how many of these commas are its own.
    if text.count(b",") >= limits.events:
        _refuse_crowd(text, limits.events)
    try:
        return [bytes(raw) for raw in _elements.decode(text)], True
    except msgspec.DecodeError as error:
        raise RequestError(f"Request body is not valid JSON: {error}") from None
    except RecursionError:
        raise RequestError(f"Request body is nested deeper than the limit of {limits.depth} levels") from None


def _refuse_crowd(text: bytes, limit: int) -> None:
    """Refuse an array of more than `limit` elements, having looked at no more than those."""
    try:
        _crowd_of(limit).decode(text)
    except msgspec.ValidationError:
        raise TooLargeError(f"event {limit}: the request has more events than the limit of {limit}") from None
    except (msgspec.DecodeError, RecursionError):
        return  # the decoder of the array has the better sentence


@lru_cache(maxsize=8)
def _crowd_of(limit: int) -> msgspec.json.Decoder[Any]:
    # A list is decoded to its end before its length is judged: millions of tiny elements would cost half a gigabyte.
    # A struct written as an array is judged at the first element too many.
    fields = [(f"e{index}", msgspec.Raw, None) for index in range(limit)]
    return msgspec.json.Decoder(msgspec.defstruct("Crowd", fields, array_like=True, forbid_unknown_fields=True))


def _event(text: bytes, event_id: str, now: datetime, limits: EventLimits) -> Event:
    if len(text) > limits.event_bytes:
        raise TooLargeError(f"the event has {len(text)} bytes, the limit is {limits.event_bytes} bytes")
    fields = _load(text, "the event")
    if not isinstance(fields, dict):
        raise RequestError(f"must be an event object, not {_kind(fields)}")
    name = _name(fields.get("name"), limits)
    if text.count(b"[") + text.count(b"{") > limits.depth:
        _check_depth(fields, limits.depth)
    parts = _parts.decode(text)
    return Event(
        id=event_id,
        name=name,
        data=_data(fields.get("data"), parts.data),
        ts=_moment(fields.get("ts"), now),
        received_at=now,
        external_id=_string(fields.get("id"), "id", limits.id),
        user=_object(fields.get("user"), parts.user, "user"),
        v=_string(fields.get("v"), "v", limits.id),
        meta=_object(fields.get("meta"), parts.meta, "meta"),
    )


def _load(text: bytes, what: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"{what} is not valid JSON: {error}") from None


def _check_depth(value: Any, limit: int) -> None:
    """Refuse nesting that the functions' own JSON readers may not survive."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > limit:
            raise RequestError(f"the event is nested deeper than the limit of {limit} levels")
        inner = (each for holder in level for each in (holder.values() if isinstance(holder, dict) else holder))
        level = [each for each in inner if isinstance(each, (dict, list))]


def _name(value: Any, limits: EventLimits) -> str:
    if value is None or value == "":
        raise RequestError('event name is empty: "name" must be a string of at least one character')
    name = _string(value, "name", limits.name) or ""
    if is_internal(name):
        raise RequestError(f"event name is reserved for internal use: {name}")
    return name


def _string(value: Any, field: str, limit: int) -> str | None:
    """A text that a database takes; None for an absent or empty one."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise RequestError(f'"{field}" must be a string, not {_kind(value)}')
    if len(value) > limit:
        raise RequestError(f'"{field}" has {len(value)} characters, the limit is {limit}')
    if "\0" in value:
        raise RequestError(f'"{field}" must not contain the NUL character')
    return value or None


def _moment(value: Any, now: datetime) -> int:
    if value is None or (value == 0 and not isinstance(value, bool)):
        return int(now.timestamp() * 1000)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        shown = "a fraction" if type(value) is float else _kind(value)
        raise RequestError(f'"ts" must be an integer of Unix milliseconds, not {shown}')
    if value < _EARLIEST:
        raise RequestError(f'timestamp is before Jan 1, 1980: "ts" must be at least {_EARLIEST} (Unix milliseconds)')
    if value > _LATEST:
        raise RequestError(f'timestamp is after Jan 1, 2100: "ts" must be at most {_LATEST} (Unix milliseconds)')
    return value


def _data(value: Any, raw: msgspec.Raw) -> str:
    text = _object(value, raw, "data") or "{}"
    if not value or _SERVER_KEY not in value:
        return text
    members = _members.decode(text)
    del members[_SERVER_KEY]
    return msgspec.json.encode(members).decode()


def _object(value: Any, raw: msgspec.Raw, field: str) -> str | None:
    """The text of a member that is an object; None for an absent one."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise RequestError(f'"{field}" must be an object, not {_kind(value)}')
    return str(raw, "utf-8")


def _kind(value: Any) -> str:
    return _TYPES.get(type(value), "null")


def _gathered(fields: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in fields:
        found.setdefault(key, []).append(value)
    return found


def _object_in(value: Any) -> dict[str, msgspec.Raw] | None:
    if not isinstance(value, str):
        return None
    try:
        return _members.decode(value)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _bare(key: str) -> str:
    if key.startswith("data."):
        return key[5:] or key
    if key.startswith("data[") and key.endswith("]"):
        return key[5:-1] or key
    return key
