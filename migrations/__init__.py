"""Alembic's migrations of the schema in `orchestrator.store.tables`."""
