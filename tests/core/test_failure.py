"""Failures that are alike: what of a message counts, and what differs from one run to the next."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.failure import GAP, Failure, fingerprint, is_fingerprint, read_failure, shape

SHAPES = [
    ("order 17 not found", "order # not found"),
    ("order 18 not found", "order # not found"),
    ("took 12.5 s, at most 10 s", "took # s, at most # s"),
    ("took 3 s, at most 10 s", "took # s, at most # s"),
    ("-5 is below 0", "# is below #"),
    ("1,000,000 rows", "# rows"),
    ("at 2026-11-21T14:30:00.123Z", "at #"),
    ("no user 'ada'", "no user #"),
    ('no user "ben"', "no user #"),
    ("no user `eve`", "no user #"),
    ("no user “zoé”", "no user #"),
    ("can't open what isn't there", "can't open what isn't there"),
    ("id 0b9f7c1e-4c9f-4c06-8f6a-0d3f4a5b6c7d is gone", "id # is gone"),
    ("run 01J8Z3M7Q4T5V6W7X8Y9ZABCDE is gone", "run # is gone"),
    ("at 0xdeadbeef", "at #"),
    ("commit deadbeefcafe", "commit #"),
    ("a decade faded", "a decade faded"),
    ("charge ch_1Nq8 was refused", "charge # was refused"),
    ("mail to ada@shop.example bounced", "mail to # bounced"),
    ("connect to 10.0.0.7:5432 refused", "connect to # refused"),
    ("one of [1, 2, 3]", "one of [#]"),
    ("one of [1, 2, 3, 4]", "one of [#]"),
    ("two\n  lines", "two lines"),
    ("no lorry goes to Lyon today", "no lorry goes to Lyon today"),
    ("", ""),
    ("commande 17 introuvable : \u202eévé", "commande # introuvable : \u202eévé"),
]
ERRORS = [
    ('{"name":"E","message":"m","stack":"s"}', Failure("E", "m", "s")),
    ('{"name":"E","message":"m"}', Failure("E", "m")),
    ('{"message":{"a":1}}', Failure("", '{"a": 1}')),
    ('{"name":null,"message":7}', Failure("", "7")),
    ("{}", Failure("", "")),
    (None, Failure("", "")),
    ("", Failure("", "")),
    ('"plain"', Failure("", "plain")),
    ("[1]", Failure("", "[1]")),
    ("no JSON", Failure("", "no JSON")),
]


def an_error(message: str, name: str = "OrderError", **more: object) -> str:
    return json.dumps({"name": name, "message": message} | more)


@pytest.mark.parametrize(("message", "expected"), SHAPES)
def test_what_differs_is_taken_out_of_a_message(message: str, expected: str) -> None:
    assert expected == shape(message)


@pytest.mark.parametrize(("error", "expected"), ERRORS)
def test_any_error_can_be_read(error: str | None, expected: Failure) -> None:
    assert expected == read_failure(error)


def test_failures_are_alike_by_name_and_shape_alone() -> None:
    first = fingerprint(an_error("order 17 not found", stack="at a.py, line 3"))

    assert first == fingerprint(an_error("order 4711 not found", stack="at b.py, line 9"))
    assert first != fingerprint(an_error("order 17 not paid"))
    assert first != fingerprint(an_error("order 17 not found", name="KeyError"))


def test_a_name_and_a_message_are_not_taken_for_each_other() -> None:
    assert fingerprint(an_error("b c", name="a")) != fingerprint(an_error("c", name="a b"))


def test_what_comes_after_a_long_beginning_does_not_count() -> None:
    beginning = "it failed " * 100

    assert fingerprint(an_error(beginning + "here")) == fingerprint(an_error(beginning + "there"))


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=500))
def test_every_text_has_a_fingerprint(text: str) -> None:
    found = fingerprint(text)

    assert is_fingerprint(found)
    assert found == fingerprint(text)
    assert shape(text) == " ".join(shape(text).split())


@given(st.text(max_size=200))
def test_what_has_been_taken_out_leaves_nothing_more_to_take_out(message: str) -> None:
    once = shape(message)

    assert not any(digit in once for digit in "0123456789")
    assert GAP not in once or shape(once) == once or GAP in shape(once)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.uuids(), st.uuids())
def test_numbers_and_ids_never_part_failures(a: int, b: int, one: object, other: object) -> None:
    assert shape(f"order {a} of {one} failed") == shape(f"order {b} of {other} failed")


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "'" * 100_000, "1," * 50_000, "a-" * 50_000, "@ " * 50_000, '"a' * 50_000]
)
def test_no_message_takes_long(text: str) -> None:
    began = time.process_time()

    shape(text)

    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("text", ["", "0" * 15, "0" * 17, "G" * 16, "ABCDEF0123456789", "0" * 16 + "\n"])
def test_other_texts_are_no_fingerprints(text: str) -> None:
    assert not is_fingerprint(text)
