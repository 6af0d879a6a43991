"""Column types that mean the same on every database: moments, ULIDs, UUIDs, JSON text."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, LargeBinary, Text, Uuid
from sqlalchemy.dialects.mysql import BINARY, DATETIME, LONGTEXT
from sqlalchemy.types import TypeDecorator, TypeEngine

from orchestrator.ids import ulid_bytes, ulid_from_bytes

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """An aware UTC moment to the microsecond; SQLite, which has no such type, keeps microseconds since 1970."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type of this database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(DATETIME(fsp=6))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write a moment."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment must be aware, {value!r} is not")
        if dialect.name == "postgresql":
            return value
        if dialect.name == "sqlite":
            return (value - _EPOCH) // _MICROSECOND
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read a moment."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return _EPOCH + timedelta(microseconds=value)
        if dialect.name == "postgresql":
            moment: datetime = value.astimezone(UTC)
            return moment
        naive: datetime = value.replace(tzinfo=UTC)
        return naive


class Ulid(TypeDecorator[str]):
    """A ULID, 26 characters in Python, 16 bytes in the database (a uuid on PostgreSQL, so that it can be read)."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type of this database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(Uuid(native_uuid=True))
        # MySQL's BLOB cannot be a key.
        return dialect.type_descriptor(LargeBinary(16) if dialect.name == "sqlite" else BINARY(16))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Write a ULID."""
        if value is None:
            return None
        raw = ulid_bytes(value)
        return uuid.UUID(bytes=raw) if dialect.name == "postgresql" else raw

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Read a ULID."""
        if value is None:
            return None
        return ulid_from_bytes(value.bytes if dialect.name == "postgresql" else value)


#: Text of any length; MySQL's plain TEXT ends at 64 KiB.
LongText = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
