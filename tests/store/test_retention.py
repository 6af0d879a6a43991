"""What may go, and what must stay: every table has a rule or a reason, and nothing that is needed is ever found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection, update

from orchestrator.core.effect import Record, Status
from orchestrator.core.scope import Scope
from orchestrator.ids import new_ulid, ulid_as_uuid
from orchestrator.store import (
    audit,
    batches,
    events,
    functions,
    gates,
    history,
    jobs,
    losses,
    retention,
    runs,
    tokens,
)
from orchestrator.store.database import Database
from orchestrator.store.retention import RULES
from orchestrator.store.tables import metadata
from orchestrator.store.tokens import Token
from tests.store.factories import (
    NOW,
    a_step,
    add_app,
    add_job,
    add_run,
    add_steps,
    after,
    an_event,
    be_impatient,
    counts,
    insert_rows,
)

OLD, CUT = NOW - timedelta(days=31), NOW - timedelta(days=30)

#: Tables that no rule empties, and why that is right.
STAY = {
    "apps": "people register them, and there are as many as deployments",
    "functions": "kept runs are told by them; there are as many as are declared",
    "triggers": "replaced with their function",
    "keys": "expire, and are deleted a minute later by the chore `tidy`",
    "gates": "expire once nothing waits behind them, and are deleted a minute later by the chore `tidy`",
    "admissions": "go with their gate",
    "chores": "one row for each kind of chore",
    "concurrency_limits": "replaced with their function",
    "pools": "deleted by the chore `slots` once nobody holds or waits for a place in them",
    "sessions": "expire, and are deleted a minute later by the chore `tidy`",
    "slots": "go with the call or the run that holds them, and are cured by the chore `slots`",
    "tallies": "deleted by the chore `tally` once no chart shows them, or runs are no longer kept so long",
    "users": "people are removed by people",
    "workers": "deleted when the worker ends, or by the next sign of another once it is long silent",
}


def test_every_table_has_a_rule_of_retention_or_a_reason_to_stay() -> None:
    ruled = {table for rule in RULES.values() for table in rule.tables}

    assert set(metadata.tables) == ruled | set(STAY)
    assert set() == ruled & set(STAY)


def old_event(conn: Connection, name: str = "shop/order.paid") -> str:
    event = an_event(name, received_at=OLD)
    events.add(conn, [event], OLD, match=False)
    return event.id


def old_run(conn: Connection, status: Status = Status.COMPLETED, at: Any = OLD, **values: Any) -> str:
    run_id = add_run(conn, queued_at=OLD, **values)
    if status.final:
        runs.finish(conn, run_id, status, None, None, at)
    return run_id


def passed(conn: Connection, stage: str) -> dict[str, int]:
    """What one page of a stage frees."""
    rule = RULES[stage]
    found = rule.find(conn, rule.first, CUT, NOW)
    return dict(rule.free(conn, found.ids, CUT)) if found.ids else {}


def test_a_run_goes_with_its_steps_history_and_dead_jobs_and_then_its_event_goes(database: Database) -> None:
    with database.write() as conn:
        run_id = old_run(conn, Status.FAILED, event_id=old_event(conn))
        add_steps(conn, run_id, a_step("a"), a_step("b"))
        history.add(conn, run_id, [Record("started")], OLD)
        add_job(conn, "call:x", OLD, run_id=run_id)
        conn.execute(update(jobs.jobs).values(state=jobs.DEAD))

        freed = [passed(conn, "events"), passed(conn, "runs"), passed(conn, "events")]

        assert [{}, {"runs": 1, "steps": 2, "history": 1}, {"events": 1}] == freed
        assert {} == counts(conn)


def test_the_events_of_a_batch_go_after_its_run(database: Database) -> None:
    with database.write() as conn:
        ids = [old_event(conn), old_event(conn)]
        run_id = old_run(conn, event_id=ids[0])
        batch_id = new_ulid()
        batches.add(conn, batch_id, ids)
        conn.execute(
            update(metadata.tables["runs"]).where(metadata.tables["runs"].c.id == run_id).values(batch_id=batch_id)
        )

        freed = [passed(conn, stage) for stage in ("events", "runs", "events")]

        assert [{}, 1, {"events": 2}] == [freed[0], freed[1]["runs"], freed[2]]
        assert {} == counts(conn)


def live(conn: Connection) -> None:
    old_run(conn, Status.RUNNING, event_id=old_event(conn))


def ended_lately(conn: Connection) -> None:
    old_run(conn, at=NOW, event_id=old_event(conn))


def has_a_match_job(conn: Connection) -> None:
    payload = orjson.dumps([ulid_as_uuid(old_event(conn))]).decode()
    add_job(conn, "match:x", NOW, jobs.MATCH, payload=payload)


def has_a_dead_match_job(conn: Connection) -> None:
    has_a_match_job(conn)
    conn.execute(update(jobs.jobs).values(state=jobs.DEAD, run_at=CUT))


def answers_a_live_run(conn: Connection) -> None:
    add_job(conn, "resume:x", NOW, jobs.RESUME, payload=orjson.dumps({"event": old_event(conn)}).decode())


def is_an_answer_being_given(conn: Connection) -> None:
    answers_a_live_run(conn)
    conn.execute(update(jobs.jobs).values(state=jobs.LEASED, generation=1, owner="w", lease_until=NOW))


def cancels_a_live_run(conn: Connection) -> None:
    add_job(conn, "cancel:x", NOW, jobs.CANCEL, payload=old_event(conn))


def child_answers_a_live_run(conn: Connection) -> None:
    run_id = old_run(conn, event_id=old_event(conn))
    add_job(conn, "resume:x", NOW, jobs.RESUME, payload=orjson.dumps({"run": run_id}).decode())


def is_debounced(conn: Connection) -> None:
    gates.lock(conn, {"debounce:x": "f"}, OLD)
    gates.save(conn, "debounce:x", orjson.dumps({"event_id": old_event(conn)}).decode(), None)


def is_in_a_batch_that_fills(conn: Connection) -> None:
    batches.add(conn, new_ulid(), [old_event(conn)])


def came_after_a_live_run_that_looks_back(conn: Connection) -> None:
    app_id = add_app(conn)
    function = {"id": "f", "app_id": app_id, "slug": "f", "name": "f", "version": 1, "config": "{}", "checksum": "1"}
    insert_rows(conn, "functions", [function | {"created_at": NOW, "updated_at": NOW}])
    functions.set_wait_look_back(conn, "f", True)
    old_run(conn, Status.RUNNING, event_id=old_event(conn))
    old_event(conn, "awaited/perhaps")


@pytest.mark.parametrize(
    "needed",
    [
        live,
        ended_lately,
        has_a_match_job,
        has_a_dead_match_job,
        answers_a_live_run,
        is_an_answer_being_given,
        cancels_a_live_run,
        child_answers_a_live_run,
        is_debounced,
        is_in_a_batch_that_fills,
        came_after_a_live_run_that_looks_back,
    ],
)
def test_what_something_needs_stays_however_old(database: Database, needed: Callable[[Connection], None]) -> None:
    with database.write() as conn:
        needed(conn)
        there = counts(conn)

        freed = [passed(conn, stage) for stage in RULES]

        assert ([{}] * len(RULES), there) == (freed, counts(conn))


def test_a_run_that_is_requeued_after_it_was_found_stays(database: Database) -> None:
    with database.write() as conn:
        run_id = old_run(conn, Status.FAILED)
        found = retention.find_runs(conn, "0" * 26, CUT, NOW)
        runs.reopen(conn, run_id)

        freed = retention.free_runs(conn, found.ids, CUT)

        assert ([run_id], {}) == (list(found.ids), freed)


def test_an_event_that_starts_a_run_after_it_was_found_stays(database: Database) -> None:
    with database.write() as conn:
        event_id = old_event(conn)
        found = retention.find_events(conn, "0" * 26, CUT, NOW)
        add_run(conn, event_id=event_id)

        freed = retention.free_events(conn, found.ids, CUT)

        assert ([event_id], {"events": 0}) == (list(found.ids), freed)


def test_two_passes_at_once_do_not_wait_for_each_other(concurrent: Database) -> None:
    with concurrent.write() as conn:
        ids = [old_run(conn) for _ in range(3)]

    with concurrent.write() as one, concurrent.write() as other:
        be_impatient(other)
        freed = [retention.free_runs(conn, ids, CUT).get("runs", 0) for conn in (one, other)]

    assert [3, 0] == freed


def test_dead_jobs_without_a_run_go_after_their_time_and_others_go_with_their_run(database: Database) -> None:
    with database.write() as conn:
        lately, of_run = add_job(conn, "match:1", NOW), add_job(conn, "call:2", OLD, run_id=new_ulid())
        add_job(conn, "match:3", OLD)
        conn.execute(update(jobs.jobs).values(state=jobs.DEAD))

        freed = passed(conn, "dead jobs")

        assert {"jobs": 1} == freed
        assert [lately, of_run] == [row.id for row in conn.execute(jobs.jobs.select().order_by(jobs.jobs.c.id))]


def test_a_job_that_was_requeued_after_it_was_found_stays(database: Database) -> None:
    with database.write() as conn:
        job_id = add_job(conn, "match:3", OLD)

        assert {"jobs": 0} == retention.free_dead_jobs(conn, [str(job_id)], CUT)


def test_old_notes_of_operators_go(database: Database) -> None:
    with database.write() as conn:
        for at in (OLD, NOW):
            audit.record(conn, "run requeued", "x", at)

        freed = passed(conn, "audit")

        assert ({"audit": 1}, [("run requeued", NOW)]) == (freed, audit.actions_on(conn, "x"))


def test_a_token_goes_some_time_after_it_was_revoked_and_never_before(database: Database) -> None:
    with database.write() as conn:
        ids = [new_ulid() for _ in range(3)]
        for token_id in ids:
            tokens.add(conn, Token(token_id, "ci", token_id, "orch_", frozenset({Scope.READ}), OLD))
        tokens.revoke(conn, ids[0], OLD)
        tokens.revoke(conn, ids[1], NOW)

        freed = passed(conn, "tokens")

        assert ({"api_tokens": 1}, ids[2:]) == (freed, [token.id for token in tokens.live(conn)])


def test_orders_to_cancel_go_when_no_job_is_about_them(database: Database) -> None:
    with database.write() as conn:
        order = {"app_id": "a", "started_before": OLD, "created_at": OLD}
        ended, given_up, working, young = ids = [new_ulid() for _ in range(4)]
        insert_rows(conn, "cancellations", [order | {"id": it, "ended_at": None} for it in ids])
        table = metadata.tables["cancellations"]
        conn.execute(update(table).where(table.c.id == ended).values(ended_at=OLD))
        conn.execute(update(table).where(table.c.id == young).values(ended_at=NOW))
        add_job(conn, f"cancel_all:{working}", OLD, jobs.CANCEL_ALL, payload=working)

        freed = passed(conn, "orders")

        assert {"cancellations": 2} == freed
        assert {working, young} == {row.id for row in conn.execute(table.select())}
        assert given_up not in {working, young}


def test_a_page_has_no_more_steps_than_a_transaction_should_delete(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST_STEPS", 5)
    with database.write() as conn:
        ids = [old_run(conn) for _ in range(4)]
        for run_id in ids:
            add_steps(conn, run_id, *(a_step(f"s{at}") for at in range(3)))

        first = retention.find_runs(conn, "0" * 26, CUT, NOW)
        second = retention.find_runs(conn, first.reached, CUT, NOW)

    assert ([ids[:1], ids[1:2]], False) == ([list(first.ids), list(second.ids)], first.end)


def test_a_walk_passes_by_what_still_lives_and_ends_where_all_is_young(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE", 2)
    monkeypatch.setattr(retention, "_RUN_PAGE", retention._RUN_PAGE.limit(None).limit(2))
    with database.write() as conn:
        sleepers = [old_run(conn, Status.RUNNING) for _ in range(2)]
        ended = [old_run(conn) for _ in range(2)]
        for _ in range(6):
            add_run(conn, queued_at=after(0))

        pages = [retention.find_runs(conn, "0" * 26, CUT, NOW)]
        while not pages[-1].end:
            pages.append(retention.find_runs(conn, pages[-1].reached, CUT, NOW))

    assert [[], ended, []] == [list(page.ids) for page in pages]
    assert sleepers[-1] == pages[0].reached


def test_events_wait_while_there_is_more_work_than_can_be_looked_through(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.write() as conn:
        old_event(conn)
        add_job(conn, "match:1", NOW, jobs.MATCH, payload="[]")
        monkeypatch.setattr(retention, "MOST_HELD", 1)

        assert {} == passed(conn, "events")


def test_runs_that_failed_for_dead_jobs_go_however_many_they_are(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.write() as conn:
        for number in range(2):
            event_id = old_event(conn)
            run_id = old_run(conn, Status.FAILED, event_id=event_id)
            answer = orjson.dumps({"event": event_id}).decode()
            add_job(conn, f"resume:{number}", OLD, jobs.RESUME, run_id=run_id, payload=answer)
        conn.execute(update(jobs.jobs).values(state=jobs.DEAD))
        monkeypatch.setattr(retention, "MOST_HELD", 2)

        freed = [passed(conn, stage) for stage in ("runs", "events")]

        assert (2, {"events": 2}) == (freed[0].get("runs"), freed[1])
        assert {} == counts(conn)


def test_a_job_that_died_for_being_unreadable_holds_nothing_and_stops_nothing(database: Database) -> None:
    with database.write() as conn:
        old_event(conn)
        job_id = add_job(conn, "match:1", NOW, jobs.MATCH, payload="not json")
        losses.crash_match(conn, job_id, NOW, "unreadable", 1)

        assert {"events": 1} == passed(conn, "events")
