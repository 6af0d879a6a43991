"""Pauses; invokers; looking back; cancelling many; what admission remembers; pools; the audit; signs of workers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from orchestrator.store.mysql import NAMES as MYSQLS
from orchestrator.store.types import LongText, Moment, Ulid

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables, and add the columns."""
    op.create_table(
        "pauses",
        sa.Column("id", Ulid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("run_id", Ulid(), nullable=False),
        sa.Column("step_id", sa.String(length=64), nullable=True),
        sa.Column("event_name", sa.String(length=255), nullable=True),
        sa.Column("expression", LongText, nullable=True),
        sa.Column("term_path", sa.String(length=255), nullable=False),
        sa.Column("term_key", sa.String(length=160), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=True),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pauses")),
        sa.UniqueConstraint("key", name=op.f("uq_pauses_key")),
    )
    op.create_index("ix_pauses_run_id", "pauses", ["run_id"], unique=False)
    op.create_index("ix_pauses_event", "pauses", ["event_name", "term_path", "term_key", "id"], unique=False)
    op.create_table(
        "cancellations",
        sa.Column("id", Ulid(), nullable=False),
        sa.Column("app_id", sa.String(length=36), nullable=False),
        sa.Column("function_id", sa.String(length=36), nullable=True),
        sa.Column("started_after", Moment(), nullable=True),
        sa.Column("started_before", Moment(), nullable=False),
        sa.Column("expression", LongText, nullable=True),
        sa.Column("reached", Ulid(), nullable=True),
        sa.Column("cancelled", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", LongText, nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("ended_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cancellations")),
    )
    op.create_table(
        "workers",
        sa.Column("owner", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("executors", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("started_at", Moment(), nullable=False),
        sa.Column("seen_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_workers")),
    )
    op.add_column("runs", sa.Column("correlation_id", sa.String(length=96), nullable=True))
    op.add_column("functions", sa.Column("wait_look_back", sa.Boolean(), server_default=sa.false(), nullable=False))
    _admission()
    _make_pools()
    op.create_table(
        "audit",
        sa.Column("id", _Serial, autoincrement=True, nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=512), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=True),
        sa.Column("data", LongText, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_subject"), "audit", ["subject"], unique=False)
    _make_chores()


def _make_chores() -> None:
    op.create_table(
        "chores",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("next_at", Moment(), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=True),
        sa.Column("reached", sa.String(length=32), nullable=True),
        sa.Column("freed", LongText, nullable=True),
        sa.Column("last_freed", LongText, nullable=True),
        sa.Column("ended_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_chores")),
    )


def _admission() -> None:
    op.create_table(
        "gates",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("function_id", sa.String(length=36), nullable=False),
        sa.Column("state", LongText, nullable=True),
        sa.Column("expires_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_gates")),
    )
    op.create_index(op.f("ix_gates_expires_at"), "gates", ["expires_at"], unique=False)
    op.create_index(op.f("ix_gates_function_id"), "gates", ["function_id"], unique=False)
    op.create_table(
        "admissions",
        sa.Column("gate", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("gate", "number", name=op.f("pk_admissions")),
    )
    op.create_table(
        "throttled",
        sa.Column("run_id", Ulid(), nullable=False),
        sa.Column("gate", sa.String(length=64), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("position", Moment(), nullable=False),
        sa.Column("let_go", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_throttled")),
    )
    op.create_index("ix_throttled_gate", "throttled", ["gate", "let_go", "position", "run_id"], unique=False)
    op.create_table(
        "batch_events",
        sa.Column("batch_id", Ulid(), nullable=False),
        sa.Column("event_id", Ulid(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "event_id", name=op.f("pk_batch_events")),
    )
    op.create_index("ix_batch_events_event_id", "batch_events", ["event_id"], unique=False)


def _make_pools() -> None:
    op.create_table(
        "concurrency_limits",
        sa.Column("function_id", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("key", LongText, nullable=True),
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("whole_run", sa.Boolean(), nullable=False),
        sa.Column("declared", sa.Integer(), nullable=False),
        sa.Column("override", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("function_id", "id", name=op.f("pk_concurrency_limits")),
    )
    op.create_index("ix_concurrency_limits_id", "concurrency_limits", ["id"], unique=False)
    op.create_table(
        "pools",
        sa.Column("key", sa.String(length=48), nullable=False),
        sa.Column("used", sa.Integer(), server_default="0", nullable=False),
        sa.Column("waiting", sa.Integer(), server_default="0", nullable=False),
        sa.Column("turn", sa.String(length=16), nullable=False),
        sa.Column("limit_id", sa.String(length=16), nullable=False),
        sa.Column("function_id", sa.String(length=36), nullable=True),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_pools")),
    )
    waiting = sa.text("waiting > 0")
    # MySQL has no partial indexes.
    first = ["waiting"] if op.get_bind().dialect.name in MYSQLS else []
    op.create_index(
        "ix_pools_waiting", "pools", [*first, "key"], unique=False, sqlite_where=waiting, postgresql_where=waiting
    )
    op.create_table(
        "slots",
        sa.Column("id", _Serial, autoincrement=True, nullable=False),
        sa.Column("pool", sa.String(length=48), nullable=False),
        sa.Column("run_id", Ulid(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("since", Moment(), nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=True),
        sa.Column("until", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slots")),
    )
    op.create_index(op.f("ix_slots_pool"), "slots", ["pool"], unique=False)
    op.create_index(op.f("ix_slots_run_id"), "slots", ["run_id"], unique=False)
    leased = sa.text("until IS NOT NULL")
    op.create_index("ix_slots_until", "slots", ["until"], unique=False, sqlite_where=leased, postgresql_where=leased)


def downgrade() -> None:
    """Drop them."""
    for table in (
        "chores",
        "audit",
        "slots",
        "pools",
        "concurrency_limits",
        "batch_events",
        "throttled",
        "admissions",
        "gates",
    ):
        op.drop_table(table)
    op.drop_column("functions", "wait_look_back")
    op.drop_column("runs", "correlation_id")
    op.drop_table("workers")
    op.drop_table("cancellations")
    op.drop_index("ix_pauses_event", table_name="pauses")
    op.drop_index("ix_pauses_run_id", table_name="pauses")
    op.drop_table("pauses")
