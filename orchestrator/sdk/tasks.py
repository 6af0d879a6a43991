"""Celery tasks as steps: what a function asks for, as it is kept with the step, and what goes with the message.

Celery is not imported here: a signature is a mapping, and says by itself what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from orchestrator.sdk.errors import NonRetriable, StepError
from orchestrator.sdk.options import Retry
from orchestrator.sdk.values import decode, encode

#: The header of the messages that we send.
HEADER = "orchestrator"


@dataclass(frozen=True, slots=True)
class Ticket:
    """Says in a message which attempt of which task job it is for."""

    key: str
    attempt: int

    def header(self) -> dict[str, Any]:
        """The ticket as a message carries it."""
        return {"key": self.key, "attempt": self.attempt}

    @classmethod
    def read(cls, headers: Any) -> Ticket | None:
        """The ticket among a message's headers, if there is one."""
        value = headers.get(HEADER) if isinstance(headers, Mapping) else None
        if not isinstance(value, Mapping) or not isinstance(value.get("key"), str):
            return None
        return cls(value["key"], int(value.get("attempt") or 0))


@dataclass(frozen=True, slots=True)
class TaskCall:
    """One task to be sent.  `retry` is the step's own policy, `on` the names of the errors that it is for."""

    task: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]
    retry: Retry | None = None
    on: Sequence[str] = ()

    def is_final(self, error: BaseException) -> bool:
        """Whether sending the task anew after this error is of no use."""
        if self.retry is None or isinstance(error, NonRetriable | StepError):
            return True
        return not any(_name(one) in self.on for one in type(error).__mro__)


class TaskSender(Protocol):
    """Sends tasks by the Celery application that an app is attached to."""

    def send(self, call: TaskCall, ticket: Ticket) -> None:
        """Send one.  Raises `NonRetriable` for one that cannot be; whatever else it raises is the broker's."""
        ...


def describe(signature: Any, retry: Retry | None, what: str) -> str:
    """A signature as it is kept (JSON text).  Raises `NonRetriable` for what cannot be a step."""
    if not isinstance(signature, Mapping) or not isinstance(signature.get("task"), str):
        way_out = ": give it with its arguments, as name.s(...)" if hasattr(signature, "s") else ""
        raise NonRetriable(f"{what}: {signature!r} is no signature of a Celery task{way_out}")
    kind = signature.get("subtask_type")
    if kind is not None:
        raise NonRetriable(f"{what}: a {kind} cannot be one step; make each of its tasks a step of its own")
    kept: dict[str, Any] = {"task": signature["task"]}
    kept |= {name: signature.get(name) for name in ("args", "kwargs", "options") if signature.get(name)}
    if retry is not None:
        kept["retry"] = {
            "times": retry.times,
            "backoff": retry.backoff,
            "first": retry.first.total_seconds(),
            "cap": retry.cap.total_seconds(),
            "on": [_name(error) for error in retry.on],
        }
    return encode(kept, what)


def read(text: str) -> TaskCall:
    """The task that `describe` described."""
    kept = decode(text)
    policy = kept.get("retry")
    retry = None
    if policy is not None:
        first, cap = timedelta(seconds=policy["first"]), timedelta(seconds=policy["cap"])
        retry = Retry(policy["times"], policy["backoff"], first, cap)
    return TaskCall(
        kept["task"],
        kept.get("args") or [],
        kept.get("kwargs") or {},
        kept.get("options") or {},
        retry,
        policy["on"] if policy is not None else (),
    )


def _name(error: type[BaseException]) -> str:
    return f"{error.__module__}.{error.__qualname__}"
