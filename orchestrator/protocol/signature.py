"""Proofs of identity on the wire: signed requests (server to app) and bearer tokens (app to server).

A signature is an HMAC over the canonical form (RFC 8785) of the body and the time; the bytes sent may look different,
as both official SDKs canonicalise what they get before they check.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable

import jcs
import orjson

from orchestrator.errors import ConfigError

#: Seconds a signature stays valid; the TypeScript SDK uses the same.
TOLERANCE = 300

_PREFIX = re.compile(r"signkey-\w+-")
_HEADER = re.compile(r"t=([0-9]{1,12})&s=([0-9a-f]{64})")
_BEARER = re.compile(r"bearer\s+", re.IGNORECASE)
# A number that orjson may write otherwise than RFC 8785 wants it: with a fraction, an exponent, or beyond 2^53.
_ODD_NUMBER = re.compile(rb"(?:\A|[:\[,])\s*-?(?:[0-9]{16}|[0-9]+[.eE])")
# A key beyond this is sorted differently as UTF-16 than as code points.
_LAST_PLAIN = "\ud7ff"
_MAX_PLAIN_INTEGER = 2**53 - 1


def canonical(body: bytes | str) -> bytes:
    """Write JSON in its canonical form; what is empty or not JSON stays as it is."""
    raw = body.encode() if isinstance(body, str) else body
    try:
        if _is_plain(raw):
            return orjson.dumps(orjson.loads(raw), option=orjson.OPT_SORT_KEYS)
        return _canonical_slowly(raw)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return raw


def sign(body: bytes | str, key: str, at: int) -> str:
    """Make the signature header of a request sent at the Unix second `at`."""
    return f"t={at}&s={_mac(canonical(body), key, str(at))}"


def verify(header: str, body: bytes, keys: Iterable[str], now: int, tolerance: int = TOLERANCE) -> bool:
    """Tell whether `header` signs `body`, as it is or in its canonical form, with one of `keys` within `tolerance`."""
    match = _HEADER.fullmatch(header)
    if match is None or abs(now - int(match[1])) > tolerance:
        return False
    # SDKs sign their answers as they are and expect requests to be signed canonically.
    accepted = False
    for key in keys:
        for form in (body, canonical(body)):
            accepted |= hmac.compare_digest(_mac(form, key, match[1]), match[2])
    return accepted


def without_prefix(key: str) -> str:
    """Drop `signkey-<env>-` from a key or a token."""
    return key[match.end() :] if (match := _PREFIX.match(key)) else key


def bearer_hash(key: str) -> str:
    """Make the token that SDKs with this signing key send; raises `ConfigError` for a key that is not hexadecimal."""
    try:
        secret = bytes.fromhex(without_prefix(key))
    except ValueError:
        raise ConfigError(
            "a signing key must be an even number of hexadecimal digits, with or without signkey-<env>- in front"
        ) from None
    return hashlib.sha256(secret).hexdigest()


def bearer_accepted(header_value: str | None, keys: Iterable[str]) -> bool:
    """Tell whether an Authorization header proves one of `keys`: as bare hash, prefixed hash or the key itself."""
    match = _BEARER.match(header_value or "")
    if header_value is None or match is None:
        return False
    token = without_prefix(header_value[match.end() :].strip())
    accepted = False
    for key in keys:
        for secret in (bearer_hash(key), without_prefix(key)):
            accepted |= hmac.compare_digest(_bytes(token), _bytes(secret))
    return accepted


def _mac(body: bytes, key: str, at: str) -> str:
    return hmac.new(without_prefix(key).encode(), body + at.encode(), hashlib.sha256).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _is_plain(raw: bytes) -> bool:
    return raw.isascii() and b"\\u" not in raw and not _ODD_NUMBER.search(raw)


def _canonical_slowly(raw: bytes) -> bytes:
    value = orjson.loads(raw)  # Stricter than json.loads, which takes NaN.
    if _sorts_alike(value):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    canonicalised: bytes = jcs.canonicalize(json.loads(raw))
    return canonicalised


def _sorts_alike(value: object) -> bool:
    """Whether orjson writes the value as RFC 8785 wants it."""
    if isinstance(value, dict):
        return all(key <= _LAST_PLAIN and _sorts_alike(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_sorts_alike, value))
    if isinstance(value, float):
        return False
    return not isinstance(value, int) or abs(value) <= _MAX_PLAIN_INTEGER
