"""The workloads: what each asks of a target, and how it is measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.bench.figures import Row, gaps, percentile, spans
from tests.bench.ingest import w6, w6b
from tests.bench.measure import Measurement, missing
from tests.bench.sizes import Sizes
from tests.bench.stage import Stage

#: How long a killed server stays down, in seconds.
PAUSE = 1.0
#: W5: events a second, and what the last waits get to be open, in seconds.
RATE, WAITS_OPEN = 25, 2.0


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload by name; `app`: it needs one; `durable`: it kills the server, whose data must survive."""

    name: str
    what: str
    run: Callable[[Stage, Sizes], Row]
    app: bool = True
    durable: bool = False


def w1(stage: Stage, sizes: Sizes) -> Row:
    """Many runs of one step."""
    return _runs(stage, sizes.runs, "w1-", "noop", "W1")


def w8(stage: Stage, sizes: Sizes) -> Row:
    """W1 under five limits that have room for all."""
    return _runs(stage, sizes.runs, "w8-", "limited", "W8")


def w8b(stage: Stage, sizes: Sizes) -> Row:
    """W1 under a limit of five, so that nearly every run has to wait for its slot."""
    return _runs(stage, sizes.runs, "w8b-", "crowded", "W8b")


def _runs(stage: Stage, count: int, prefix: str, function: str, name: str) -> Row:
    measured = Measurement(stage, name)
    sent = stage.send(count, prefix, function)
    stage.wait("d", prefix, count, name)
    ended = stage.records.first("d", prefix)
    seconds = (max(ended.values(), default=0) - min(sent.at.values())) / 1e9
    times = spans(sent.at, ended)
    return measured.row(sent, len(ended), "run", times, seconds=seconds, broken=missing(stage, prefix, count))


def w2a(stage: Stage, sizes: Sizes) -> Row:
    """One chain of steps, alone."""
    measured = Measurement(stage, "W2a")
    sent = stage.send(1, "w2a-", "chain", k=sizes.chain * stage.target.longer)
    stage.wait("d", "w2a-", 1, "W2a")
    bodies = stage.records.steps("w2a-")
    first = (bodies[0] - sent.at["w2a-0"]) / 1e6 if bodies else 0.0
    return measured.row(
        sent, len(bodies), "step", gaps(bodies), more=f"first step {first:.1f} ms", broken=missing(stage, "w2a-", 1)
    )


def w2b(stage: Stage, sizes: Sizes) -> Row:
    """Many chains together."""
    count, length = sizes.chains
    measured = Measurement(stage, "W2b")
    sent = stage.send(count, "w2b-", "chain", k=length)
    stage.wait("d", "w2b-", count, "W2b")
    bodies = stage.records.steps("w2b-")
    seconds = (bodies[-1] - min(sent.at.values())) / 1e9 if bodies else None
    broken = missing(stage, "w2b-", count)
    return measured.row(sent, len(bodies), "step", seconds=seconds, broken=broken, more=f"{count} x {length}")


def w3(stage: Stage, sizes: Sizes) -> Row:
    """Parallel steps and their join."""
    return _parallel(stage, "W3", sizes.width)


def w3b(stage: Stage, sizes: Sizes) -> Row:
    """Very many parallel steps of one run: for each of its calls the SDK goes through all of them."""
    return _parallel(stage, "W3b", sizes.wide)


def _parallel(stage: Stage, name: str, width: int) -> Row:
    measured, prefix = Measurement(stage, name), f"{name.lower()}-"
    sent = stage.send(1, prefix, "par", k=width)
    stage.wait("d", prefix, 1, name)
    began, bodies = sent.at[f"{prefix}0"], stage.records.steps(prefix)
    moments = [bodies[0], bodies[-1], *stage.records.first("d", prefix).values()] if bodies else []
    told = zip(("first step", "last step", "join"), moments, strict=False)
    more = ", ".join(f"{what} {(at - began) / 1e6:.0f} ms" for what, at in told)
    return measured.row(sent, len(bodies), "step", more=more, broken=missing(stage, prefix, 1))


def w4(stage: Stage, sizes: Sizes) -> Row:
    """Many runs that sleep; what counts is how late they wake, and what they hold meanwhile."""
    count, nap = sizes.sleepers, sizes.nap
    measured = Measurement(stage, "W4")
    memory = stage.memory()
    sent = stage.send(count, "w4-", "sleep", secs=nap)
    stage.wait("a", "w4-", count, "W4 asleep")
    asleep = stage.records.first("a", "w4-")
    held = (stage.memory() - memory) / count / 1024
    stage.wait("d", "w4-", count, "W4 awake")
    late = [span - nap * 1000 for span in spans(asleep, stage.records.first("w", "w4-"))]
    all_asleep = (max(asleep.values(), default=0) - min(sent.at.values())) / 1e9
    more = f"p50 and p99 are lateness; all asleep after {all_asleep:.1f} s; {held:.1f} KB a sleeper"
    return measured.row(sent, count, "run", late, more=more, broken=missing(stage, "w4-", count))


def w5(stage: Stage, sizes: Sizes) -> Row:
    """Many runs that wait for an event each; events to some at a steady rate, then to more at once."""
    count, steady, burst = sizes.waiters
    stage.send(count, "w5-", "wait")
    stage.wait("a", "w5-", count, "W5 waiting")
    time.sleep(WAITS_OPEN)
    measured = Measurement(stage, "W5")
    one = stage.send_to(range(steady), "w5-", "go", RATE)
    stage.wait("w", "w5-", steady, "W5 one by one")
    some = stage.send_to(range(steady, steady + burst), "w5-", "go")
    stage.wait("d", "w5-", steady + burst, "W5 at once")
    resumed = stage.records.first("w", "w5-")
    times, together = spans(one.at, resumed), spans(some.at, resumed)
    seconds = (max(resumed.values(), default=0) - min(some.at.values())) / 1e9
    more = (
        f"p50 and p99 at {RATE} a second with {count} waiting; {burst} at once: {burst / seconds:.0f}/s, "
        f"p50 {percentile(together, 0.5) or 0:.0f} ms, p99 {percentile(together, 0.99) or 0:.0f} ms"
    )
    lost = steady + burst - len(resumed)
    broken = f"{lost} of {steady + burst} runs were not resumed" if lost else ""
    sent = replace(one, cpu=one.cpu + some.cpu)
    return measured.row(sent, len(resumed), "event", times, more=more, broken=broken)


def w7(stage: Stage, sizes: Sizes) -> Row:
    """Kill the server when 30 % of the runs are done, start it again, and count what was lost and what came twice."""
    count = sizes.crash
    measured = Measurement(stage, "W7")
    sending = stage.sending(count, "w7-", "noop")
    stage.wait("d", "w7-", count * 3 // 10, "W7 before the kill")
    stage.kill_server()
    time.sleep(PAUSE)
    again = time.monotonic_ns()
    stage.start_server()
    ready = time.monotonic_ns()
    sent = sending()
    # By name: an event may be stored although the kill took its answer, and its run ends too.
    stage.wait_for("d", sent.acknowledged, "W7 after the kill")
    ended = stage.records.first("d", "w7-")
    after = [at for at in ended.values() if at > again]
    lost = sum(run not in ended for run in sent.acknowledged)
    first, last = ((moment(after, default=again) - again) / 1e6 for moment in (min, max))
    more = (
        f"{lost} lost, {_twice(stage)}, {sent.errors} refused; after the restart: "
        f"answers {(ready - again) / 1e6:.0f} ms, first end {first:.0f} ms, last {last:.0f} ms"
    )
    return measured.row(
        sent, len(ended), "run", cpu=False, more=more, broken=f"{lost} acknowledged runs lost" if lost else ""
    )


def _twice(stage: Stage) -> str:
    """Steps whose body ran again: those under way when the server died, and those whose run had ended already."""
    again = {step: moments for step, moments in stage.records.bodies.items() if len(moments) > 1}
    ends = stage.records.first("d", "w7-")
    completed = sum(moments[-1] > ends.get(run, moments[-1]) for (run, _), moments in again.items())
    return f"{len(again)} steps twice ({completed} after their run's end)"


WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload("W1", "runs of one step, 32 senders", w1),
        Workload("W2a", "one chain of steps", w2a),
        Workload("W2b", "many chains together", w2b),
        Workload("W3", "parallel steps and their join", w3),
        Workload("W3b", "very many parallel steps", w3b),
        Workload("W4", "sleepers", w4),
        Workload("W5", "waiters", w5),
        Workload("W6", "one event a request", w6, app=False),
        Workload("W6b", "100 events a request", w6b, app=False),
        Workload("W8", "runs of one step under five limits with room", w8),
        Workload("W8b", "runs of one step under a limit of five calls", w8b),
        Workload("W7", "kill -9 of the server", w7, durable=True),
    )
}
