"""Styles, scripts and their like, under a path that holds the digest of them all.

What is under such a path never changes, so browsers keep it; a new version has another path.  Scripts name each other
relatively, and so always meet their own kind.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, as it is and packed."""

    kind: str
    body: bytes
    packed: bytes


@cache
def assets() -> dict[str, Asset]:
    """All files by name; read once in the life of a process."""
    found = {path.name: path for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}
    return {name: _asset(path) for name, path in found.items()}


@cache
def digest() -> str:
    """What tells this version of the files from any other."""
    seen = hashlib.sha256()
    for name, asset in assets().items():
        seen.update(name.encode() + b"\0" + asset.body)
    return seen.hexdigest()[:16]


def asset_url(name: str) -> str:
    """Where a file is."""
    if name not in assets():
        raise LookupError(f"there is no asset {name}")
    return f"/static/{digest()}/{name}"


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(_TYPES[path.suffix], body, gzip.compress(body, mtime=0))
