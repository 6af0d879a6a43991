"""What becomes of a log record: its order, its secrets, its level, its way out."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator import log

here = log.get("tests.here")


class Output:
    """A stream that was configured, and the records that went into it."""

    def __init__(self, level: str = "info") -> None:
        self.stream = io.StringIO()
        log.configure(log.render_json, level, self.stream)

    @property
    def records(self) -> list[dict[str, Any]]:
        """What was written, parsed."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    yield
    log.reset()


def test_a_record_is_one_line_with_time_level_text_and_keywords_in_this_order():
    output = Output()

    here.info("event received", event="shop/x", event_id="01J8")

    (record,) = output.records
    assert ["timestamp", "level", "message", "logger", "event", "event_id"] == list(record)
    assert ("info", "event received", "tests.here", "shop/x") == tuple(
        record[name] for name in ("level", "message", "logger", "event")
    )
    assert record["timestamp"].endswith("Z")


def test_a_keyword_cannot_take_the_place_of_time_level_or_text():
    output = Output()

    here.info("said", level="mine", message="mine", timestamp="mine")

    (record,) = output.records
    assert ("info", "said", False) == (record["level"], record["message"], record["timestamp"] == "mine")


@pytest.mark.parametrize(
    ("level", "passed"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_only_the_level_asked_for_and_above_pass(level: str, passed: list[str]):
    output = Output(level)

    for name in ("debug", "info", "warning", "error"):
        getattr(here, name)("said")

    assert passed == [record["level"] for record in output.records]


SECRETS = [
    ("event_key", "s3cret", "***"),
    ("key", "s3cret", "***"),
    ("signingKey", "s3cret", "***"),
    ("X-Inngest-Signature", "s3cret", "***"),
    ("Authorization", "Bearer s3cret", "***"),
    ("api_token", "s3cret", "***"),
    ("client_secret", "s3cret", "***"),
    ("password", "s3cret", "***"),
    ("headers", {"authorization": "s3cret", "accept": "x"}, {"authorization": "***", "accept": "x"}),
    ("url", "postgres://shop:s3cret@h/x", "postgres://shop:***@h/x"),
    ("error", "cannot reach amqp://shop:s3cret@h", "cannot reach amqp://shop:***@h"),
    ("line", ["redis://:s3cret@h"], ["redis://:***@h"]),
    ("url", "redis://h:1/0?password=s3@cret", "redis://h:***"),
    ("url", "redis://u:s3@h/0?password=s3cr@et&x=1", "redis://u:***"),
    ("note", "signkey-prod-0123abcd", "signkey-prod-***"),
    ("keyboard", "qwerty", "qwerty"),
    ("monkey", "see", "see"),
    ("event_key", None, None),
    ("url", "http://h/a@b", "http://h/a@b"),
]


@pytest.mark.parametrize(("name", "value", "logged"), SECRETS)
def test_secrets_are_masked_by_name_and_inside_texts(name: str, value: object, logged: object):
    output = Output()

    here.info("said", **{name: value})

    assert logged == output.records[0][name]


def test_the_traceback_of_an_exception_is_logged_without_its_secrets():
    output = Output()

    try:
        raise ValueError("cannot reach amqp://shop:s3cret@h")
    except ValueError:
        here.exception("gave up", run_id="01J8")

    (record,) = output.records
    assert "ValueError: cannot reach amqp://shop:***@h" == record["exception"].splitlines()[-1]
    assert "error" == record["level"]


def test_what_is_bound_goes_with_every_record_until_it_is_unbound():
    output = Output()

    with log.bound(run_id="r1"):
        token = log.bind(step="a")
        here.info("one")
        log.unbind(token)
        here.bind(function="f").info("two")
    here.info("three")

    assert [{"run_id": "r1", "step": "a"}, {"run_id": "r1", "function": "f"}, {}] == [
        {k: v for k, v in record.items() if k in ("run_id", "step", "function")} for record in output.records
    ]


def test_what_one_thread_binds_does_not_show_in_another():
    output = Output()

    with log.bound(run_id="r1"):
        thread = threading.Thread(target=here.info, args=("other",))
        thread.start()
        thread.join()

    assert "run_id" not in output.records[0]


def test_threads_write_whole_lines():
    output = Output()

    def say(number: int) -> None:
        for _ in range(50):
            here.info("said", number=number, padding="x" * 500)

    threads = [threading.Thread(target=say, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 400 == len(output.records)


def test_a_renderer_may_leave_a_record_out():
    stream = io.StringIO()
    log.configure(lambda record: None if record["message"] == "boring" else record["message"], "info", stream)

    here.info("boring")
    here.info("news")

    assert "news\n" == stream.getvalue()


def test_a_value_that_json_has_no_form_for_is_written_as_text():
    output = Output()

    here.info("said", when=threading.Lock, huge=2**70, broken="\ud800")

    (record,) = output.records
    assert (str(2**70), "\\ud800") == (record["huge"], record["broken"])


def test_a_value_that_cannot_be_printed_does_not_reach_the_caller():
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    stream = io.StringIO()
    log.configure(log.render_json, "info", stream)

    here.info("said", value=Broken())

    assert stream.getvalue().endswith("info 'said' (RuntimeError in its rendering)\n")


def test_a_stream_without_the_characters_gets_escapes():
    raw = io.BytesIO()
    log.configure(lambda record: record["message"], "info", io.TextIOWrapper(raw, encoding="ascii"))

    here.info("…")

    assert b"\\u2026\n" == raw.getvalue()


def test_a_stream_that_is_gone_does_not_reach_the_caller():
    output = Output()
    output.stream.close()

    here.info("said")


def test_warnings_of_libraries_arrive_and_their_chatter_does_not():
    output = Output()

    logging.getLogger("waitress").info("chatter")
    logging.getLogger("waitress").warning("queue depth is %d", 3)

    assert [("waitress", "warning", "queue depth is 3")] == [
        (record["logger"], record["level"], record["message"]) for record in output.records
    ]


def test_a_second_configuration_replaces_the_first():
    first, second = Output(), Output()

    here.info("ours")
    logging.getLogger("waitress").warning("theirs")

    assert [[], ["ours", "theirs"]] == [[record["message"] for record in out.records] for out in (first, second)]


def test_before_configuration_records_go_to_the_standard_library(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        here.info("run started", run_id="r1", event_key="s3cret")
        here.debug("detail")

    assert [("tests.here", logging.INFO, "run started run_id=r1 event_key=***")] == caplog.record_tuples


def test_importing_it_and_getting_a_logger_loads_neither_structlog_nor_logging():
    code = "import orchestrator.log, sys; orchestrator.log.get('x'); print(*sys.modules)"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert set() == set(printed.split()) & {"structlog", "logging", "orjson"}
