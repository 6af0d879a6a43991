"""The line that a person sees for each record of the engine."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from orchestrator.cli.console import ConsoleRenderer

RUN = {"run_id": "01J8ABCDEFGHJKMNPQRSTVWXK2"}
EVENT = {"event": "shop/product.imported", "event_id": "01J8ABCDEFGHJKMNPQRSTVWXQ7"}
FUNCTION = {**RUN, "function": "import-product-images"}
STEP = {**FUNCTION, "step": "resize-images"}
FAILED = {"attempt": 0, "max_attempts": 5, "error": "TimeoutError: S3"}
APP = {"app": "shop", "functions": 2, "url": "http://localhost:5000"}


def record(message: str, **keywords: Any) -> dict[str, Any]:
    """A record as it reaches a renderer."""
    return {
        "timestamp": "2026-11-21T12:00:01.500000Z",
        "level": "info",
        "message": message,
        "logger": "orchestrator.engine",
        **keywords,
    }


def rendered(message: str, **keywords: Any) -> str | None:
    """The line of one record, without colours, in UTC."""
    return ConsoleRenderer(colour=False, zone=UTC)(record(message, **keywords))


LINES = [
    (
        record("server ready", url="http://localhost:8288", state="temporary", apps=["http://a", "http://b"]),
        "orchestrator dev  http://localhost:8288   state: temporary   apps: http://a, http://b",
    ),
    (
        record("server ready", url="http://localhost:8288", state="temporary", apps=[]),
        "orchestrator dev  http://localhost:8288   state: temporary   apps: none yet",
    ),
    (record("app synced", **APP, modified=True), "12:00:01 app    shop (2 functions) via http://localhost:5000"),
    (
        record("app synced", app="shop", functions=1, url="http://a", modified=False),
        "12:00:01 app    shop (1 function) via http://a",
    ),
    (
        record("app not synced", url="http://a", error="connection refused", code="unreachable"),
        "12:00:01 app    http://a not synced: connection refused (unreachable)",
    ),
    (record("event received", **EVENT, heard=True), None),
    (record("event received", **EVENT, heard=False), "12:00:01 event  shop/product.imported 01J8…Q7 -> no function"),
    (
        record("event matched", **EVENT, functions=["import-product-images", "audit"]),
        "12:00:01 event  shop/product.imported 01J8…Q7 -> import-product-images, audit",
    ),
    (record("event matched", **EVENT, functions=[]), "12:00:01 event  shop/product.imported 01J8…Q7 -> no function"),
    (
        record("start deferred", event_id=EVENT["event_id"], function="audit", by="debounce"),
        "12:00:01 event  01J8…Q7 audit waits: debounce",
    ),
    (
        record("run skipped", **FUNCTION, reason="rate limit"),
        "12:00:01 run    01J8…K2 import-product-images          skipped: rate limit",
    ),
    (record("run started", **FUNCTION), "12:00:01 run    01J8…K2 import-product-images          started"),
    (
        record("step completed", **STEP, op="StepRun", ms=412),
        "12:00:01 step   01J8…K2 resize-images                  done   412 ms",
    ),
    (record("step completed", **STEP, op="Sleep"), "12:00:01 step   01J8…K2 resize-images                  done"),
    (
        record("step failed", **STEP, **FAILED, next_at="2026-11-21T12:00:17Z"),
        "12:00:01 step   01J8…K2 resize-images                  "
        "failed attempt 1 of 5: TimeoutError: S3   next try 12:00:17",
    ),
    (
        record("step failed", **STEP, **{**FAILED, "attempt": 4}, next_at=None),
        "12:00:01 step   01J8…K2 resize-images                  "
        "failed attempt 5 of 5: TimeoutError: S3   no more tries",
    ),
    (
        record("run sleeping", **STEP, until="2026-11-21T12:05:00+00:00"),
        "12:00:01 step   01J8…K2 resize-images                  sleeps until 12:05:00",
    ),
    (
        record("run sleeping", **STEP, until="2026-11-24T12:05:00Z"),
        "12:00:01 step   01J8…K2 resize-images                  sleeps until 2026-11-24 12:05:00",
    ),
    (
        record("attempt failed", **FUNCTION, **FAILED, next_at="2026-11-21T12:00:17Z"),
        "12:00:01 run    01J8…K2 import-product-images          "
        "failed attempt 1 of 5: TimeoutError: S3   next try 12:00:17",
    ),
    (
        record("run completed", **FUNCTION, ms=1234),
        "12:00:01 run    01J8…K2 import-product-images          completed   1.2 s",
    ),
    (
        record("run failed", **FUNCTION, error="TimeoutError: S3"),
        "12:00:01 run    01J8…K2 import-product-images          failed: TimeoutError: S3",
    ),
    (
        record("run cancelled", **FUNCTION, reason="asked by a person"),
        "12:00:01 run    01J8…K2 import-product-images          cancelled: asked by a person",
    ),
    (
        record("job lost", job_id="j1", why="lease over", n=3) | {"level": "warning"},
        '12:00:01 warning job lost job_id=j1 why="lease over" n=3',
    ),
    (
        record("gave up", exception="Traceback:\n  x\nValueError: \x1b[2J") | {"level": "error"},
        "12:00:01 error  gave up\n    Traceback:\n      x\n    ValueError: \\x1b[2J",
    ),
]


@pytest.mark.parametrize(("given", "line"), LINES, ids=[f"{n}-{row[0]['message']}" for n, row in enumerate(LINES)])
def test_a_record_is_shown_as(given: dict[str, Any], line: str | None):
    assert line == ConsoleRenderer(colour=False, zone=UTC)(given)


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "0 ms"),
        (999.4, "999 ms"),
        (59_949, "59.9 s"),
        (59_950, "1 min 0 s"),
        (125_000, "2 min 5 s"),
        (12_000_000, "3 h 20 min"),
    ],
)
def test_a_time_is_shown_in_the_unit_that_fits(ms: float, shown: str):
    line = rendered("run completed", **FUNCTION, ms=ms)

    assert line is not None
    assert line.endswith(f"completed   {shown}")


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb", "a\\u202eb"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("naïve 東京", "naïve 東京"),
    ],
)
@pytest.mark.parametrize("message", ["event matched", "run failed", "step completed", "app not synced", "new text"])
def test_what_a_terminal_would_obey_is_shown_instead(message: str, hostile: str, shown: str):
    keywords = dict.fromkeys(("event", "function", "step", "url", "error", "run_id", "app", "reason"), hostile)

    line = rendered(message, **keywords, functions=[hostile])

    assert line is not None
    assert shown in line
    assert hostile not in line or hostile == shown


def test_a_long_error_is_cut():
    line = rendered("run failed", **FUNCTION, error="x" * 1000)

    assert line is not None
    assert line.endswith("x…")
    assert len(line) < 240


def test_what_a_poll_finds_again_and_again_is_said_once():
    render = ConsoleRenderer(colour=False, zone=UTC)
    down = record("app not synced", url=APP["url"], error="refused", code="unreachable")
    same = record("app synced", **APP, modified=False)
    changed = record("app synced", **APP, modified=True)

    said = [render(given) is not None for given in (same, same, down, down, same, same, changed, same)]

    assert [True, False, True, False, True, False, True, False] == said


def test_colours_mark_the_outcome_and_only_when_asked_for():
    given = record("run failed", **FUNCTION, error="Error: x")

    coloured, plain = ConsoleRenderer(colour=True, zone=UTC)(given), ConsoleRenderer(colour=False, zone=UTC)(given)

    assert coloured is not None
    assert plain is not None
    assert coloured.endswith("\x1b[31mfailed: Error: x\x1b[0m")
    assert "\x1b" not in plain


def test_a_record_that_lacks_its_keywords_is_still_shown():
    assert "12:00:01 run    ? ?                              started" == rendered("run started")
