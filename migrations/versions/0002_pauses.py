"""Pauses; invoking runs; looking back; orders to cancel many runs; what admission remembers; and the audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

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
    op.add_column("runs", sa.Column("correlation_id", sa.String(length=96), nullable=True))
    op.add_column("functions", sa.Column("wait_look_back", sa.Boolean(), server_default=sa.false(), nullable=False))
    _admission()
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


def downgrade() -> None:
    """Drop them."""
    op.drop_index(op.f("ix_audit_subject"), table_name="audit")
    op.drop_table("audit")
    op.drop_index("ix_batch_events_event_id", table_name="batch_events")
    op.drop_table("batch_events")
    op.drop_index("ix_throttled_gate", table_name="throttled")
    op.drop_table("throttled")
    op.drop_table("admissions")
    op.drop_index(op.f("ix_gates_function_id"), table_name="gates")
    op.drop_index(op.f("ix_gates_expires_at"), table_name="gates")
    op.drop_table("gates")
    op.drop_column("functions", "wait_look_back")
    op.drop_column("runs", "correlation_id")
    op.drop_table("cancellations")
    op.drop_index("ix_pauses_event", table_name="pauses")
    op.drop_index("ix_pauses_run_id", table_name="pauses")
    op.drop_table("pauses")
