"""Scopes: what a token lets its bearer do.  None includes another: a token may do what it lists and nothing else."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """One kind of things to do."""

    #: Look at events, runs, functions, apps and jobs, with their payloads.
    READ = "read"
    #: Steer runs and functions: cancel, rerun, requeue, invoke, signal, pause, limit.
    WRITE = "write"
    #: Send events.
    EVENTS = "events"
    #: Register, sync and remove apps.
    APPS = "apps"
    #: Make and revoke tokens, of every scope.
    ADMIN = "admin"
