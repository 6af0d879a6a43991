"""Runs that are run again; orders of more kinds than one; where a step stood when it was asked for.

Slow where there are many runs: the index that lets an event start a function once is built anew (some seconds for each
million on PostgreSQL, where new runs wait meanwhile; SQLite copies the table).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from orchestrator.store.types import LongText, Moment, Ulid

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ONCE = "uq_runs_function_id"


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("runs", sa.Column("original_run_id", Ulid(), nullable=True))
    op.add_column("runs", sa.Column("by_event", sa.Boolean(), server_default=sa.true(), nullable=True))
    _once(["function_id", "event_id", "by_event"])
    given = sa.text("original_run_id IS NOT NULL")
    op.create_index(
        "ix_runs_original_run_id",
        "runs",
        ["original_run_id"],
        unique=False,
        sqlite_where=given,
        postgresql_where=given,
    )
    op.create_table(
        "reruns",
        sa.Column("run_id", Ulid(), nullable=False),
        sa.Column("original_run_id", Ulid(), nullable=False),
        sa.Column("order_id", Ulid(), nullable=True),
        sa.Column("step_id", sa.String(length=64), nullable=True),
        sa.Column("input", LongText, nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_reruns")),
        sa.UniqueConstraint("order_id", "original_run_id", name=op.f("uq_reruns_order_id")),
    )
    op.add_column("steps", sa.Column("planned_after", sa.Integer(), nullable=True))
    op.add_column("cancellations", sa.Column("kind", sa.String(length=16), server_default="cancel", nullable=False))
    op.add_column("cancellations", sa.Column("filter", LongText, nullable=True))
    op.add_column("cancellations", sa.Column("cursor", sa.String(length=128), nullable=True))
    op.add_column("cancellations", sa.Column("total", sa.Integer(), nullable=True))
    op.add_column("cancellations", sa.Column("failed", sa.Integer(), server_default="0", nullable=False))
    op.add_column("cancellations", sa.Column("rate", sa.Integer(), nullable=True))
    op.add_column("cancellations", sa.Column("actor", sa.String(length=255), nullable=True))
    op.add_column("cancellations", sa.Column("stopped_at", Moment(), nullable=True))


def downgrade() -> None:
    """Drop them; runs that were run again go, as an event could not have started them."""
    for column in ("stopped_at", "actor", "rate", "failed", "total", "cursor", "filter", "kind"):
        op.drop_column("cancellations", column)
    op.drop_column("steps", "planned_after")
    op.drop_table("reruns")
    op.drop_index("ix_runs_original_run_id", table_name="runs")
    op.execute("DELETE FROM runs WHERE original_run_id IS NOT NULL")
    _once(["function_id", "event_id"])
    op.drop_column("runs", "by_event")
    op.drop_column("runs", "original_run_id")


def _once(columns: list[str]) -> None:
    """Let a function have one run of what is the same in these."""
    with op.batch_alter_table("runs") as runs:
        runs.drop_constraint(_ONCE, type_="unique")
        runs.create_unique_constraint(_ONCE, columns)
