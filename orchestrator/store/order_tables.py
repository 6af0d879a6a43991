"""The tables of what operators order to be done to runs."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table, UniqueConstraint

from orchestrator.store.metadata import metadata
from orchestrator.store.types import LongText, Moment, Ulid

#: What a run that somebody ran again was given, beyond its events.
reruns = Table(
    "reruns",
    metadata,
    Column("run_id", Ulid, primary_key=True),
    Column("original_run_id", Ulid, nullable=False),
    Column("order_id", Ulid),  # to run many again
    Column("step_id", String(64)),  # it begins there; what came before is taken over
    Column("input", LongText),  # of that step, in place of its own: a JSON array
    UniqueConstraint("order_id", "original_run_id"),
)

#: Orders to do something to many runs, and how far they got.  The table's name is older than its kinds.
orders = Table(
    "cancellations",
    metadata,
    Column("id", Ulid, primary_key=True),
    Column("kind", String(16), nullable=False, server_default="cancel"),
    Column("app_id", String(36), nullable=False),  # empty: `filter` says which runs
    Column("function_id", String(36)),  # NULL: all functions of the app
    Column("started_after", Moment),
    Column("started_before", Moment, nullable=False),
    Column("expression", LongText),
    Column("reached", Ulid),  # written by code that looked at runs in the order of their ids
    Column("cancelled", Integer, nullable=False, server_default="0"),  # or run again
    Column("error", LongText),  # why the condition could not be tried on a run, or a run not be run again
    Column("created_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("filter", LongText),  # JSON, see store.orders
    Column("cursor", String(128)),  # runs up to this place have been looked at
    Column("total", Integer),  # runs that it was about when it was given; NULL: nobody counted
    Column("failed", Integer, nullable=False, server_default="0"),  # runs to which it could not be done
    Column("rate", Integer),  # so many runs a second at most
    Column("actor", String(255)),
    Column("stopped_at", Moment),
)
