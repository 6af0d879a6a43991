"""The table of API tokens."""

from __future__ import annotations

from sqlalchemy import Column, String, Table

from orchestrator.store.metadata import metadata
from orchestrator.store.types import Moment, Ulid

#: Who may ask what, besides the bearers of the signing key.
api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Ulid, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),  # of the secret, which is not kept
    Column("hint", String(16), nullable=False),  # the secret's first characters
    Column("scopes", String(255), nullable=False),  # with spaces between
    Column("created_at", Moment, nullable=False),
    Column("last_used_at", Moment),
    Column("revoked_at", Moment),
)
