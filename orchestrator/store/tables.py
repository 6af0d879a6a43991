"""The tables.  Alembic's migrations make the same ones; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    false,
    true,
)

from orchestrator.store.indexes import instead, partial, partial_only
from orchestrator.store.metadata import Serial
from orchestrator.store.metadata import metadata as metadata  # the rooms' tables are known by way of here
from orchestrator.store.order_tables import orders as orders
from orchestrator.store.order_tables import reruns as reruns
from orchestrator.store.tally_tables import tallies as tallies
from orchestrator.store.token_tables import api_tokens as api_tokens
from orchestrator.store.types import LongText, Moment, Ulid
from orchestrator.store.user_tables import sessions as sessions
from orchestrator.store.user_tables import users as users

apps = Table(
    "apps",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255), nullable=True, unique=True),  # NULL: added by URL, not synced yet
    Column("url", String(2048), nullable=False),
    Column("method", String(16), nullable=False, server_default="serve"),
    Column("sdk_language", String(64)),
    Column("sdk_version", String(64)),
    Column("framework", String(64)),
    Column("version", String(255)),
    Column("checksum", String(64)),
    Column("error", LongText),  # why the last sync failed; NULL: it did not
    Column("error_code", String(64)),
    Column("created_at", Moment, nullable=False),
    Column("synced_at", Moment),
    Column("archived_at", Moment),
)

functions = Table(
    "functions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("app_id", String(36), ForeignKey("apps.id"), nullable=False, index=True),
    Column("slug", String(512), nullable=False, unique=True),
    Column("name", String(512), nullable=False),
    Column("version", Integer, nullable=False),
    Column("config", LongText, nullable=False),  # as the app sent it
    Column("checksum", String(64), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("archived_at", Moment),
    Column("paused_at", Moment),
    Column("wait_look_back", Boolean, nullable=False, server_default=false()),  # see engine.look_back
    Column("imposed", Integer),  # calls at once, by an operator, where the app asks for no limit
    Column("overrides", LongText),  # limits on starts by an operator, see store.overrides
)

triggers = Table(
    "triggers",
    metadata,
    Column("function_id", String(36), ForeignKey("functions.id"), primary_key=True),
    Column("position", SmallInteger, primary_key=True),
    Column("event", String(255), index=True),
    Column("expression", LongText),
    Column("cron", String(255)),
)

events = Table(
    "events",
    metadata,
    Column("id", Ulid, primary_key=True),
    Column("name", String(512), nullable=False),
    Column("external_id", String(512)),
    Column("ts", BigInteger, nullable=False),  # Unix milliseconds, as the sender says
    Column("payload", LongText, nullable=False),  # the JSON text the functions receive
    Column("warning", LongText),  # what went wrong while matching it
    Column("received_at", Moment, nullable=False),
    Index("ix_events_name_id", "name", "id"),
    Index("ix_events_received_at", "received_at", "id"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Ulid, primary_key=True),
    Column("function_id", String(36), nullable=False),
    Column("function_version", Integer, nullable=False),
    Column("event_id", Ulid, nullable=False, index=True),
    Column("event_name", String(512), nullable=False),
    Column("status", String(16), nullable=False),
    Column("pending", Integer, nullable=False, server_default="0"),  # see core.run
    Column("open", Integer, nullable=False, server_default="0"),
    Column("last_seq", Integer, nullable=False, server_default="0"),  # of its steps; kept while something is open
    Column("request_version", SmallInteger, nullable=False, server_default="-1"),
    Column("output", LongText),
    Column("error", LongText),
    Column("queued_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("batch_id", Ulid),  # its events, where there is more than the one
    Column("singleton", String(64)),  # the gate it went through; of the live ones there is one
    Column("correlation_id", String(96)),  # the run and step that invoked it, with a dot between
    Column("requeues", SmallInteger, nullable=False, server_default="0"),
    Column("limits", LongText),  # the pools its calls need slots of, see core.concurrency; NULL: none
    Column("original_run_id", Ulid),  # the run that it runs again
    Column("by_event", Boolean, server_default=true()),  # NULL, which is like no other: somebody ran it again
    Column("failure", String(16)),  # what failures have in common that are alike, see core.failure
    UniqueConstraint("function_id", "event_id", "by_event"),
    # Searching, see store.run_places.
    Index("ix_runs_search", "function_id", "status", "queued_at", "id"),
    Index("ix_runs_queued_at", "queued_at", "id"),
    Index("ix_runs_started_at", "started_at", "id"),
    Index("ix_runs_ended_at", "ended_at", "id"),
    partial("ix_runs_failure", "failure", "queued_at", "id", where="failure IS NOT NULL"),
    partial_only("ix_runs_failed_at", "ended_at", "failure", "function_id", "id", where="failure IS NOT NULL"),
    partial("ix_runs_singleton", "singleton", where="singleton IS NOT NULL"),
    partial("ix_runs_batch_id", "batch_id", where="batch_id IS NOT NULL"),
    partial("ix_runs_original_run_id", "original_run_id", where="original_run_id IS NOT NULL"),
)

steps = Table(
    "steps",
    metadata,
    Column("run_id", Ulid, primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("seq", Integer),  # the order in which outcomes were memoised
    Column("name", String(1024), nullable=False),
    Column("op", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("counted", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("memo", LongText),  # what later calls get; NULL: no outcome yet
    Column("input", LongText),
    Column("error", LongText),  # of the last attempt
    Column("started_at", Moment),
    Column("wake_at", Moment),
    Column("ended_at", Moment),
    # Of a step that did not run on the spot: since when it stands open, and its place among those asked for with it.
    Column("queued_at", Moment),
    Column("position", SmallInteger),
    Column("event_id", Ulid),  # what an invoke sent, or what a wait was answered by
    Column("planned_after", Integer),  # the outcome memoised last when it was asked for; NULL: the one before its own
    Index("ix_steps_run_id_seq", "run_id", "seq"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("key", String(255), nullable=False, unique=True),
    Column("run_id", Ulid, index=True),
    Column("step_id", String(64)),
    Column("run_at", Moment, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False, server_default="0"),  # seconds by which it is ahead of its time
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("crashes", SmallInteger, nullable=False, server_default="0"),
    Column("again", Boolean, nullable=False, server_default=false()),  # once more when the present call is through
    Column("owner", String(36)),
    Column("lease_until", Moment),
    Column("announced_at", Moment),
    Column("payload", LongText),
    Column("error", LongText),  # why it is tried again, or dead
    Column("admitted", Boolean, nullable=False, server_default=false()),  # it has all the slots it needs
    # Of a parked job: the pool that has no slot for it, who it takes turns with, and its place among its like.
    Column("waits_at", String(48)),
    Column("lane", String(16)),
    Column("rank", BigInteger),
    # States as literals, here and in every statement, so that these small indexes are used.
    instead("ix_jobs_state", "state", "run_at"),
    partial_only("ix_jobs_ready", "run_at", where="state = 2"),
    partial_only("ix_jobs_held", "id", where="state = 0"),
    partial_only("ix_jobs_leased", "id", where="state = 3"),
    partial_only("ix_jobs_dead", "id", where="state = 5"),
    partial("ix_jobs_parked", "waits_at", "lane", "rank", "id", where="state = 1"),
    # SQLite would give the id of a job that is gone to the next one, and hints and leases of the one would be good for
    # the other.
    sqlite_autoincrement=True,
)

history = Table(
    "history",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("run_id", Ulid, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("step_id", String(64)),
    Column("attempt", Integer),
    Column("data", LongText),
    Column("at", Moment, nullable=False),
    Index("ix_history_run_id_id", "run_id", "id"),
)

pauses = Table(
    "pauses",
    metadata,
    Column("id", Ulid, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("run_id", Ulid, nullable=False, index=True),
    Column("step_id", String(64)),  # NULL: it cancels the run
    Column("event_name", String(255)),
    Column("expression", LongText),
    # What the event must have where, so that few expressions have to be tried; empty: try it for every event.
    Column("term_path", String(255), nullable=False),
    Column("term_key", String(160), nullable=False),
    Column("key", String(128), unique=True),  # of whatever only one may wait for
    Column("expires_at", Moment, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index("ix_pauses_event", "event_name", "term_path", "term_key", "id"),
)

#: The signs that processes which work give of themselves, for people to look at: nothing is decided by them.
workers = Table(
    "workers",
    metadata,
    Column("owner", String(36), primary_key=True),  # as in the leases it holds
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("executors", Integer, nullable=False),
    Column("version", String(32), nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
)

#: Things that may happen once within a time: a sender's event id, a function's start by it.
keys = Table(
    "keys",
    metadata,
    Column("key", String(128), primary_key=True),
    Column("value", String(64), nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
)

#: What a promise of a function has come to for one key; see decision 0020.
gates = Table(
    "gates",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("function_id", String(36), nullable=False, index=True),
    Column("state", LongText),  # JSON, by kind
    Column("expires_at", Moment, index=True),  # NULL: not while something waits behind it
)

#: The admissions of a rate limit's gate, numbered.
admissions = Table(
    "admissions",
    metadata,
    Column("gate", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
)

#: Runs that a throttle has not let begin.
throttled = Table(
    "throttled",
    metadata,
    Column("run_id", Ulid, primary_key=True),
    Column("gate", String(64), nullable=False),
    Column("at", Moment, nullable=False),  # not before this
    Column("position", Moment, nullable=False),
    Column("let_go", Boolean, nullable=False),  # it may begin, and has not
    Index("ix_throttled_gate", "gate", "let_go", "position", "run_id"),
)

#: The events of batches, of those that still fill, too.
batch_events = Table(
    "batch_events",
    metadata,
    Column("batch_id", Ulid, primary_key=True),
    Column("event_id", Ulid, primary_key=True),
    Index("ix_batch_events_event_id", "event_id"),
)

#: What a function's limits on concurrency allow, as its app says or as an operator wants.
concurrency_limits = Table(
    "concurrency_limits",
    metadata,
    Column("function_id", String(36), primary_key=True),
    Column("id", String(16), primary_key=True),
    Column("position", SmallInteger, nullable=False),
    Column("key", LongText),
    Column("scope", String(8), nullable=False),
    Column("whole_run", Boolean, nullable=False),
    Column("declared", Integer, nullable=False),
    Column("override", Integer),
    Index("ix_concurrency_limits_id", "id"),
)

#: One value of a limit's key: what is taken, and who waits.
pools = Table(
    "pools",
    metadata,
    Column("key", String(48), primary_key=True),
    Column("used", Integer, nullable=False, server_default="0"),
    Column("waiting", Integer, nullable=False, server_default="0"),
    Column("turn", String(16), nullable=False),  # the lane served last
    Column("limit_id", String(16), nullable=False),
    Column("function_id", String(36)),  # NULL: shared by functions
    Column("value", String(255), nullable=False),  # of the key, for people
    partial_only("ix_pools_waiting", "key", where="waiting > 0"),
    instead("ix_pools_waiting", "waiting", "key"),
)

slots = Table(
    "slots",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("pool", String(48), nullable=False, index=True),
    Column("run_id", Ulid, nullable=False, index=True),
    Column("job_id", BigInteger),  # NULL: held by the run until its end
    Column("since", Moment, nullable=False),
    # Of a call that still runs though its run is over: who makes it, and until when that counts.
    Column("owner", String(36)),
    Column("until", Moment),
    partial("ix_slots_until", "until", where="until IS NOT NULL"),
)

#: What operators changed.
audit = Table(
    "audit",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(512), nullable=False, index=True),
    Column("actor", String(255)),
    Column("data", LongText),
)

#: Work that comes again and again and is done by one process at a time; see `store.chores`.
chores = Table(
    "chores",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("next_at", Moment, nullable=False),
    Column("stage", String(16)),  # of the pass under way; NULL: none is
    Column("reached", String(32)),  # within the stage
    Column("freed", LongText),  # by the pass under way: counts by table, JSON
    Column("last_freed", LongText),  # by the pass before it
    Column("ended_at", Moment),  # of the pass before it
)
