"""The scalars of the schema, checked where they come in."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime

from ariadne import ScalarType
from graphql import GraphQLError

from orchestrator.api.render import moment
from orchestrator.ids import is_ulid

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?\d*(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_UINT = 2**53

time = ScalarType("Time", serializer=moment)
ulid = ScalarType("ULID")
uid = ScalarType("UUID")
bytes_ = ScalarType("Bytes")
map_ = ScalarType("Map")
timestamp = ScalarType("Timestamp")
uint = ScalarType("Uint")

SCALARS = [time, ulid, uid, bytes_, map_, timestamp, uint]


@time.value_parser
def _time(value: object) -> datetime:
    """Read a moment; what lies before 1970, as the zero time of some languages does, means from the beginning."""
    found = _RFC3339.fullmatch(value.upper()) if isinstance(value, str) else None
    try:
        if found is not None:
            # Digits beyond the microsecond are more than we keep.
            at = datetime.fromisoformat(found[1] + (found[2] or "") + found[3])
            return max(at, _EARLIEST).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise GraphQLError("Time must be a moment such as 2026-01-31T09:30:00Z")


@ulid.value_parser
def _ulid(value: object) -> str:
    if isinstance(value, str) and is_ulid(value):
        return value.upper()
    raise GraphQLError("ULID must have 26 letters and digits")


@uid.value_parser
def _uuid(value: object) -> str:
    try:
        if isinstance(value, str) and len(value) == 36:
            return str(uuid.UUID(value))
    except ValueError:
        pass
    raise GraphQLError("UUID must be such as 123e4567-e89b-12d3-a456-426614174000")


@bytes_.value_parser
def _bytes(value: object) -> str:
    if isinstance(value, str):
        return value
    raise GraphQLError("Bytes must be a string")


@map_.value_parser
def _map(value: object) -> dict[str, object]:
    if isinstance(value, dict):
        return value
    raise GraphQLError("Map must be an object")


@timestamp.value_parser
@uint.value_parser
def _number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_UINT:
        return value
    raise GraphQLError("must be a whole number from 0 on")
