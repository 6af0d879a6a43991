"""The first tables: apps, functions, triggers, events, runs, steps, jobs, history, keys."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from orchestrator.store.mysql import NAMES as MYSQLS
from orchestrator.store.types import LongText, Moment, Ulid

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "apps",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column("method", sa.String(length=16), server_default="serve", nullable=False),
        sa.Column("sdk_language", sa.String(length=64), nullable=True),
        sa.Column("sdk_version", sa.String(length=64), nullable=True),
        sa.Column("framework", sa.String(length=64), nullable=True),
        sa.Column("version", sa.String(length=255), nullable=True),
        sa.Column("checksum", sa.String(length=64), nullable=True),
        sa.Column("error", LongText, nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("synced_at", Moment, nullable=True),
        sa.Column("archived_at", Moment, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_apps")),
        sa.UniqueConstraint("name", name=op.f("uq_apps_name")),
    )
    op.create_table(
        "events",
        sa.Column("id", Ulid, nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("external_id", sa.String(length=512), nullable=True),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("payload", LongText, nullable=False),
        sa.Column("warning", LongText, nullable=True),
        sa.Column("received_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_name_id", "events", ["name", "id"], unique=False)
    op.create_table(
        "history",
        sa.Column("id", _Serial, autoincrement=True, nullable=False),
        sa.Column("run_id", Ulid, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("step_id", sa.String(length=64), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("data", LongText, nullable=True),
        sa.Column("at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history")),
    )
    op.create_index("ix_history_run_id_id", "history", ["run_id", "id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", _Serial, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("run_id", Ulid, nullable=True),
        sa.Column("step_id", sa.String(length=64), nullable=True),
        sa.Column("run_at", Moment, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("generation", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashes", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("again", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("owner", sa.String(length=36), nullable=True),
        sa.Column("lease_until", Moment, nullable=True),
        sa.Column("announced_at", Moment, nullable=True),
        sa.Column("payload", LongText, nullable=True),
        sa.Column("error", LongText, nullable=True),
        sa.Column("admitted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("waits_at", sa.String(length=48), nullable=True),
        sa.Column("lane", sa.String(length=16), nullable=True),
        sa.Column("rank", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("key", name=op.f("uq_jobs_key")),
        sqlite_autoincrement=True,
    )
    _index_states()
    op.create_index(op.f("ix_jobs_run_id"), "jobs", ["run_id"], unique=False)
    op.create_table(
        "keys",
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("value", sa.String(length=64), nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_keys")),
    )
    op.create_index(op.f("ix_keys_expires_at"), "keys", ["expires_at"], unique=False)
    op.create_table(
        "runs",
        sa.Column("id", Ulid, nullable=False),
        sa.Column("function_id", sa.String(length=36), nullable=False),
        sa.Column("function_version", sa.Integer(), nullable=False),
        sa.Column("event_id", Ulid, nullable=False),
        sa.Column("event_name", sa.String(length=512), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("pending", sa.Integer(), server_default="0", nullable=False),
        sa.Column("open", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_seq", sa.Integer(), server_default="0", nullable=False),
        sa.Column("request_version", sa.SmallInteger(), server_default="-1", nullable=False),
        sa.Column("output", LongText, nullable=True),
        sa.Column("error", LongText, nullable=True),
        sa.Column("queued_at", Moment, nullable=False),
        sa.Column("started_at", Moment, nullable=True),
        sa.Column("ended_at", Moment, nullable=True),
        sa.Column("batch_id", Ulid, nullable=True),
        sa.Column("singleton", sa.String(length=64), nullable=True),
        sa.Column("limits", LongText, nullable=True),
        sa.Column("requeues", sa.SmallInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("function_id", "event_id", name=op.f("uq_runs_function_id")),
    )
    for column in ("singleton", "batch_id"):
        op.create_index(f"ix_runs_{column}", "runs", [column], unique=False, **_where(f"{column} IS NOT NULL"))
    op.create_index(op.f("ix_runs_event_id"), "runs", ["event_id"], unique=False)
    op.create_table(
        "steps",
        sa.Column("run_id", Ulid, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(length=1024), nullable=False),
        sa.Column("op", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("memo", LongText, nullable=True),
        sa.Column("input", LongText, nullable=True),
        sa.Column("error", LongText, nullable=True),
        sa.Column("started_at", Moment, nullable=True),
        sa.Column("wake_at", Moment, nullable=True),
        sa.Column("ended_at", Moment, nullable=True),
        sa.PrimaryKeyConstraint("run_id", "id", name=op.f("pk_steps")),
    )
    op.create_index("ix_steps_run_id_seq", "steps", ["run_id", "seq"], unique=False)
    op.create_table(
        "functions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("app_id", sa.String(length=36), nullable=False),
        sa.Column("slug", sa.String(length=512), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("config", LongText, nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.Column("archived_at", Moment, nullable=True),
        sa.Column("paused_at", Moment, nullable=True),
        sa.Column("imposed", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name=op.f("fk_functions_app_id_apps")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_functions")),
        sa.UniqueConstraint("slug", name=op.f("uq_functions_slug")),
    )
    op.create_index(op.f("ix_functions_app_id"), "functions", ["app_id"], unique=False)
    op.create_table(
        "triggers",
        sa.Column("function_id", sa.String(length=36), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("event", sa.String(length=255), nullable=True),
        sa.Column("expression", LongText, nullable=True),
        sa.Column("cron", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(["function_id"], ["functions.id"], name=op.f("fk_triggers_function_id_functions")),
        sa.PrimaryKeyConstraint("function_id", "position", name=op.f("pk_triggers")),
    )
    op.create_index(op.f("ix_triggers_event"), "triggers", ["event"], unique=False)
    # ### end Alembic commands ###


def _index_states() -> None:
    if op.get_bind().dialect.name in MYSQLS:  # it has no partial indexes
        op.create_index("ix_jobs_state", "jobs", ["state", "run_at"], unique=False)
    else:
        op.create_index("ix_jobs_held", "jobs", ["id"], unique=False, **_where("state = 0"))
        op.create_index("ix_jobs_dead", "jobs", ["id"], unique=False, **_where("state = 5"))
        op.create_index("ix_jobs_leased", "jobs", ["id"], unique=False, **_where("state = 3"))
        op.create_index("ix_jobs_ready", "jobs", ["run_at"], unique=False, **_where("state = 2"))
    op.create_index("ix_jobs_parked", "jobs", ["waits_at", "lane", "rank", "id"], unique=False, **_where("state = 1"))


def downgrade() -> None:
    """Drop the tables."""
    if op.get_bind().dialect.name in MYSQLS:  # an index that a foreign key needs goes with its table only
        for table in ("triggers", "functions", "steps", "runs", "keys", "jobs", "history", "events", "apps"):
            op.drop_table(table)
        return
    op.drop_index(op.f("ix_triggers_event"), table_name="triggers")
    op.drop_table("triggers")
    op.drop_index(op.f("ix_functions_app_id"), table_name="functions")
    op.drop_table("functions")
    op.drop_index("ix_steps_run_id_seq", table_name="steps")
    op.drop_table("steps")
    op.drop_index(op.f("ix_runs_event_id"), table_name="runs")
    for column in ("singleton", "batch_id"):
        op.drop_index(f"ix_runs_{column}", table_name="runs", **_where(f"{column} IS NOT NULL"))
    op.drop_table("runs")
    op.drop_index(op.f("ix_keys_expires_at"), table_name="keys")
    op.drop_table("keys")
    op.drop_index(op.f("ix_jobs_run_id"), table_name="jobs")
    op.drop_index(
        "ix_jobs_ready", table_name="jobs", sqlite_where=sa.text("state = 2"), postgresql_where=sa.text("state = 2")
    )
    op.drop_index(
        "ix_jobs_parked", table_name="jobs", sqlite_where=sa.text("state = 1"), postgresql_where=sa.text("state = 1")
    )
    op.drop_index(
        "ix_jobs_dead", table_name="jobs", sqlite_where=sa.text("state = 5"), postgresql_where=sa.text("state = 5")
    )
    op.drop_index(
        "ix_jobs_leased", table_name="jobs", sqlite_where=sa.text("state = 3"), postgresql_where=sa.text("state = 3")
    )
    op.drop_index("ix_jobs_held", table_name="jobs", **_where("state = 0"))
    op.drop_table("jobs")
    op.drop_index("ix_history_run_id_id", table_name="history")
    op.drop_table("history")
    op.drop_index("ix_events_name_id", table_name="events")
    op.drop_table("events")
    op.drop_table("apps")
    # ### end Alembic commands ###
