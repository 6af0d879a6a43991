"""Jobs: who gets them, and in which order and how often they are told of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from orchestrator.ids import new_ulid
from orchestrator.store import due, jobs, losses, tasks
from orchestrator.store.database import Database
from orchestrator.store.jobs import Hint, Lease
from tests.store.factories import NOW, UNTIL, add_job, add_leased, after, at_once, job, take


def test_a_job_is_leased_with_all_that_its_work_needs(database: Database) -> None:
    run_id = new_ulid()

    with database.write() as conn:
        hint = jobs.add(conn, jobs.CALL, "k", NOW, run_id=run_id, step_id="s", payload="[1]")
        leases = jobs.lease(conn, [hint.job_id], "worker", NOW, UNTIL)

    assert Hint(hint.job_id, jobs.CALL, NOW) == hint
    assert [Lease(hint.job_id, 1, jobs.CALL, "k", run_id, "s", payload="[1]")] == leases


def test_only_ready_and_due_jobs_are_leased(database: Database) -> None:
    with database.write() as conn:
        due, future, held, dead = (add_job(conn, key) for key in ("due", "future", "held", "dead"))
        jobs.retry(conn, take(conn, future), after(1), 1, "{}")
        take(conn, held)
        losses.bury(conn, take(conn, dead), "why")

        leases = jobs.lease(conn, [dead, held, future, due, 10**9], "worker", NOW, UNTIL)

    assert [due] == [lease.job_id for lease in leases]


def test_a_job_of_this_very_moment_is_due(database: Database) -> None:
    with database.write() as conn:
        job_id = add_job(conn, run_at=NOW)

        assert [] == jobs.lease(conn, [job_id], "worker", after(-0.000_001), UNTIL)
        assert [job_id] == [lease.job_id for lease in jobs.lease(conn, [job_id], "worker", NOW, UNTIL)]


def test_leasing_no_jobs_gives_none(database: Database) -> None:
    with database.write() as conn:
        assert [] == jobs.lease(conn, [], "worker", NOW, UNTIL)


def test_two_leasers_never_get_the_same_job_in_whatever_order_they_ask(database: Database) -> None:
    with database.write() as conn:
        ids = [add_job(conn, str(number)) for number in range(120)]

    def lease(owner: str, wanted: list[int]) -> list[int]:
        got = []
        for at in range(0, len(wanted), 10):
            with database.write() as conn:
                got += [lease.job_id for lease in jobs.lease(conn, wanted[at : at + 10], owner, NOW, UNTIL)]
        return got

    orders = [ids, ids[::-1], ids[::2] + ids[1::2], ids[60:] + ids[:60]]
    shares = at_once(*(lambda o=owner, w=wanted: lease(str(o), w) for owner, wanted in enumerate(orders)))

    assert ids == sorted(job_id for share in shares for job_id in share)


def test_a_job_born_leased_is_its_makers(database: Database) -> None:
    run_id = new_ulid()

    with database.write() as conn:
        lease = jobs.add_leased(conn, jobs.CALL, "k", run_id, "worker", NOW, UNTIL)

        assert Lease(lease.job_id, 1, jobs.CALL, "k", run_id) == lease
        assert jobs.held(conn, lease)
        assert [] == jobs.lease(conn, [lease.job_id], "another", NOW, UNTIL)
        assert ["worker"] == losses.owners(conn)


def test_a_second_job_of_the_same_key_is_refused(database: Database) -> None:
    with database.write() as conn:
        add_job(conn, "k")

    with pytest.raises(IntegrityError), database.write() as conn:
        add_job(conn, "k", after(1))

    with database.write() as conn:
        assert 1 == due.backlog(conn, after(1))


def test_a_refused_key_within_a_savepoint_leaves_the_transaction_usable(database: Database) -> None:
    with database.write() as conn:
        add_job(conn, "k")
        with pytest.raises(IntegrityError), conn.begin_nested():
            add_job(conn, "k")
        add_job(conn, "other")

    with database.read() as conn:
        assert 2 == due.backlog(conn, NOW)


def test_the_key_of_an_ended_job_is_free_again(database: Database) -> None:
    with database.write() as conn:
        jobs.end(conn, add_leased(conn, "k"))

        assert add_job(conn, "k")


def test_a_job_that_was_retried_is_leased_with_its_attempt(database: Database) -> None:
    with database.write() as conn:
        lease = add_leased(conn)

        assert jobs.retry(conn, lease, after(5), 3, '{"name":"E"}')
        row = job(conn, lease.job_id)
        too_early = jobs.lease(conn, [lease.job_id], "worker", after(4), UNTIL)
        again = take(conn, lease.job_id, now=after(5))

    assert (after(5), '{"name":"E"}', None, None) == (row.run_at, row.error, row.owner, row.lease_until)
    assert ([], 3, 2) == (too_early, again.attempt, again.generation)


def test_reset_forgets_the_attempts_and_keeps_the_lease(database: Database) -> None:
    with database.write() as conn:
        first = add_leased(conn)
        jobs.retry(conn, first, NOW, 2, "{}")
        lease = take(conn, first.job_id)

        assert jobs.reset(conn, lease)
        assert jobs.held(conn, lease)
        assert (0, None) == (job(conn, lease.job_id).attempt, job(conn, lease.job_id).error)


def test_a_released_job_comes_back_as_it_was(database: Database) -> None:
    with database.write() as conn:
        first = add_leased(conn)
        jobs.retry(conn, first, NOW, 2, "{}")
        lease = take(conn, first.job_id)

        assert jobs.release(conn, lease, after(1))
        back = take(conn, lease.job_id, now=after(1))

    assert (2, 0, 3) == (back.attempt, back.crashes, back.generation)


def test_a_task_job_is_claimed_by_its_key_also_before_its_time_and_by_one_only(database: Database) -> None:
    with database.write() as conn:
        sent = add_leased(conn, "step", kind=jobs.TASK)
        assert tasks.sent(conn, sent, after(60), "0:1")

    claims = at_once(*[lambda: _claim(database, "step", 0)] * 4)

    [lease] = [claimed for claimed in claims if claimed is not None]
    assert (sent.job_id, 2, "0:1") == (lease.job_id, lease.generation, lease.payload)


def test_a_claim_is_for_one_attempt_of_a_task_job(database: Database) -> None:
    with database.write() as conn:
        add_job(conn, "call")
        jobs.retry(conn, add_leased(conn, "step", kind=jobs.TASK), after(60), 1, "{}")

    assert [None, None, None] == [_claim(database, *of) for of in (("call", 0), ("step", 0), ("other", 0))]
    assert _claim(database, "step", 1) is not None


def _claim(database: Database, key: str, attempt: int) -> Lease | None:
    with database.write() as conn:
        return tasks.claim(conn, key, attempt, "worker", UNTIL)


def test_one_more_call_is_wanted_once_however_often_it_is_asked_for(database: Database) -> None:
    with database.write() as conn:
        lease = add_leased(conn, "k")

        assert [True, True] == [jobs.mark_again(conn, "k"), jobs.mark_again(conn, "k")]
        assert [False, True, True] == [jobs.end(conn, lease), jobs.once_more(conn, lease), jobs.end(conn, lease)]
        assert None is job(conn, lease.job_id)


def test_one_more_call_starts_counting_attempts_anew(database: Database) -> None:
    with database.write() as conn:
        first = add_leased(conn, "k")
        jobs.retry(conn, first, NOW, 2, "{}")
        lease = take(conn, first.job_id)
        jobs.mark_again(conn, "k")

        jobs.once_more(conn, lease)

        row = job(conn, lease.job_id)
        assert (0, None, False) == (row.attempt, row.error, row.again)


def test_a_call_that_begins_serves_every_wish_from_before_it(database: Database) -> None:
    with database.write() as conn:
        job_id = add_job(conn, "k")
        jobs.mark_again(conn, "k")

        lease = take(conn, job_id)

        assert jobs.end(conn, lease)


def test_one_more_call_of_a_job_that_is_not_there_is_not_taken(database: Database) -> None:
    with database.write() as conn:
        assert not jobs.mark_again(conn, "nobody")


def test_the_end_of_a_run_ends_its_jobs_in_any_state_and_no_others(database: Database) -> None:
    mine, others = new_ulid(), new_ulid()
    with database.write() as conn:
        add_job(conn, "ready", run_id=mine)
        add_leased(conn, "leased", run_id=mine)
        losses.bury(conn, add_leased(conn, "dead", run_id=mine), "why")
        left = [add_job(conn, "other", run_id=others), add_job(conn, "none", kind=jobs.MATCH)]

        jobs.end_all_of_run(conn, mine)

        assert left == [hint.job_id for hint in due.due(conn, NOW, NOW, 10)]
        assert [] == losses.owners(conn)


def test_a_match_job_is_done_once_without_a_lease_and_whatever_its_makers_clock_says(database: Database) -> None:
    with database.write() as conn:
        job_id = add_job(conn, "m", after(1), kind=jobs.MATCH, payload='["e"]')

        found = jobs.ready_for_matching(conn, job_id)

        assert '["e"]' == (found.payload if found else None)
        assert [True, False] == [jobs.take_match(conn, job_id), jobs.take_match(conn, job_id)]
        assert None is jobs.ready_for_matching(conn, job_id)


def test_of_many_who_match_at_once_one_does(database: Database) -> None:
    with database.write() as conn:
        job_id = add_job(conn, "m", kind=jobs.MATCH)

    def match() -> bool:
        with database.write() as conn:
            return jobs.take_match(conn, job_id)

    assert [False] * 7 + [True] == sorted(at_once(*[match] * 8))


def test_due_jobs_are_told_oldest_first_up_to_the_horizon_and_the_limit(database: Database) -> None:
    with database.write() as conn:
        for key, seconds in (("c", 3), ("a", -60), ("later", 31), ("b", 0), ("d", 30)):
            add_job(conn, key, after(seconds), run_id=new_ulid())
        add_leased(conn, "leased")

        found = [hint.run_at for hint in due.due(conn, after(30), NOW, 10)]

        assert [after(seconds) for seconds in (-60, 0, 3, 30)] == found
        assert found[:2] == [hint.run_at for hint in due.due(conn, after(30), NOW, 2)]


def test_an_announced_job_is_told_again_only_after_a_while(database: Database) -> None:
    with database.write() as conn:
        job_id = add_job(conn)
        due.announced(conn, [job_id], NOW)

        assert [] == due.due(conn, after(60), after(-1), 10)
        assert [job_id] == [hint.job_id for hint in due.due(conn, after(60), NOW, 10)]


def test_a_job_announced_ahead_counts_as_announced_at_its_time(database: Database) -> None:
    with database.write() as conn:
        job_id = add_job(conn, run_at=after(20))
        due.announced(conn, [job_id], NOW)

        assert after(20) == job(conn, job_id).announced_at
        assert [] == due.due(conn, after(60), after(19), 10)
        assert [job_id] == [hint.job_id for hint in due.due(conn, after(60), after(20), 10)]


def test_what_became_due_this_moment_is_left_to_its_maker_to_tell(database: Database) -> None:
    with database.write() as conn:
        for key, seconds in (("old", -5), ("edge", -1), ("fresh", -0.5), ("soon", 5)):
            add_job(conn, key, after(seconds))

        found = due.due(conn, after(30), NOW, 10, now=NOW, grace=timedelta(seconds=1))

    assert [after(-5), after(-1), after(5)] == [hint.run_at for hint in found]


def test_a_job_that_comes_back_is_told_anew(database: Database) -> None:
    with database.write() as conn:
        for key, come_back in (
            ("retry", lambda lease: jobs.retry(conn, lease, NOW, 1, "{}")),
            ("release", lambda lease: jobs.release(conn, lease, NOW)),
            ("recover", lambda lease: losses.recover(conn, lease, NOW)),
        ):
            job_id = add_job(conn, key)
            due.announced(conn, [job_id], NOW)
            assert come_back(take(conn, job_id))

        assert 3 == len(due.due(conn, NOW, after(-1), 10))


def test_announcing_leaves_leased_jobs_alone(database: Database) -> None:
    with database.write() as conn:
        lease = add_leased(conn)

        due.announced(conn, [lease.job_id], NOW)

        assert None is job(conn, lease.job_id).announced_at


def test_the_backlog_counts_what_is_ready_and_due(database: Database) -> None:
    with database.write() as conn:
        add_job(conn, "due")
        add_job(conn, "future", after(1))
        add_leased(conn, "leased")

        assert [1, 2] == [due.backlog(conn, NOW), due.backlog(conn, after(1))]


def test_the_id_of_a_job_that_is_gone_is_never_anothers(database: Database) -> None:
    """Or what holds for the one (hints, leases of the same generation) would hold for the other."""
    with database.write() as conn:
        gone = add_leased(conn, "first")
        assert jobs.end(conn, gone)

        assert gone.job_id < add_job(conn, "second")
