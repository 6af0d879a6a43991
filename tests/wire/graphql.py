"""What the Python SDK's own tests ask of a server by GraphQL: the same queries, in the same order."""

from __future__ import annotations

import json
from typing import Any

from tests.wire.harness import Server, until

_STEPS = """
query GetHistory($run_id: String!) {
    run(runID: $run_id) {
        trace {
            childrenSpans {
                name
                outputID
            }
        }
    }
}
"""
_OUTPUT = """
query GetHistory($output_id: String!) {
    runTraceSpanOutputByID(outputID: $output_id) {
        data
        error {
            message
            name
            stack
        }
    }
}
"""
_RUNS = """
query GetRunFromEventID($event_id: ID!) {
    event(query: {eventId: $event_id}) {
        functionRuns {
            id
        }
    }
}
"""
_RUN = """
query GetRun($run_id: String!) {
    run(runID: $run_id) {
        output
        status
    }
    runTrigger(runID: $run_id) {
        payloads
    }
}
"""


def ask(server: Server, query: str, **variables: object) -> Any:
    """What a query gives that has no errors."""
    status, answer = server.request("POST", "/v0/gql", {"query": query, "variables": variables})
    assert 200 == status, answer
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


class Helper:
    """Asks as the SDK's helper does."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def run_ids(self, event_id: str, count: int = 1) -> list[str]:
        """Wait until the event has started `count` runs; returns their ids."""

        def look() -> list[str] | None:
            event = ask(self._server, _RUNS, event_id=event_id)["event"]
            runs = event.get("functionRuns") or []
            return [run["id"] for run in runs] if len(runs) == count else None

        return until(look, f"{count} runs of event {event_id}")

    def ended(self, run_id: str, status: str) -> dict[str, Any]:
        """Wait until the run has this status; it must not end otherwise."""

        def look() -> dict[str, Any] | None:
            found = self.look(run_id)
            assert found["status"] in ("QUEUED", "RUNNING", status), found
            return found if found["status"] == status else None

        return until(look, f"run {run_id} {status}")

    def look(self, run_id: str) -> dict[str, Any]:
        """Status and output of the run, with the event that started it."""
        found = ask(self._server, _RUN, run_id=run_id)
        return found["run"] | {"event": json.loads(found["runTrigger"]["payloads"][0])}

    def step_output(self, run_id: str, step: str) -> dict[str, Any]:
        """What a step came to, by its name."""
        spans = ask(self._server, _STEPS, run_id=run_id)["run"]["trace"]["childrenSpans"]
        output_id = next(span["outputID"] for span in spans if span["name"] == step)
        assert output_id, f"{step} has no output"
        found = ask(self._server, _OUTPUT, output_id=output_id)["runTraceSpanOutputByID"]
        if found["error"] is None:
            del found["error"]
        return found | {"data": json.loads(found["data"]) if found["data"] is not None else None}
