"""Pauses: found by an index, taken once, gone with their run."""

from __future__ import annotations

import orjson
import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from orchestrator.core.effect import ClosePause, Finish, SaveStep, Status, StepStatus
from orchestrator.core.run import Decision, Run
from orchestrator.ids import new_ulid
from orchestrator.store import events, jobs, pauses
from orchestrator.store.apply import Applied, Opened, apply
from orchestrator.store.database import Database
from orchestrator.store.pauses import Pause
from orchestrator.store.tables import metadata
from tests.store.factories import (
    BY,
    NOW,
    a_step,
    add_discovery,
    add_run,
    after,
    an_event,
    at_once,
    content,
    counts,
)

DONE = Finish(Status.COMPLETED, output="1")
PATH = '["data","user"]'


def started(conn: Connection) -> str:
    """A run with the event that started it."""
    event = an_event()
    events.add(conn, [event], NOW, match=False)
    return add_run(conn, event_id=event.id)


def a_pause(run_id: str, **values: object) -> Pause:
    defaults = {"kind": pauses.EVENT, "step_id": "w", "event_name": "shop/paid", "expires_at": after(60)}
    return Pause(**({"id": new_ulid(), "run_id": run_id} | defaults | values))


def add_pause(conn: Connection, **values: object) -> Pause:
    pause = a_pause(values.pop("run_id", None) or started(conn), **values)
    pauses.add(conn, [pause], NOW)
    return pause


def found(conn: Connection, path: str = "", key: str = "", name: str = "shop/paid", at: float = 1) -> list[str]:
    return [pause.id for pause in pauses.candidates(conn, name, path, key, after(at), "0" * 26)]


def decide(conn: Connection, run_id: str, *effects: object, **values: object) -> Applied:
    finish = next((effect for effect in effects if isinstance(effect, Finish)), None)
    decision = Decision(Run(run_id, status=finish.status if finish else Status.RUNNING), effects, None)
    return apply(conn, None, Run(run_id), decision, [], BY, **values)


def resumes(conn: Connection) -> list[tuple[str, str, dict[str, str]]]:
    rows = conn.execute(metadata.tables["jobs"].select()).all()
    return [(row.run_id, row.step_id, orjson.loads(row.payload)) for row in rows if row.kind == jobs.RESUME]


def test_an_event_finds_the_pauses_of_its_name_with_its_term(database: Database) -> None:
    with database.write() as conn:
        ada, bob = (add_pause(conn, path=PATH, key=f"s:{name}") for name in ("ada", "bob"))
        everybody = add_pause(conn)
        add_pause(conn, event_name="shop/other")

        assert ["", PATH] == pauses.paths(conn, "shop/paid")
        assert ([ada.id], [bob.id]) == (found(conn, PATH, "s:ada"), found(conn, PATH, "s:bob"))
        assert [everybody.id] == found(conn)
        assert [] == pauses.paths(conn, "shop/none")


def test_a_candidate_comes_with_the_event_that_started_its_run(database: Database) -> None:
    with database.write() as conn:
        event = an_event(data='{"user":"ada"}')
        events.add(conn, [event], NOW, match=False)
        run_id = add_run(conn, event_id=event.id)
        add_pause(conn, run_id=run_id, expression="true")

        [candidate] = pauses.candidates(conn, "shop/paid", "", "", NOW, "0" * 26)

        assert (run_id, "w", "true") == (candidate.run_id, candidate.step_id, candidate.expression)
        assert (event.id, event.wire()) == (candidate.since, candidate.event)


def test_a_pause_that_is_over_in_time_is_no_candidate(database: Database) -> None:
    with database.write() as conn:
        pause = add_pause(conn)

        assert ([pause.id], []) == (found(conn, at=59), found(conn, at=60))


def test_candidates_come_in_pages(database: Database) -> None:
    with database.write() as conn:
        run_id = started(conn)
        many = [a_pause(run_id, step_id=f"w{n}") for n in range(pauses.PAGE + 3)]
        pauses.add(conn, many, NOW)

        first = pauses.candidates(conn, "shop/paid", "", "", NOW, "0" * 26)
        rest = pauses.candidates(conn, "shop/paid", "", "", NOW, first[-1].id)

        assert [pause.id for pause in many] == [pause.id for pause in (*first, *rest)]


def test_a_pause_is_taken_once(database: Database) -> None:
    with database.write() as conn:
        one, two = add_pause(conn), add_pause(conn)

        assert {one.id, two.id} == pauses.take(conn, [one.id, two.id, new_ulid()])
        assert set() == pauses.take(conn, [one.id])


def test_of_two_that_take_a_pause_at_once_one_gets_it(database: Database) -> None:
    with database.write() as conn:
        many = [add_pause(conn).id for _ in range(5)]

    def take(ids: list[str]) -> set[str]:
        with database.write() as conn:
            return pauses.take(conn, ids)

    one, two = at_once(lambda: take(many), lambda: take(many[::-1]))

    assert (set(many), set()) == (one | two, one & two)


def test_names_are_waited_for_while_a_pause_is_there(database: Database) -> None:
    with database.write() as conn:
        pause = add_pause(conn)
        there = pauses.anyone_waits(conn, "shop/paid")
        pauses.take(conn, [pause.id])

        assert (True, False) == (there, pauses.anyone_waits(conn, "shop/paid"))


def test_an_event_that_is_waited_for_is_matched_though_no_function_listens(database: Database) -> None:
    with database.write() as conn:
        _, unheard = events.accept(conn, [an_event("shop/paid")], NOW)
        add_pause(conn)
        _, heard = events.accept(conn, [an_event("shop/paid")], NOW)

    assert ([], [jobs.MATCH]) == (unheard, [hint.kind for hint in heard])


def test_the_hot_path_knows_what_is_waited_for(database: Database) -> None:
    if database.hot is None:
        pytest.skip("this database has none")
    unheard = database.hot.accept([an_event("shop/paid")], NOW)
    with database.write() as conn:
        pause = add_pause(conn)
    first, other = an_event("shop/paid"), an_event("shop/other")
    hint = database.hot.accept([first, other], NOW)

    assert (None, jobs.MATCH) == (unheard, hint.kind if hint else None)
    work = database.hot.matching([hint.job_id])
    assert [(first.id, True), (other.id, False)] == [(it.id, it.awaited) for it in work[hint.job_id]]
    assert pause.id


def test_one_run_waits_for_a_signal_and_another_can_take_it_over(database: Database) -> None:
    with database.write() as conn:
        first = add_pause(conn, kind=pauses.SIGNAL, event_name=None, signal="go")
        pauses.give_up_signal(conn, "go")
        second = add_pause(conn, kind=pauses.SIGNAL, event_name=None, signal="go")
        waiter = pauses.take_signal(conn, "go")

        assert (second.id, second.run_id) == (waiter.id, waiter.run_id) if waiter else None
        assert None is pauses.take_signal(conn, "go")
        assert pauses.close(conn, first.run_id, "w")


def test_a_second_pause_for_a_signal_is_refused(database: Database) -> None:
    with database.write() as conn:
        add_pause(conn, kind=pauses.SIGNAL, signal="go")
    with pytest.raises(IntegrityError), database.write() as conn:
        add_pause(conn, kind=pauses.SIGNAL, signal="go")


def test_opening_writes_the_pause_its_timeout_and_its_event_at_once(database: Database) -> None:
    with database.write() as conn:
        run_id = started(conn)
        event = an_event("inngest/function.invoked")
        opened = Opened(a_pause(run_id, kind=pauses.INVOKE), late='{"name":"E"}', event=event, looks_back=True)

        applied = decide(conn, run_id, a_step("w", StepStatus.WAITING), opened=[opened])

        assert [jobs.TIME_OUT, jobs.MATCH, jobs.LOOK_BACK] == [hint.kind for hint in applied.hints]
        assert (after(60), 1) == (applied.hints[0].run_at, counts(conn)["pauses"])
        assert event.id == events.get(conn, event.id).id  # type: ignore[union-attr]


def test_an_answer_ends_the_timeout(database: Database) -> None:
    with database.write() as conn:
        run_id = started(conn)
        decide(conn, run_id, a_step("w", StepStatus.WAITING), opened=[Opened(a_pause(run_id))])
        done = SaveStep("w", "", "", StepStatus.COMPLETED, memo="null")
        decide(conn, run_id, done, ClosePause("w"))

        assert "jobs" not in counts(conn)


def test_the_end_of_a_run_closes_its_pauses(database: Database) -> None:
    with database.write() as conn:
        run_id, other = started(conn), started(conn)
        decide(conn, run_id, a_step("w", StepStatus.WAITING), opened=[Opened(a_pause(run_id))])
        add_pause(conn, run_id=run_id, kind=pauses.CANCEL, step_id=None)
        kept = add_pause(conn, run_id=other)
        decide(conn, run_id, DONE)

        assert ([kept.id], False) == ([row[0] for row in content(conn)["pauses"]], "jobs" in counts(conn))


def test_the_hot_end_of_a_run_closes_its_pauses(database: Database) -> None:
    if database.hot is None:
        pytest.skip("this database has none")
    with database.write() as conn:
        run_id = started(conn)
        lease = add_discovery(conn, run_id)
        add_pause(conn, run_id=run_id, kind=pauses.CANCEL, step_id=None)
        kept = add_pause(conn)
    run = Run(run_id)
    decision = Decision(Run(run_id, status=Status.COMPLETED), (DONE,), None)

    outcome = database.hot.settle(lease, run, decision, [], NOW, limited=False)

    assert outcome is not None
    assert outcome.accepted
    with database.read() as conn:
        assert [kept.id] == [row[0] for row in content(conn)["pauses"]]


def test_the_end_of_an_invoked_run_answers_the_step_that_waits_and_only_once(database: Database) -> None:
    with database.write() as conn:
        parent, child, again = started(conn), started(conn), started(conn)
        add_pause(conn, run_id=parent, kind=pauses.INVOKE, event_name=None)

        hints = [decide(conn, run, DONE, correlation_id=f"{parent}.w").hints for run in (child, again)]

        assert ([jobs.RESUME], []) == ([hint.kind for hint in hints[0]], hints[1])
        assert [(parent, "w", {"run": child})] == resumes(conn)


def test_an_event_and_the_end_of_a_run_take_its_pauses_in_one_order(concurrent: Database) -> None:
    """Both want the same pauses, the one by their ids, the other by their run."""
    for _ in range(20):
        with concurrent.write() as conn:
            run_id = started(conn)
            many = [a_pause(run_id, step_id=f"w{n}") for n in range(20)]
            pauses.add(conn, many[::-1], NOW)

        def hit(wanted: list[Pause] = many) -> int:
            with concurrent.write() as conn:
                return len(pauses.take(conn, [pause.id for pause in wanted]))

        def end(ending: str = run_id) -> int:
            with concurrent.write() as conn:
                decide(conn, ending, DONE)
            return 0

        taken, _ = at_once(hit, end)

        assert taken in (0, 20)
        with concurrent.read() as conn:
            assert "pauses" not in counts(conn)
