"""Parallel steps with the official Python SDK: each runs once, with what comes before it in its branch."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from functools import partial

import inngest
import pytest
from inngest._internal.server_lib import ParallelMode

from tests.wire.harness import App, Server


@pytest.mark.parametrize("mode", [ParallelMode.WAIT, ParallelMode.RACE])
def test_branches_of_several_steps_each_go_on_with_their_own_results(server: Server, app: App, mode: ParallelMode):
    ran = Counter[str]()

    @app.function("branches", "parallel/branches")
    def branches(ctx: inngest.ContextSync) -> object:
        def step(name: str, value: int) -> int:
            ran[name] += 1
            return value

        def branch(number: int) -> int:
            first = ctx.step.run(f"{number}-first", step, f"{number}-first", number * 10)
            second = ctx.step.run(f"{number}-second", step, f"{number}-second", first + 1)
            return ctx.step.run(f"{number}-third", step, f"{number}-third", second + 1)

        start = ctx.step.run("start", step, "start", 1)
        found = ctx.group.parallel(tuple(partial(branch, number) for number in range(4)), mode)
        return [start, *found]

    app.serve([branches])
    run = server.ended(server.send("parallel/branches"))

    assert [1, 2, 12, 22, 32] == run["output"]
    assert (13, {1}) == (len(ran), set(ran.values()))


def test_of_many_parallel_steps_one_is_tried_again_and_all_come_together(server: Server, app: App):
    tried = list[int]()

    @app.function("many", "parallel/many")
    def many(ctx: inngest.ContextSync) -> object:
        def step(number: int) -> int:
            tried.append(number)
            if number == 7 and tried.count(7) == 1:
                raise ValueError("not yet")
            return number

        return sum(ctx.group.parallel(tuple(partial(ctx.step.run, str(n), step, n) for n in range(40))))

    app.serve([many])
    [run] = server.runs_of(server.send("parallel/many"))
    server.failed(run["run_id"], 1)
    server.skip(timedelta(minutes=1))

    assert sum(range(40)) == server.run_ended(run["run_id"])["output"]
    assert {7: 2} == {number: count for number, count in Counter(tried).items() if count > 1}
