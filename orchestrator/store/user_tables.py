"""The tables of people: who may use the dashboard, and who is signed in."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, String, Table

from orchestrator.store.metadata import metadata
from orchestrator.store.types import Moment

users = Table(
    "users",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("password", String(255), nullable=False),  # its hash, with how it was made
    Column("role", String(16), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("signed_in_at", Moment),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),  # the hash of what the browser holds
    Column("user_id", String(36), ForeignKey("users.id"), nullable=False, index=True),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
)
