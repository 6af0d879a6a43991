"""How pages write times, spans and JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import orjson
from markupsafe import Markup, escape

from orchestrator.core.waiting import Reason, moment
from orchestrator.store.event_search import EventRow
from orchestrator.store.history import Entry

#: Characters of a JSON text that a page shows; all of it is a link away.
SHOWN = 65_536
#: What stands where there is no time.
NONE = "\N{EN DASH}"
_INDENT = "  "
# A text that is cut off may end within a string: that one has no closing quote, and is a token all the same.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|-?\d[\d.eE+-]*|true|false|null|[\[\]{},:]|[^\s\[\]{},:"]+')
# What JSON writes by number, so that texts of other scripts can be read; escapes of any other kind stay.
_ESCAPE = re.compile(r"\\(?:u([dD][89abAB][\da-fA-F]{2})\\u([dD][c-fC-F][\da-fA-F]{2})|u([\da-fA-F]{4})|.)", re.DOTALL)
_DATA = '{"data":'
_OPENING, _CLOSING = "[{", "]}"
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


def iso(at: datetime) -> str:
    """A moment for machines, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def when(at: datetime | None) -> Markup:
    """A moment, in UTC until a script of the page writes it in the reader's own time."""
    if at is None:
        return Markup('<span class="dim">{}</span>').format(NONE)
    text = at.astimezone(UTC).strftime("%b %d, %H:%M:%S")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(at), iso(at), text)


def span(length: timedelta | None) -> str:
    """A span of time in a few characters: 0 ms, 42 ms, 1.24 s, 3m 12s, 2h 05m, 3d 4h."""
    if length is None:
        return NONE
    seconds = max(length.total_seconds(), 0)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for at, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            rest, (small, name) = whole % size, (*_UNITS, (1, "s"))[at + 1]
            return f"{whole // size}{unit} {rest // small:02d}{name}"
    return f"{whole} s"


def count(number: int) -> str:
    """A number with thin gaps between thousands."""
    return f"{number:,}".replace(",", " ")


def pretty(text: str | None) -> Markup:
    """A JSON text, indented and coloured; numbers stay as they were written, and what is no JSON is shown as it is."""
    if text is None:
        return Markup("")
    if len(text) <= SHOWN and not _is_json(text):
        return escape(text)
    return Markup("".join(_coloured(text[:SHOWN])))


def told(reason: Reason) -> Markup:
    """What a run waits for: the sentence, its moments in the reader's own time, runs and events of it as links."""
    known = dict[str, Markup]()
    since = reason.details.get("since")
    for at in (reason.until, datetime.fromisoformat(since) if isinstance(since, str) else None):
        if at is not None:
            known[moment(at)] = when(at)
    run_ids, last = reason.details.get("run_ids"), reason.details.get("last")
    for run_id in run_ids if isinstance(run_ids, list) else ():
        known[str(run_id)] = Markup('<a class="mono" href="/runs/{0}">{0}</a>').format(run_id)
    for seen in last if isinstance(last, list) else ():
        known[str(seen["id"])] = Markup('<a class="mono" href="/events/{0}">{0}</a>').format(seen["id"])
    return _with(reason.sentence[:1].upper() + reason.sentence[1:], known)


def glance(event: EventRow, most: int) -> str:
    """The beginning of an event's data."""
    payload = event.payload
    data = payload[len(_DATA) : len(_DATA) + most] if payload.startswith(_DATA) else payload[:most]
    return _readable(data.partition(f',"id":"{event.external_id or event.id}"')[0])


def story(entry: Entry) -> str:
    """What an entry of the story says besides its kind, in one line."""
    try:
        data = orjson.loads(entry.data or "{}")
    except orjson.JSONDecodeError:
        return entry.data or ""
    if not isinstance(data, dict):
        return entry.data or ""
    error = data.get("error")
    if isinstance(error, dict):
        return f"{error.get('name') or 'Error'}: {error.get('message') or ''}"
    return ", ".join(f"{name} {value}" for name, value in data.items() if value is not None)


def lone(text: str) -> str:
    """The one member of an array of one event; anything else as it is."""
    return text[1:-1] if text.startswith("[{") and text.count("},{") == 0 and text.endswith("}]") else text


def _with(text: str, known: Mapping[str, Markup]) -> Markup:
    """A text in which each of the known words is something else."""
    if not known:
        return escape(text)
    pieces = re.split(f"({'|'.join(map(re.escape, known))})", text)
    return Markup("").join(known.get(piece, piece) for piece in pieces)


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _coloured(text: str) -> Iterator[str]:
    """The pieces of a JSON text as HTML; made as plain texts, since a page has tens of thousands of them."""
    depth, tokens = 0, _TOKEN.findall(text)
    for at, token in enumerate(tokens):
        after = tokens[at + 1] if at + 1 < len(tokens) else ""
        before = tokens[at - 1] if at else ""
        if token in _OPENING:
            depth += after not in _CLOSING or not after
            yield token + (_line(depth) if after and after not in _CLOSING else "")
        elif token in _CLOSING:
            empty = before != "" and before in _OPENING
            depth = depth if empty else max(depth - 1, 0)
            yield ("" if empty else _line(depth)) + token
        elif token == ",":
            yield "," + _line(depth)
        elif token == ":":
            yield ": "
        else:
            yield f'<span class="{_kind(token, after)}">{escape(_readable(token))}</span>'


def _readable(text: str) -> str:
    return _ESCAPE.sub(_character, text) if "\\u" in text else text


def _character(escape_: re.Match[str]) -> str:
    high, low, one = escape_.groups()
    codes = (high, low) if high else (one,) if one else ()
    found = b"".join(int(code, 16).to_bytes(2, "big") for code in codes).decode("utf-16-be", "replace")
    return found if found.isprintable() and found not in ("", '"', "\\", "\N{REPLACEMENT CHARACTER}") else escape_[0]


def _line(depth: int) -> str:
    return "\n" + _INDENT * min(depth, 40)


def _kind(token: str, after: str) -> str:
    if token.startswith('"'):
        return "j-key" if after == ":" else "j-str"
    return "j-lit" if token in ("true", "false", "null") else "j-num"
