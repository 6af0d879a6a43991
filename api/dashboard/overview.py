"""The first page: what happened lately, what fails most, and how long things take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Response, request

from orchestrator.api.current import current_server
from orchestrator.api.dashboard.lists import SPANS, mark, text
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.templating import go, nothing_new, page
from orchestrator.api.dashboard.texts import iso
from orchestrator.core.function import Function
from orchestrator.engine.failures import Alike, WhatFails, what_fails
from orchestrator.engine.overview import LOOKS, OfFunction, Overview, overview
from orchestrator.engine.search import search_runs
from orchestrator.errors import RequestError
from orchestrator.protocol.function_config import read_function
from orchestrator.store import functions
from orchestrator.store.database import Connection
from orchestrator.store.filters import RunFilter
from orchestrator.store.functions import StoredFunction

#: Milliseconds between two looks for something new.
EVERY = 10_000
#: Groups of failures, and functions, that the page shows.
_GROUPS, _FUNCTIONS = 20, 10
#: The span that is looked at where the address names none.
_USUAL = "24h"
#: What a part of each span is.
_EACH = {"1h": "minute", "24h": "15 minutes", "7d": "3 hours", "30d": "12 hours"}
#: Frames of a traceback may be many; all of them are on the page of the run.
_MOST_STACK = 6_000
#: Groups that are seen at once; the others have to be opened.
_FIRST_GROUPS = 6


@dataclass(frozen=True, slots=True)
class Beginning:
    """What there is on a server that has not run anything yet."""

    apps: int
    #: A name of an event that would start a run; None: no function waits for one.
    event: str | None


@routes.page("/")
def first() -> Response:
    """Lead to the overview."""
    return go("/overview")


@routes.page("/overview")
def show_overview() -> Response:
    """Show what happened in a span of time."""
    return page("overview.html", **_sight(_look()))


@routes.page("/overview/live")
def watch_overview() -> Response:
    """The same for a page that is open: nothing where nothing changed."""
    sight = _sight(_look())
    return nothing_new() if sight["mark"] == request.args.get("seen") else page("overview_live.html", **sight)


def _look() -> str:
    asked = text(request.args, "span") or _USUAL
    if asked not in LOOKS:
        raise RequestError(f"span must be one of {', '.join(LOOKS)}, not {asked[:60]}")
    return asked


def _sight(look: str) -> dict[str, Any]:
    now = current_server().parts.clock.now()
    with current_server().parts.database.read() as conn:
        seen = overview(conn, look, now)
        fails = what_fails(conn, seen.since, now, _GROUPS)
        beginning = _beginning(conn) if not seen.whole.queued and not seen.whole.all_ended else None
    return {
        "look": look,
        "looks": [(name, SPANS[name][0].removeprefix("Last ")) for name in LOOKS],
        "seen": seen,
        "fails": fails,
        "each": _EACH[look],
        "pace": _pace(seen.per_minute),
        "busiest": list(seen.by_function[:_FUNCTIONS]),
        "failing": _failing(seen.by_function),
        "beginning": beginning,
        "runs_of": lambda it: _runs_of(seen, it),
        "failed_runs": f"/runs?{urlencode({'status': 'failed', 'by': 'ended', 'from': iso(seen.since)})}",
        "every": EVERY,
        "most_stack": _MOST_STACK,
        "first_groups": _FIRST_GROUPS,
        "mark": _mark(seen, fails, beginning),
    }


def _failing(of_functions: Any) -> list[OfFunction]:
    """The functions that fail most, in numbers."""
    return sorted((it for it in of_functions if it.failed), key=lambda it: -it.failed)[:_FUNCTIONS]


def _runs_of(seen: Overview, alike: Alike) -> str:
    """What the list of runs, and an order to many, are asked for to mean exactly the runs of a group."""
    assert alike.function is not None
    wanted = {
        "status": "failed",
        "function": alike.function.slug,
        "failure": alike.group.failure,
        "by": "ended",
        "from": iso(seen.since),
    }
    return urlencode(wanted)


def _pace(per_minute: float) -> str:
    """So many runs in the shortest unit of time in which there is one."""
    for minutes, unit in ((1, "a minute"), (60, "an hour")):
        if per_minute * minutes >= 1:
            return f"{per_minute * minutes:,.1f} {unit}"
    return f"{per_minute * 1440:.1f} a day"


def _mark(seen: Overview, fails: WhatFails, beginning: Beginning | None) -> str:
    return mark([seen.parts, seen.by_function, seen.counted_until, fails, beginning])


def _beginning(conn: Connection) -> Beginning | None:
    """What there is where nothing has ever been run; None: something has."""
    if search_runs(conn, RunFilter(), limit=1).items:
        return None
    declared = [_read(it) for it in functions.functions_of(conn)]
    names = [trigger.event for it in declared if it is not None for trigger in it.triggers if trigger.event]
    return Beginning(len(functions.all_apps(conn)), next((name for name in names if "*" not in name), None))


def _read(stored: StoredFunction) -> Function | None:
    try:
        return read_function(orjson.loads(stored.config), stored.slug, ours=True)
    except RequestError:
        return None
