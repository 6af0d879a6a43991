"""The databases of the store's tests, for use cases that must hold on each of them."""

from tests.store.conftest import concurrent, database, kind, migrated, shared

__all__ = ["concurrent", "database", "kind", "migrated", "shared"]
