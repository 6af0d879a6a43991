"""Reading for many at once: what lies below a list is read for all of its items when the first of them is asked.

A resolver that gives a list tells the loaders which keys its items may ask for (`expect`); whoever then asks for one
(`get`) has all of them read, a page at a time.  Within one operation nothing is read twice, so that two mentions of a
run are of the same run at the same moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from orchestrator.store.database import Connection, Database

T = TypeVar("T")

#: Keys read by one statement.
PAGE = 200


class Loader(Generic[T]):
    """Things of one kind by their key, for one operation."""

    def __init__(
        self,
        database: Database,
        read: Callable[[Connection, Sequence[str]], Mapping[str, T]],
        told: Callable[[Mapping[str, T]], None] | None = None,
    ) -> None:
        self._database = database
        self._read = read
        #: Called with what was read, so that what lies below it can be expected.
        self._told = told
        self._found = dict[str, T | None]()
        #: In the order of their announcement; the values mean nothing.
        self._expected = dict[str, None]()

    def expect(self, keys: Iterable[str]) -> None:
        """Know of keys that may be asked for."""
        self._expected.update((key, None) for key in keys if key not in self._found)

    def give(self, things: Mapping[str, T]) -> None:
        """Take what was read otherwise; what is known already stays as it is."""
        for key, thing in things.items():
            self._found.setdefault(key, thing)
            self._expected.pop(key, None)

    def get(self, key: str) -> T | None:
        """Return the thing of this key; None: there is none."""
        if key not in self._found:
            self._expected.pop(key, None)
            together = [key, *list(self._expected)[: PAGE - 1]]
            with self._database.read() as conn:
                found = self._read(conn, together)
            for it in together:
                self._found[it] = found.get(it)
                self._expected.pop(it, None)
            if self._told is not None:
                self._told(found)
        return self._found[key]
