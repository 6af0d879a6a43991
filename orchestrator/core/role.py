"""What a person may do on the dashboard: each role may do what the one before it may."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """A person's role."""

    #: Sees everything, payloads too, and changes nothing.
    VIEWER = "viewer"
    #: Acts on runs, events, functions, apps and jobs.
    OPERATOR = "operator"
    #: Decides about people, too.
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether whoever has this role may do what `other` may."""
        return _ORDER.index(self) >= _ORDER.index(other)


_ORDER = tuple(Role)
