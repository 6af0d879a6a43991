"""What every driver gets and gives: a `Call` in, a `Reply` of `core.message` out.

A driver never raises for what an app does or fails to do: an unreachable app, a wrong answer or a time-out is a
`Threw` like any other, so that it counts as an attempt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from orchestrator.core.message import Asked, Returned, Threw


class Shared:
    """What a driver made of the events and the memo of a call, for later calls that have the same ones."""

    __slots__ = ("made",)

    def __init__(self) -> None:
        self.made: object = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a function.

    `events` are wire texts, `memo` maps step ids to memo texts in the order of their storing, `current` is 1 + the
    index of the step whose outcome led to this call (0: none).
    """

    url: str
    function_slug: str
    run_id: str
    target: str | None
    attempt: int
    max_attempts: int
    events: Sequence[str]
    memo: Mapping[str, str]
    current: int
    plan_only: bool
    request_version: int
    job_id: str
    generation: int
    timeout: timedelta = timedelta(hours=2)
    #: With this the SDK may send checkpoints of the call (see `protocol.checkpoint`): the function's id, not its slug.
    checkpoints_of: str | None = None
    #: The same for all calls of planned steps that get the same memo.
    shared: Shared | None = None
    #: What the run has deferred, and whether that can still be dropped.
    defers: Mapping[str, bool] = field(default_factory=dict)
    #: What steps without an outcome get in place of their own input: JSON arrays.
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, with what is worth keeping of the way."""

    reply: Returned | Threw | Asked
    request_version: int | None = None
    sdk: str | None = None


class Driver(Protocol):
    """A way to reach functions."""

    def call(self, call: Call) -> Answer:
        """Make one call and wait for its answer."""
        ...


@dataclass(frozen=True, slots=True)
class Response:
    """A bounded HTTP answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient(Protocol):
    """Bounded HTTP requests."""

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        timeout: timedelta,
    ) -> Response:
        """Send one request; raises `TransportError` with a `code` when no whole answer came in time and size."""
        ...
