"""Limits on starts that an operator sets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from orchestrator.store.types import LongText

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; code of before knows nothing of it, and goes by what apps declare."""
    op.add_column("functions", sa.Column("overrides", LongText, nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("functions", "overrides")
