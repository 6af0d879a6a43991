"""Cron triggers, with the official Python SDK over real HTTP, and in process; on a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import inngest
import pytest

from tests.wire.harness import App, Server, until

pytestmark = pytest.mark.every_driver

DAY = timedelta(days=1)
NAME = "inngest/scheduled.timer"


def a_time_ahead(server: Server, ahead: timedelta) -> str:
    """A line that ticks once a day, so far ahead of the server's clock (which is not the system's)."""
    at = server.clock.now().astimezone(UTC) + ahead
    return f"{at.minute} {at.hour} * * *"


def declare(app: App, fn_id: str, cron: str, ran: list[Any], **options: Any) -> inngest.Function[Any]:
    @app.client.create_function(fn_id=fn_id, trigger=inngest.TriggerCron(cron=cron), **options)
    def tick(ctx: inngest.ContextSync) -> str:
        ran.append((ctx.event.name, ctx.event.id, dict(ctx.event.data), ctx.event.ts))
        return "ticked"

    return tick


def fired(ran: list[Any], count: int) -> list[Any]:
    return until(lambda: ran if len(ran) >= count else None, f"{count} ticks", lambda: str(ran))


@pytest.fixture
def settle(server: Server) -> Callable[[], None]:
    """Wait until something that was sent now has run: what was due before has, too."""

    def wait(app: App) -> None:
        event_id = server.send("cron/settled")
        server.ended(event_id)

    return wait  # type: ignore[return-value]


def marker(app: App) -> inngest.Function[Any]:
    @app.function("settled", "cron/settled")
    def settled(ctx: inngest.ContextSync) -> None:
        return None

    return settled


def test_a_tick_runs_its_function_once_with_the_payload_of_the_protocol(server: Server, app: App) -> None:
    # given
    ran: list[Any] = []
    line = a_time_ahead(server, timedelta(hours=2))
    app.serve([declare(app, "daily", f"TZ=UTC {line}", ran)])
    assert [] == ran

    # when
    before = server.clock.now()
    server.skip(timedelta(hours=2))

    # then
    [(name, event_id, data, ts)] = fired(ran, 1)
    scheduled = datetime.fromisoformat(data["scheduledAt"])
    assert (NAME, data["scheduledAt"], data["scheduledAt"]) == (name, event_id, data["fireAt"])
    assert {"cron": f"TZ=UTC {line}", "scheduledAt": event_id, "fireAt": event_id} == data
    assert "Z" == event_id[-1]
    assert int(scheduled.timestamp() * 1000) == ts
    assert before < scheduled <= before + timedelta(hours=2)


def test_the_same_line_fires_day_after_day(server: Server, app: App) -> None:
    ran: list[Any] = []
    app.serve([declare(app, "daily", a_time_ahead(server, timedelta(hours=2)), ran)])

    server.skip(timedelta(hours=2))
    fired(ran, 1)
    server.skip(DAY)
    fired(ran, 2)

    first, second = (datetime.fromisoformat(event_id) for _, event_id, _, _ in ran)
    assert DAY == second - first


def test_a_downtime_of_days_ends_in_one_run_for_the_latest_tick(server: Server, app: App, settle: Any) -> None:
    ran: list[Any] = []
    app.serve([declare(app, "often", "*/7 * * * *", ran), marker(app)])

    server.skip(timedelta(days=3))

    [(_, event_id, _, _)] = fired(ran, 1)
    settle(app)
    assert 1 == len(ran)
    assert timedelta() <= server.clock.now() - datetime.fromisoformat(event_id) <= timedelta(minutes=8)


def test_a_changed_line_replaces_the_one_before_and_an_unchanged_one_goes_on(server: Server, app: App) -> None:
    # given
    kept: list[Any] = []
    changed: list[Any] = []
    soon, later = (a_time_ahead(server, timedelta(hours=hours)) for hours in (2, 5))
    app.serve([declare(app, "kept", soon, kept), declare(app, "changed", soon, changed)])
    again = app.again()

    # when
    again.serve([declare(again, "kept", soon, kept), declare(again, "changed", later, changed)])
    server.skip(timedelta(hours=2))
    fired(kept, 1)

    # then
    assert [] == changed
    server.skip(timedelta(hours=3))
    [(_, _, data, _)] = fired(changed, 1)
    assert (later, 1) == (data["cron"], len(kept))
    again.stop()


def test_a_function_that_is_no_longer_declared_stops_ticking(server: Server, app: App, settle: Any) -> None:
    gone: list[Any] = []
    stays: list[Any] = []
    line = a_time_ahead(server, timedelta(hours=2))
    app.serve([declare(app, "gone", line, gone), marker(app)])
    again = app.again()
    again.serve([declare(again, "stays", line, stays), marker(again)])

    server.skip(timedelta(hours=2))

    fired(stays, 1)
    settle(again)
    assert ([], 1) == (gone, len(stays))
    again.stop()


def test_a_tick_comes_within_a_second_of_its_time(server: Server, app: App) -> None:
    # given
    runs = {}

    @app.client.create_function(fn_id="minutely", trigger=inngest.TriggerCron(cron="* * * * *"))
    def minutely(ctx: inngest.ContextSync) -> None:
        runs[ctx.event.id] = ctx.run_id

    app.serve([minutely])
    now = server.clock.now()
    minute = now.replace(second=0, microsecond=0) + timedelta(minutes=2)
    tick = f"{minute:%Y-%m-%dT%H:%M:%SZ}"

    # when
    server.skip(minute - now - timedelta(seconds=2))
    run_id = until(lambda: runs.get(tick), f"the tick of {minute}")

    # then
    late = datetime.fromisoformat(server.run(run_id)["queued_at"]) - minute
    assert timedelta() <= late < timedelta(seconds=1), late
