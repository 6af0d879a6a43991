"""Reports of endpoints that are no text: refused as such, wherever in them that is; half a character is mended."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.errors import RequestError
from orchestrator.protocol.endpoint import read_new_run

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BODY = (
    b'{"run_id":"01J00000000000000000000000","event":{"name":"inngest/http.request","data":'
    b'{"domain":"http://127.0.0.1:1","path":"/x","method":"GET","query_params":"HERE","body":""}},"steps":[]}'
)


@pytest.mark.parametrize("before", [b"HERE", b"query_params", b"01J"])
@pytest.mark.parametrize("bad", [b"\xed\xa0\x80", b"\xff"])
def test_what_is_no_text_is_refused(before: bytes, bad: bytes) -> None:
    with pytest.raises(RequestError, match="the report cannot be read"):
        read_new_run(BODY.replace(before, bad + before), NOW)


def test_half_a_character_is_a_sign_for_one_as_in_an_answer() -> None:
    found = read_new_run(BODY.replace(b'"body":""', b'"body":"fried \\ud83d"'), NOW)

    assert "fried \ufffd".encode() == found.original.body
    assert "\\ud83d" not in found.data


def test_a_name_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(RequestError, match="zero byte"):
        read_new_run(BODY.replace(b'"method"', b'"fn":"pan\\u0000","method"'), NOW)
