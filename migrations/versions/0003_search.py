"""When a step came to be and what answered it; indexes to search runs and events by.

Slow where there are many runs: an index takes some seconds for each million.  On PostgreSQL they are made while
everybody goes on writing, one after the other, and one that was left half made by an interruption is made anew.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from orchestrator.store.types import Moment, Ulid

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_runs_search": ("runs", ["function_id", "status", "queued_at", "id"]),
    "ix_runs_queued_at": ("runs", ["queued_at", "id"]),
    "ix_runs_started_at": ("runs", ["started_at", "id"]),
    "ix_runs_ended_at": ("runs", ["ended_at", "id"]),
    "ix_events_received_at": ("events", ["received_at", "id"]),
}


def upgrade() -> None:
    """Add the columns, of which none of the rows there are is written, and make the indexes."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    for name, type_ in (("queued_at", Moment()), ("position", sa.SmallInteger()), ("event_id", Ulid())):
        # They are committed before the indexes are made.
        op.add_column("steps", sa.Column(name, type_, nullable=True), if_not_exists=on_postgresql)
    if not on_postgresql or _is_new():
        for name, (table, columns) in _INDEXES.items():
            op.create_index(name, table, columns)
        return
    with op.get_context().autocommit_block():
        for name, (table, columns) in _INDEXES.items():
            op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
            op.create_index(name, table, columns, postgresql_concurrently=True)


def downgrade() -> None:
    """Drop them."""
    for name, (table, _) in _INDEXES.items():
        op.drop_index(name, table)
    for column in ("event_id", "position", "queued_at"):
        op.drop_column("steps", column)


def _is_new() -> bool:
    """Whether nobody can be writing: there is nothing yet."""
    return op.get_bind().execute(sa.text("SELECT 1 FROM events LIMIT 1")).first() is None
