"""Accept events: a caller gets its ids only after the commit; callers that come together share one commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator import log
from orchestrator.core.event import Event
from orchestrator.engine.parts import Parts
from orchestrator.store import events
from orchestrator.store.database import IntegrityError, is_about_the_data
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.group import ClosedError, GroupCommitter
from orchestrator.store.postgresql import MATCH_BATCH

_log = log.get(__name__)

#: The ids to answer, and whether anybody may be listening to the events committed with them.
Accepted = tuple[list[str], bool]

#: Events committed together.
MOST_TOGETHER = 256


class Ingest:
    """The entrance of events."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._committer = GroupCommitter[Sequence[Event], Accepted](
            self._write, max_items=MOST_TOGETHER, weight=len, apart=is_about_the_data
        )

    def accept(self, received: Sequence[Event]) -> list[str]:
        """Commit the events and announce their matching; returns their ids in order (see `store.events.accept`)."""
        if not received:
            return []
        return _told(received, self._commit(received))

    def accept_soon(self, received: Sequence[Event], done: Callable[[list[str] | BaseException], None]) -> None:
        """The same without waiting: `done` gets the ids, or what went wrong, from another thread."""

        def again(outcome: Accepted | BaseException) -> None:
            done(outcome if isinstance(outcome, BaseException) else _told(received, outcome))

        def committed(outcome: Accepted | BaseException) -> None:
            if isinstance(outcome, IntegrityError):  # as in `_commit`
                self._hand_over(received, again)
            else:
                again(outcome)

        self._hand_over(received, committed)

    def _hand_over(self, received: Sequence[Event], done: Callable[[Accepted | BaseException], None]) -> None:
        try:
            self._committer.submit_soon(received, done)
        except ClosedError as closed:
            done(closed)

    def _commit(self, received: Sequence[Event]) -> Accepted:
        try:
            return self._committer.submit(received)
        except IntegrityError:  # the same events came in twice at once: now the first are there to be found
            return self._committer.submit(received)

    def close(self) -> None:
        """Commit what is under way and take no more."""
        self._committer.close()

    @undisturbed
    def _write(self, groups: list[Sequence[Event]]) -> list[Accepted]:
        now = self._parts.clock.now()
        received = [event for group in groups for event in group]
        hot = self._parts.database.hot
        if hot is not None and len(received) <= MATCH_BATCH and all(it.external_id is None for it in received):
            hint = hot.accept(received, now)
            ids, hints = [event.id for event in received], [hint] if hint is not None else []
        else:
            with self._parts.database.write() as conn:
                ids, hints = events.accept(conn, received, now)
        self._parts.announcer.announce(hints)
        answers, at = [], 0
        for group in groups:
            answers.append((ids[at : at + len(group)], bool(hints)))
            at += len(group)
        return answers


def _told(received: Sequence[Event], accepted: Accepted) -> list[str]:
    ids, heard = accepted
    for event in received:
        _log.info("event received", event=event.name, event_id=event.id, heard=heard)
    return ids
