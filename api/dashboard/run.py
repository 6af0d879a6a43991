"""One run: where its time went, what each step took and gave, why it waits, and what can be done about it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from flask import Response, request

from orchestrator.api.current import current_server
from orchestrator.api.dashboard.lists import address, text
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.run_links import Links, links
from orchestrator.api.dashboard.templating import go, nothing_new, page
from orchestrator.api.dashboard.visitor import actor
from orchestrator.api.dashboard.waterfall import Waterfall, waterfall
from orchestrator.api.routing import check_ulid
from orchestrator.core.spans import Span, SpanKind, SpanPlace, SpanStatus
from orchestrator.core.waiting import Reason
from orchestrator.engine.bury import requeue
from orchestrator.engine.cancel import cancel
from orchestrator.engine.rerun import FromStep, rerun, takes_input
from orchestrator.engine.trace import SpanOutput, span_output, trace
from orchestrator.engine.why import why
from orchestrator.errors import NotFoundError
from orchestrator.ids import ulid_moment
from orchestrator.store import functions, history, run_mark, runs, search, steps
from orchestrator.store.database import Connection
from orchestrator.store.functions import StoredFunction
from orchestrator.store.history import Entry
from orchestrator.store.search import RunRow

#: Milliseconds between two looks for something new; and the same for each step, since a page of many steps costs more
#: to write, and a run of many steps may change all the time.
EVERY, EVERY_STEP = 1_000, 10
#: Steps that a page shows.
MOST_STEPS = 1_000
#: What a run waits for may change without a change of the run: it is told anew so often.
_TOLD = timedelta(seconds=15)
#: A run whose id is so young may be about to begin: whoever invokes a function is told the id before the run is there.
_YOUNG = timedelta(minutes=1)
#: Milliseconds between two looks for it.
_EVERY_SOON = 500
#: Failed steps that are looked at for the one that a run failed by.
_SUSPECTS = 5


@dataclass(frozen=True, slots=True)
class Sight:
    """All that the page of a run shows but the outcome of a span."""

    run: RunRow
    function: StoredFunction | None
    root: Span
    fall: Waterfall
    truncated: bool
    reasons: list[Reason]
    story: list[Entry]
    links: Links
    mark: str

    def span(self, span_id: str) -> Span | None:
        """One of its spans, or one try of a step."""
        if span_id == self.root.id:
            return self.root
        every = (it for child in self.root.children for it in (child, *child.children))
        return next((it for it in every if it.id == span_id), None)


@routes.page("/runs/<run_id>")
def show_run(run_id: str) -> Response:
    """Show a run, and one of its spans more closely."""
    known = check_ulid("run_id", run_id)
    with current_server().parts.database.read() as conn:
        if _is_promised(conn, known):
            asks = "HX-Request" in request.headers
            return nothing_new() if asks else page("run_soon.html", 202, run_id=known, every=_EVERY_SOON)
        sight = _sight(conn, known)
        closely = _closely(conn, sight)
    return page("run.html", **_context(sight), **closely)


@routes.page("/runs/<run_id>/live")
def watch_run(run_id: str) -> Response:
    """What changes of a run, for a page that is open: nothing where nothing changed."""
    with current_server().parts.database.read() as conn:
        known = check_ulid("run_id", run_id)
        if _mark(conn, known) == request.args.get("seen", ""):
            return nothing_new()
        sight = _sight(conn, known)
        closely = _closely(conn, sight)
    return page("run_live.html", **_context(sight), **closely)


@routes.page("/runs/<run_id>/raw")
def raw_text(run_id: str) -> Response:
    """The whole of what a span took or gave, as text."""
    part = text(request.args, "part")
    with current_server().parts.database.read() as conn:
        found = span_output(conn, text(request.args, "span"))
    whole = {"input": found.input, "output": found.data}.get(part) if found is not None else None
    if whole is None:
        raise NotFoundError(f"run {run_id[:40]} has no such text")
    return Response(whole, content_type="text/plain; charset=utf-8")


@routes.action("/runs/<run_id>/cancel")
def cancel_run(run_id: str) -> Response:
    """Cancel a run; one that has ended stays as it is."""
    parts, known = current_server().parts, check_ulid("run_id", run_id)
    done = cancel(parts, known, f"cancelled by {actor() or 'the dashboard'}", actor())
    return go(f"/runs/{known}", "The run is cancelled" if done else "The run had ended before")


@routes.action("/runs/<run_id>/rerun")
def rerun_run(run_id: str) -> Response:
    """Run again what a run did: from its beginning or from one of its steps, perhaps with another input."""
    parts, form, known = current_server().parts, request.form, check_ulid("run_id", run_id)
    step, given = text(form, "step"), form.get("input", "").strip()
    with parts.database.read() as conn:
        other = given if step and given and not _is_its_own(conn, SpanPlace(known, step), given) else None
    made = rerun(parts, known, FromStep(step, other) if step else None, actor())
    return go(f"/runs/{made}", f"This is what {run_id} did, run again")


@routes.action("/runs/<run_id>/requeue")
def requeue_run(run_id: str) -> Response:
    """Let a run go on that failed because its workers were lost too often."""
    parts, known = current_server().parts, check_ulid("run_id", run_id)
    requeue(parts, known, actor())
    return go(f"/runs/{known}", "The run goes on from its memoised steps")


def _sight(conn: Connection, run_id: str) -> Sight:
    run, traced, seen = search.row(conn, run_id), trace(conn, run_id, MOST_STEPS), _mark(conn, run_id)
    stored = runs.get(conn, run_id)
    if run is None or traced is None or stored is None:
        raise NotFoundError(f"there is no run {run_id}; runs that ended long ago are deleted")
    now = current_server().parts.clock.now()
    function, story = functions.function(conn, stored.function_id), history.of_run(conn, run_id)
    reasons = why(conn, stored, function, steps.of_run(conn, run_id), story, now) if not stored.status.final else []
    fall = waterfall(traced.root, now, text(request.args, "zoom"))
    return Sight(
        run=run,
        function=function,
        root=traced.root,
        fall=fall,
        truncated=traced.truncated,
        reasons=reasons,
        story=story,
        links=links(conn, stored, traced.root),
        mark=seen or "",
    )


def _is_promised(conn: Connection, run_id: str) -> bool:
    """Whether there is no such run yet, and its id so young that there may be one soon."""
    try:
        age = current_server().parts.clock.now() - ulid_moment(run_id)
    except ValueError:  # later than any year
        return False
    return abs(age) < _YOUNG and search.row(conn, run_id) is None


def _is_its_own(conn: Connection, place: SpanPlace, given: str) -> bool:
    """Whether what a form gives a step is the input that the step had: then it is no other one."""
    outcome = span_output(conn, place.encode())
    try:
        return outcome is not None and json.dumps(json.loads(outcome.input or "null")) == json.dumps(json.loads(given))
    except (ValueError, RecursionError):  # rerunning says what is wrong with it
        return False


def _mark(conn: Connection, run_id: str) -> str | None:
    found = run_mark.run_mark(conn, run_id)
    if found is None:
        return None
    round_ = current_server().parts.clock.now().timestamp() // _TOLD.total_seconds()
    return sha256(f"{found}{round_}".encode()).hexdigest()[:16]


def _outcome(conn: Connection, span: Span) -> SpanOutput | None:
    return span_output(conn, span.output_id or span.id)


def _context(sight: Sight) -> dict[str, Any]:
    args = request.args.copy()
    args.poplist("seen")
    path = f"/runs/{sight.run.id}"
    return {
        "sight": sight,
        "run": sight.run,
        "every": None if sight.run.status.final else max(EVERY, EVERY_STEP * len(sight.fall.rows)),
        "poll": address(f"{path}/live", args, seen=sight.mark),
        "here": lambda **changes: address(path, args, **changes),
        "begun": sight.root.queued_at,
    }


def _closely(conn: Connection, sight: Sight) -> dict[str, Any]:
    """The span that the address chooses, more closely; the run as a whole where it chooses none."""
    chosen = sight.span(text(request.args, "span")) or sight.root
    outcome, function = _outcome(conn, chosen), sight.function
    return {
        "chosen": chosen,
        "outcome": outcome,
        "tries": [it for it in chosen.children if it.kind == "ATTEMPT"] if chosen is not sight.root else [],
        # A try has no line of its own in the timeline: its step's is marked.
        "at": chosen.id if chosen in (sight.root, *sight.root.children) else chosen.parent_id,
        "until": _until(chosen),
        "other_input": function is not None and takes_input(conn, function, chosen.op),
        "blamed": _blamed(conn, sight, outcome) if chosen is sight.root else None,
        "parent": sight.span(chosen.parent_id or "") or sight.root,
    }


def _blamed(conn: Connection, sight: Sight, outcome: SpanOutput | None) -> Span | None:
    """The step whose error a failed run ended with; None: the error is the function's own."""
    if outcome is None or outcome.error is None:
        return None
    failed = [it for it in sight.root.children if it.status is SpanStatus.FAILED and it.kind is not SpanKind.ATTEMPT]
    for span in failed[-_SUSPECTS:][::-1]:
        found = _outcome(conn, span)
        if found is not None and found.error is not None and found.error.message == outcome.error.message:
            return span
    return None


def _until(span: Span) -> datetime | None:
    """When a span that is open ends by itself."""
    return getattr(span.info, "until", None) or getattr(span.info, "timeout", None) if span.info is not None else None
