"""Events: accepted once, answered in order, and stored to the byte."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from orchestrator.ids import new_ulid
from orchestrator.store import events, jobs, keys
from orchestrator.store.database import Connection, Database
from orchestrator.store.tables import jobs as all_jobs
from tests.store.factories import NOW, a_function, add_app, after, an_event, at_once, counts, job


@pytest.fixture(autouse=True)
def _listener(database: Database) -> None:
    """Somebody listens to every event of these tests; to others nobody does, and they make no job."""
    with database.write() as conn:
        add_app(conn, "shop", a_function("shop-pay", "shop/order.paid", "a", "b", "c"))


def written(conn: Connection) -> dict[str, int]:
    """How many rows there are, the listener's apart."""
    return {table: count for table, count in counts(conn).items() if table not in ("apps", "functions", "triggers")}


ODD_DATA = '{"big":9007199254740993,"e":1.0e+2,"nul":"\\u0000","half":"\\ud800","esc":"\\/","ü":"😀", "sp" : [ ] }'


def test_an_event_is_stored_to_the_byte_with_all_it_says(database: Database) -> None:
    event = an_event(data=ODD_DATA, external_id="id-1", user='{"id":1e3}', v="2", meta='{"a":"\\u0000"}', ts=-1)

    with database.write() as conn:
        events.accept(conn, [event], NOW)

        [stored] = events.load(conn, [event.id])
        assert events.StoredEvent(event.id, event.name, "id-1", -1, event.wire(), NOW) == stored
        assert ODD_DATA in stored.payload


def test_accepted_events_are_answered_in_order_and_matched_by_one_job(database: Database) -> None:
    received = [an_event(name) for name in ("c", "a", "b")]

    with database.write() as conn:
        ids, [hint] = events.accept(conn, received, NOW)
        row = jobs.ready_for_matching(conn, hint.job_id)

    assert [event.id for event in received] == ids
    assert (jobs.MATCH, NOW) == (hint.kind, hint.run_at)
    assert row is not None
    assert ids == events.ids_in(row.payload)


def test_many_events_are_matched_by_a_job_for_each_batch(database: Database) -> None:
    received = [an_event() for _ in range(2 * events.MATCH_BATCH + 1)]

    with database.write() as conn:
        ids, hints = events.accept(conn, received, NOW)
        batches = [events.ids_in(job(conn, hint.job_id).payload) for hint in hints]

    assert [events.MATCH_BATCH, events.MATCH_BATCH, 1] == [len(batch) for batch in batches]
    assert ids == [event_id for batch in batches for event_id in batch]


def test_a_senders_id_stands_for_the_first_event_for_a_day(database: Database) -> None:
    first, second, third = (an_event(external_id="id-1") for _ in range(3))
    soon, late = NOW + keys.WINDOW - timedelta(seconds=1), NOW + keys.WINDOW

    with database.write() as conn:
        answers = [events.accept(conn, [event], at)[0] for event, at in ((first, NOW), (second, soon), (third, late))]

        assert [[first.id], [first.id], [third.id]] == answers
        assert {"events": 2, "jobs": 2, "keys": 1} == written(conn)


def test_a_senders_id_counts_for_each_event_name_apart(database: Database) -> None:
    received = [an_event("a", external_id="id-1"), an_event("b", external_id="id-1")]

    with database.write() as conn:
        ids, _ = events.accept(conn, received, NOW)

        assert [event.id for event in received] == ids
        assert {"events": 2, "jobs": 1, "keys": 2} == written(conn)


def test_an_empty_senders_id_and_none_are_not_the_same(database: Database) -> None:
    received = [an_event(external_id=external_id) for external_id in ("", None, "", None)]

    with database.write() as conn:
        ids, _ = events.accept(conn, received, NOW)

    assert [received[at].id for at in (0, 1, 0, 3)] == ids


def test_a_doubled_event_within_one_request_is_written_once(database: Database) -> None:
    first, second, other = an_event(external_id="id-1"), an_event(external_id="id-1"), an_event()

    with database.write() as conn:
        ids, [hint] = events.accept(conn, [first, second, other, other], NOW)

        assert [first.id, first.id, other.id, other.id] == ids
        assert [first.id, other.id] == events.ids_in(job(conn, hint.job_id).payload)


@pytest.mark.parametrize("external_id", [None, "id-1"])
def test_the_same_event_sent_again_is_answered_and_not_written(database: Database, external_id: str | None) -> None:
    event = an_event(external_id=external_id)

    with database.write() as conn:
        events.accept(conn, [event], NOW)
        before = written(conn)

        assert ([event.id], []) == events.accept(conn, [event], after(10**6))
        assert before == written(conn)


def test_of_many_who_send_the_same_id_at_once_one_is_written(database: Database) -> None:
    def send() -> list[str]:
        with database.write() as conn:
            return events.accept(conn, [an_event(external_id="id-1")], NOW)[0]

    answers = at_once(*[send] * 8)

    assert 1 == len({tuple(answer) for answer in answers})
    with database.read() as conn:
        assert {"events": 1, "jobs": 1, "keys": 1} == written(conn)


def test_requests_with_the_same_ids_crosswise_do_not_wait_for_each_other(database: Database) -> None:
    names = [f"id-{number}" for number in range(10)]

    def send(order: list[str]) -> dict[str, str]:
        with database.write() as conn:
            received = [an_event(external_id=name) for name in order]
            return dict(zip(order, events.accept(conn, received, NOW)[0], strict=True))

    answers = at_once(*(lambda o=order: send(o) for order in [names, names[::-1]] * 4))

    assert 1 == len({tuple(sorted(answer.items())) for answer in answers})
    with database.read() as conn:
        assert 10 == written(conn)["events"]


def test_of_two_who_write_the_same_event_at_once_none_doubles_it(database: Database) -> None:
    """The later one may be refused by the key; said again, it is answered like any repetition."""
    event = an_event()

    def send() -> list[str] | None:
        try:
            with database.write() as conn:
                return events.accept(conn, [event], NOW)[0]
        except IntegrityError:
            return None

    answers = at_once(*[send] * 4)

    assert [event.id] in answers
    assert [event.id] == send()
    with database.read() as conn:
        assert {"events": 1, "jobs": 1} == written(conn)


def test_an_event_that_comes_with_a_repeated_one_is_matched_though_that_one_still_waits(database: Database) -> None:
    repeated, new = an_event(), an_event()
    for received in ([repeated], [repeated, new], [repeated, new]):
        if database.hot is not None:
            database.hot.accept(received, NOW)
        else:
            with database.write() as conn:
                events.accept(conn, received, NOW)

    with database.read() as conn:
        found = conn.execute(select(all_jobs.c.payload).order_by(all_jobs.c.id))
        assert [[repeated.id], [new.id]] == [events.ids_in(row.payload) for row in found]


def test_an_event_nobody_listens_to_is_kept_without_a_match_job(database: Database) -> None:
    with database.write() as conn:
        assert [] == events.add(conn, [an_event()], NOW, match=False)
        assert {"events": 1} == written(conn)


def test_events_are_loaded_in_the_order_asked_for_without_those_that_are_gone(database: Database) -> None:
    a, b = an_event("a"), an_event("b")

    with database.write() as conn:
        events.add(conn, [a, b], NOW)

        assert ["b", "a", "b"] == [found.name for found in events.load(conn, [b.id, new_ulid(), a.id, b.id])]
        assert [] == events.load(conn, [])


def test_one_event_is_found_by_its_id(database: Database) -> None:
    event = an_event()

    with database.write() as conn:
        events.add(conn, [event], NOW)

        found = events.get(conn, event.id)
        assert (event.id, None) == (found.id if found else None, events.get(conn, new_ulid()))


def test_a_warning_is_kept_with_its_event(database: Database) -> None:
    event, other = an_event(), an_event()

    with database.write() as conn:
        events.add(conn, [event, other], NOW)
        events.warn(conn, event.id, "no such key")

        assert ["no such key", None] == [found.warning for found in events.load(conn, [event.id, other.id])]


def test_events_are_paged_newest_first(database: Database) -> None:
    made = [an_event(received_at=after(number)) for number in range(5)]

    with database.write() as conn:
        events.add(conn, made, NOW)
        first = events.page(conn, limit=2)
        second = events.page(conn, limit=2, before=first[-1].id)
        third = events.page(conn, limit=2, before=second[-1].id)

    newest_first = [event.id for event in reversed(made)]
    assert [newest_first[:2], newest_first[2:4], newest_first[4:]] == [
        [event.id for event in page] for page in (first, second, third)
    ]


def test_a_page_can_be_of_one_name_and_one_span_of_time(database: Database) -> None:
    made = [an_event("ab"[number % 2], received_at=after(number)) for number in range(6)]

    with database.write() as conn:
        events.add(conn, made, NOW)
        found = events.page(conn, limit=10, name="a", received_after=after(2), received_before=after(4))

    assert [made[2].id] == [event.id for event in found]
