"""Which failures are alike, and how many runs there were when: what the overview shows.

Slow where there are many runs: an index takes some seconds for each million.  On PostgreSQL they are made while
everybody goes on writing, one after the other, and one that was left half made by an interruption is made anew.  Runs
that failed before are given their fingerprints by the workers, with the counting of runs that there were (see
`engine.tally`).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from orchestrator.store.types import Moment

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_FAILED = "failure IS NOT NULL"
_ABLE = ("sqlite", "postgresql")
_INDEXES = {
    "ix_runs_failure": ["failure", "queued_at", "id"],
    "ix_runs_failed_at": ["ended_at", "failure", "function_id", "id"],
}


def upgrade() -> None:
    """Add the column, of which none of the rows there are is written, the table and the indexes."""
    # It is committed before the indexes are made; what comes after them is committed with the revision.
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    op.add_column("runs", sa.Column("failure", sa.String(length=16), nullable=True), if_not_exists=on_postgresql)
    _make_indexes()
    op.create_table(
        "tallies",
        sa.Column("span", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("function_id", sa.String(length=36), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("bin", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("span", "at", "function_id", "what", "bin", name=op.f("pk_tallies")),
    )


def _make_indexes() -> None:
    database = op.get_bind().dialect.name
    if database not in _ABLE:
        op.create_index("ix_runs_failure", "runs", _INDEXES["ix_runs_failure"])
        return
    where: dict[str, Any] = {f"{it}_where": sa.text(_FAILED) for it in _ABLE}
    if database != "postgresql" or _is_new():
        for name, columns in _INDEXES.items():
            op.create_index(name, "runs", columns, **where)
        return
    with op.get_context().autocommit_block():
        for name, columns in _INDEXES.items():
            op.drop_index(name, "runs", postgresql_concurrently=True, if_exists=True)
            op.create_index(name, "runs", columns, postgresql_concurrently=True, **where)


def downgrade() -> None:
    """Drop them; what was counted of runs that are gone is lost."""
    if op.get_bind().dialect.name in _ABLE:
        op.drop_index("ix_runs_failed_at", table_name="runs")
    op.drop_index("ix_runs_failure", table_name="runs")
    op.drop_table("tallies")
    op.drop_column("runs", "failure")
    op.execute("DELETE FROM chores WHERE name = 'tally'")


def _is_new() -> bool:
    """Whether nobody can be writing: there is nothing yet."""
    return op.get_bind().execute(sa.text("SELECT 1 FROM events LIMIT 1")).first() is None
