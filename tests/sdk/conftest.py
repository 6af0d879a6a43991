"""The databases of the store's tests, for use cases that must hold on each of them."""

from tests.store.conftest import database, kind, migrated, shared

__all__ = ["database", "kind", "migrated", "shared"]
