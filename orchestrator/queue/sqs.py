"""Kombu's transport for SQS, with polls that survive what may come back instead of messages.

In Kombu 5.7 an answer other than messages ends the whole worker: nothing reached, an error of the server, a throttled
request, a queue that is gone.  And where nothing waits between two polls, as a poll that waits at the server wants it,
a service that is away is asked in a circle without a pause, as is one whose messages there is no room for.
"""

from __future__ import annotations

from typing import Any

from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection
from kombu.transport import SQS

from orchestrator import log

_log = log.get(__name__)

#: Seconds until a poll that failed is tried again, and until it is looked again whether there is room for messages.
_PAUSE, _BREATH = 1.0, 0.05
_EXISTS = ("QueueAlreadyExists", "QueueNameExists")
_GONE = ("NonExistentQueue", "QueueDoesNotExist")


class _Failed(dict[str, Any]):
    """Stands for the messages of a poll that failed."""

    def __init__(self, reason: str, refused: bool) -> None:
        super().__init__()
        self.reason = reason
        #: The service answered, but not with messages.
        self.refused = refused


class _Connection(AsyncSQSConnection):  # type: ignore[misc]
    """Never raises in the event loop, where nobody would catch it."""

    def _on_list_ready(self, parent: Any, markers: Any, operation: str, response: Any) -> Any:
        try:
            parsed = super()._on_list_ready(parent, markers, operation, response)
        except Exception as error:
            return _Failed(str(error), refused=True)
        return parsed or _Failed(f"HTTP {response.status} {response.reason}", refused=False)


class Channel(SQS.Channel):  # type: ignore[misc]
    """Polls again after a while what could not be polled."""

    def asynsqs(self, queue: str | None = None) -> Any:
        """The connection of a queue's polls: its own, as queues that others made may have keys of their own."""
        known = self._predefined_queue_async_clients
        if queue not in known:
            known[queue] = _Connection(sqs_connection=self.sqs(queue=queue), region=self.region)
        return known[queue]

    def _new_queue(self, queue: str, **kwargs: Any) -> str:
        try:
            return str(super()._new_queue(queue, **kwargs))
        except SQS.ClientError as error:
            if _code(error) not in _EXISTS:
                raise
            # Somebody was quicker, with other attributes: those of a queue that is there are not asked after.
            return str(self._resolve_queue_url(queue))

    def _size(self, queue: str) -> int:
        try:
            return int(super()._size(queue))
        except SQS.ClientError as error:
            if _code(error) not in _GONE or self.predefined_queues:
                raise
            # Deleted since its address was noted, and so not made by being declared.
            self._queue_cache.pop(self.canonical_queue_name(queue), None)
            self._new_queue(queue)
            return 0

    def _on_messages_ready(self, queue: str, qname: str, messages: Any) -> Any:
        if not isinstance(messages, _Failed):
            if self.connection.away.pop(qname, None) is not None:
                _log.info("queue is polled again", queue=qname)
            return super()._on_messages_ready(queue, qname, messages)
        if qname not in self.connection.away:
            _log.warning("queue cannot be polled", error=messages.reason, queue=qname)
        self.connection.away[qname] = messages.reason
        if messages.refused and not self.predefined_queues:
            # Perhaps it is gone: then it is made anew before the next poll.
            self._queue_cache.pop(self.canonical_queue_name(qname), None)
        return messages

    def _loop1(self, queue: str, messages_fetched: Any = None) -> None:
        if isinstance(messages_fetched, _Failed):
            self.hub.call_later(_PAUSE, self._schedule_queue, queue)
        elif messages_fetched is None:
            self.hub.call_later(_BREATH, self._schedule_queue, queue)
        else:
            super()._loop1(queue, messages_fetched)


def _code(error: Any) -> str:
    return str(error.response["Error"]["Code"].rpartition(".")[2])


class Transport(SQS.Transport):  # type: ignore[misc]
    """What `sqs://` is spoken by."""

    Channel = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Queues whose last poll failed.
        self.away = dict[str, str]()
