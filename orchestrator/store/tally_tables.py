"""The table of how many runs there were when: what happened in spans of time that are over, counted once."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, SmallInteger, String, Table

from orchestrator.store.metadata import metadata
from orchestrator.store.types import Moment

tallies = Table(
    "tallies",
    metadata,
    Column("span", Integer, primary_key=True, autoincrement=False),  # in seconds
    Column("at", Moment, primary_key=True),  # when it began
    Column("function_id", String(36), primary_key=True),  # empty: of all functions
    Column("what", String(16), primary_key=True),  # see store.tallies
    Column("bin", SmallInteger, primary_key=True, autoincrement=False),  # how long it took, of times; else 0
    Column("number", BigInteger, nullable=False),
)
