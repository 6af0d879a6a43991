"""The engine's records as lines for a person who watches a server: when, what kind, which one, what of it.

A record whose text is not in the table is printed whole, so nothing is lost by a new one.  Ids are shortened, all that
strangers wrote (names, errors, reasons) is escaped, and what an app's poll repeats every few seconds is said once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta, tzinfo
from typing import Any

from orchestrator.cli.terminal import clock_time, escape, paint, parse_time, short_id, shorten, took

Record = Mapping[str, Any]

NAME_WIDTH = 30
ERROR_WIDTH = 160

_LEVEL_COLOURS = {"debug": "dim", "info": "", "warning": "yellow", "error": "red", "critical": "red"}
_NOT_KEYWORDS = frozenset({"timestamp", "level", "message", "logger", "exception"})


class ConsoleRenderer:
    """Makes one line of one record, or None when it says nothing new to a person.

    `zone` is the zone of the times, None the machine's own.
    """

    def __init__(self, colour: bool, zone: tzinfo | None = None) -> None:
        self._colour = colour
        self._zone = zone
        self._last_of_app: dict[str, str] = {}

    def __call__(self, record: Record) -> str | None:
        """Render one record."""
        line = _LINES.get(str(record.get("message")), ConsoleRenderer._anything)
        return line(self, record)

    # One method for each text of the engine.

    def _server_ready(self, record: Record) -> str:
        apps = record.get("apps") or "none yet"
        shown = ", ".join(map(str, apps)) if isinstance(apps, (list, tuple)) else str(apps)
        title = paint(f"orchestrator {escape(record.get('mode', 'dev'))}", "bold", self._colour)
        return f"{title}  {_word(record, 'url')}   state: {_word(record, 'state')}   apps: {escape(shown)}"

    def _app_synced(self, record: Record) -> str | None:
        count = record.get("functions", 0)
        counted = "1 function" if count == 1 else f"{escape(count)} functions"
        text = f"{_word(record, 'app')} ({counted}) via {_word(record, 'url')}"
        return self._app_line(record, text, "", "green", again=bool(record.get("modified")))

    def _app_not_synced(self, record: Record) -> str | None:
        code = f" ({_word(record, 'code')})" if record.get("code") else ""
        return self._app_line(record, f"{_word(record, 'url')} ", f"not synced: {_error(record)}{code}", "red")

    def _app_line(self, record: Record, text: str, outcome: str, colour: str, again: bool = False) -> str | None:
        url, said = str(record.get("url")), text + outcome
        if self._last_of_app.get(url) == said and not again:
            return None
        self._last_of_app[url] = said
        return self._line(record, "app", text + paint(outcome, colour, self._colour and bool(outcome)))

    def _event_received(self, record: Record) -> str | None:
        """Say nothing where somebody listens: the line of its match follows and tells more."""
        return None if record.get("heard") else self._event_matched(record)

    def _event_matched(self, record: Record) -> str:
        functions = ", ".join(escape(slug) for slug in record.get("functions") or ())
        target = functions or paint("no function", "dim", self._colour)
        return self._line(record, "event", f"{_word(record, 'event')} {short_id(record.get('event_id'))} -> {target}")

    def _run_started(self, record: Record) -> str:
        return self._outcome(record, "run", "function", "started", "")

    def _run_skipped(self, record: Record) -> str:
        return self._outcome(record, "run", "function", f"skipped: {_word(record, 'reason')}", "yellow")

    def _start_deferred(self, record: Record) -> str:
        return self._line(
            record,
            "event",
            f"{short_id(record.get('event_id'))} {_word(record, 'function')} waits: {_word(record, 'by')}",
        )

    def _run_completed(self, record: Record) -> str:
        return self._outcome(record, "run", "function", f"completed{_duration(record)}", "green")

    def _run_failed(self, record: Record) -> str:
        return self._outcome(record, "run", "function", f"failed: {_error(record)}", "red")

    def _run_cancelled(self, record: Record) -> str:
        return self._outcome(record, "run", "function", f"cancelled: {_word(record, 'reason')}", "yellow")

    def _attempt_failed(self, record: Record) -> str:
        return self._outcome(record, "run", "function", self._failed_attempt(record), "yellow")

    def _step_completed(self, record: Record) -> str:
        return self._outcome(record, "step", "step", f"done{_duration(record)}", "green")

    def _step_failed(self, record: Record) -> str:
        colour = "yellow" if record.get("next_at") else "red"
        return self._outcome(record, "step", "step", self._failed_attempt(record), colour)

    def _run_sleeping(self, record: Record) -> str:
        return self._outcome(record, "step", "step", f"sleeps until {self._time(record, 'until')}", "cyan")

    def _anything(self, record: Record) -> str:
        level = str(record.get("level", "info"))
        words = [escape(record.get("message", ""))]
        words += [f"{escape(k)}={_quoted(v)}" for k, v in record.items() if k not in _NOT_KEYWORDS]
        trace = [f"    {escape(line)}" for line in str(record.get("exception", "")).splitlines()]
        return "\n".join([self._line(record, level, " ".join(words), _LEVEL_COLOURS.get(level, "")), *trace])

    # What the lines are made of.

    def _outcome(self, record: Record, kind: str, name: str, outcome: str, colour: str) -> str:
        which = f"{short_id(record.get('run_id', '?'))} {_word(record, name):<{NAME_WIDTH}}"
        return self._line(record, kind, f"{which} {paint(outcome, colour, self._colour)}")

    def _failed_attempt(self, record: Record) -> str:
        number = int(record.get("attempt", 0)) + 1
        tries = f"next try {self._time(record, 'next_at')}" if record.get("next_at") else "no more tries"
        return f"failed attempt {number} of {_word(record, 'max_attempts')}: {_error(record)}   {tries}"

    def _line(self, record: Record, kind: str, rest: str, colour: str = "") -> str:
        when = clock_time(record.get("timestamp", "--:--:--"), self._zone)
        return f"{paint(when, 'dim', self._colour)} {paint(f'{kind:<6}', colour, self._colour)} {rest}".rstrip()

    def _time(self, record: Record, name: str) -> str:
        return clock_time(record.get(name), self._zone, parse_time(record.get("timestamp")))


_LINES: dict[str, Callable[[ConsoleRenderer, Record], str | None]] = {
    "server ready": ConsoleRenderer._server_ready,
    "app synced": ConsoleRenderer._app_synced,
    "app not synced": ConsoleRenderer._app_not_synced,
    "event received": ConsoleRenderer._event_received,
    "event matched": ConsoleRenderer._event_matched,
    "run started": ConsoleRenderer._run_started,
    "run skipped": ConsoleRenderer._run_skipped,
    "start deferred": ConsoleRenderer._start_deferred,
    "step completed": ConsoleRenderer._step_completed,
    "step failed": ConsoleRenderer._step_failed,
    "run sleeping": ConsoleRenderer._run_sleeping,
    "attempt failed": ConsoleRenderer._attempt_failed,
    "run completed": ConsoleRenderer._run_completed,
    "run failed": ConsoleRenderer._run_failed,
    "run cancelled": ConsoleRenderer._run_cancelled,
}


def _word(record: Record, name: str) -> str:
    return escape(record.get(name, "?"))


def _error(record: Record) -> str:
    return shorten(_word(record, "error"), ERROR_WIDTH)


def _duration(record: Record) -> str:
    ms = record.get("ms")
    return "" if ms is None else f"   {took(timedelta(milliseconds=ms))}"


def _quoted(value: object) -> str:
    text = escape(value)
    return text if text and not any(c in text for c in ' "=') else '"' + text.replace('"', '\\"') + '"'
