"""Signatures and tokens are those of the official SDKs, to the byte."""

from __future__ import annotations

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from inngest._internal import net, server_lib, transforms

from orchestrator.errors import ConfigError
from orchestrator.protocol.signature import bearer_accepted, bearer_hash, canonical, sign, verify, without_prefix

KEY = "signkey-test-12345678"
HASH = "b2ed992186a5cb19f6668aade821f502c1d00970dfd0e35128d51bac4649916c"
AT = 1_795_178_377

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@given(_JSON, st.booleans())
def test_the_canonical_form_is_rfc_8785(value: object, ascii_only: bool) -> None:
    assert rfc8785.dumps(value) == canonical(json.dumps(value, ensure_ascii=ascii_only, indent=1).encode())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", b""),
        (b"not json", b"not json"),
        (b"\xff", b"\xff"),
        (b"[NaN]", b"[NaN]"),
        (b"[" * 5000, b"[" * 5000),
        (b'{"b":1, "a":2}', b'{"a":2,"b":1}'),
        (b"[-0, 0.0, -0.0, 1.0, 1e2, 1E21]", b"[0,0,0,1,100,1e+21]"),
        (b"[9007199254740993]", b"[9007199254740992]"),
        (b'{"a":123456789012345678901234567890}', b'{"a":1.2345678901234568e+29}'),
        (b'["1.5",", 1.5", "a:2e3"]', b'["1.5",", 1.5","a:2e3"]'),
        ('{"\ufb33":1,"\U0001f600":2}'.encode(), '{"\U0001f600":2,"\ufb33":1}'.encode()),
        (b'{"\\ufb33":1,"\\ud83d\\ude00":2}', '{"\U0001f600":2,"\ufb33":1}'.encode()),
        ("é", "é".encode()),
    ],
)
def test_the_canonical_form_of_odd_documents(body: bytes | str, expected: bytes) -> None:
    assert expected == canonical(body)


@given(_JSON | st.integers())
def test_the_official_sdk_canonicalises_alike(value: object) -> None:
    body = json.dumps(value).encode()
    assert transforms.canonicalize(body) == canonical(body)


@pytest.mark.parametrize("key", [KEY, "12345678", "signkey-prod-abcd"])
@pytest.mark.parametrize("body", [b"", b'{"b": 12345678901234567890, "a": [1.0]}'])
def test_the_official_sdk_signs_alike_and_accepts_our_signature(key: str, body: bytes) -> None:
    header = sign(body, key, AT)
    assert net.sign_request(body, key, AT) == header
    accepted = net.validate_request_sig(
        body=body,
        headers={"x-inngest-signature": header},
        mode=server_lib.ServerKind.CLOUD,
        signing_key=key,
        signing_key_fallback=None,
    )
    assert key == accepted


def test_answers_signed_by_the_official_sdk_are_verified() -> None:
    body = b'{"app_id": "shop", "functions": []}'
    header = net.sign_response(body, KEY, AT)
    assert isinstance(header, str)
    assert verify(header, body, ["00", KEY], AT + 300)


def test_a_signature_is_good_for_either_key_and_any_spelling_of_the_body() -> None:
    header = sign(b'{"b": 1, "a": 2}', KEY, AT)
    assert verify(header, b'{"a":2,"b":1}', ["abcd", "12345678"], AT)


@pytest.mark.parametrize(
    ("header", "now"),
    [
        (sign(b"{}", KEY, AT), AT + 301),
        (sign(b"{}", KEY, AT), AT - 301),
        (sign(b'{"a":1}', KEY, AT), AT),
        (sign(b"{}", "ffff", AT), AT),
        (sign(b"{}", KEY, AT).replace("t=1", "t=+1"), AT),
        ("s=abc", AT),
        ("", AT),
    ],
)
def test_other_signatures_are_refused(header: str, now: int) -> None:
    assert not verify(header, b"{}", [KEY], now)


def test_no_key_accepts_nothing() -> None:
    assert not verify(sign(b"{}", KEY, AT), b"{}", [], AT)
    assert not bearer_accepted(f"Bearer {HASH}", [])


@pytest.mark.parametrize(
    ("key", "expected"),
    [(KEY, "12345678"), ("12345678", "12345678"), ("signkey-my_env-ab", "ab"), ("signkey-ab", "signkey-ab")],
)
def test_the_prefix_of_a_key_says_nothing(key: str, expected: str) -> None:
    assert expected == without_prefix(key)


def test_the_token_is_the_hash_of_the_keys_bytes() -> None:
    assert HASH == bearer_hash(KEY)
    assert transforms.hash_signing_key(KEY) == bearer_hash(KEY)
    with pytest.raises(ConfigError, match="hexadecimal") as raised:
        bearer_hash("signkey-test-secret")
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (f"Bearer {HASH}", True),
        (f"bearer  {HASH}", True),
        (f"Bearer signkey-test-{HASH}", True),
        (f"Bearer {KEY}", True),
        ("Bearer 12345678", True),
        (HASH, False),
        ("Bearer undefined", False),
        ("Bearer ", False),
        ("Bearer é\ud800", False),
        ("", False),
        (None, False),
    ],
)
def test_three_forms_of_a_token_are_accepted(header: str | None, accepted: bool) -> None:
    assert accepted is bearer_accepted(header, ["ffff", KEY])
