"""Passwords, and what is kept of them: a salted hash that is dear to compute (scrypt), with how it was made."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata

from orchestrator.errors import RequestError

SHORTEST, LONGEST = 12, 512
#: log2 of the cost, block size, lanes: 32 MiB and about a tenth of a second.
_COST, _BLOCK, _LANES = 15, 8, 1
_MEMORY = 64 * 1024 * 1024
_SALT = 16


def hash_password(password: str) -> str:
    """What is kept of a password.  Raises `RequestError` for one that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise RequestError(f"password must have {SHORTEST} to {LONGEST} characters")
    salt = secrets.token_bytes(_SALT)
    parts = (f"{_COST}-{_BLOCK}-{_LANES}", _text(salt), _text(_scrypt(password, salt, _COST, _BLOCK, _LANES)))
    return "$".join(("scrypt", *parts))


def is_password(password: str, kept: str) -> bool:
    """Whether this is the password of which that is kept; takes as long when it is not."""
    if len(password) > LONGEST:
        return False
    _, made, salt, digest = kept.split("$")
    cost, block, lanes = map(int, made.split("-"))
    found = _scrypt(password, base64.b64decode(salt), cost, block, lanes)
    return hmac.compare_digest(found, base64.b64decode(digest))


def new_password() -> str:
    """A password that nobody guesses."""
    return secrets.token_urlsafe(18)


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    # One that was typed on another keyboard is the same password.
    text = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=1 << cost, r=block, p=lanes, maxmem=_MEMORY, dklen=32)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
