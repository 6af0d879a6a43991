"""A call as the SDKs want it: URL, headers and body.

The body is put together as text.  Events and memos are JSON texts already; reading them again would cost time with
every step, and would change users' numbers and the order of their keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from orchestrator.protocol import headers as names

#: Beyond this the SDK fetches events and memos itself (`use_api`).
MAX_INLINE_STATE = 4 * 1024 * 1024 - 1024
#: What `stepId` says when the function is called from its top.
TOP = "step"
#: The request version of a run whose SDK has not told its own yet.
NO_VERSION = -1

_STEP_PARAMETER = "stepId"


@dataclass(frozen=True, slots=True)
class State:
    """Events and memo as the bodies of calls have them: put together once for all calls that send the same."""

    first_event: str
    events: str
    #: The memo, and its ids alone.
    steps: str
    stack: str
    #: The bytes that it adds to a body.
    size: int

    @classmethod
    def of(cls, events: Sequence[str], memo: Mapping[str, str], inputs: Mapping[str, str] | None = None) -> State:
        """Write events (at least one) and the values of `memo`, which are JSON texts.

        `inputs` are what steps get in place of their own; those have no outcome, and so no place in the stack.
        """
        given = memo_of_inputs(inputs) if inputs else {}
        steps = ",".join(f"{_text(step_id)}:{value}" for step_id, value in {**memo, **given}.items())
        return cls(
            events[0], ",".join(events), steps, ",".join(map(_text, memo)), state_size(events, {**memo, **given})
        )


def request_body(
    state: State,
    *,
    run_id: str,
    attempt: int,
    max_attempts: int,
    current: int,
    plan_only: bool,
    request_version: int,
    job_id: str,
    generation: int,
    use_api: bool,
    checkpoints: tuple[str, str] | None = None,
    defers: Mapping[str, bool] | None = None,
) -> str:
    """Write the body of a call.

    With `use_api` the SDK is told to fetch events and memos; the first event is sent all the same, as SDKs demand it.
    `checkpoints` (the function's id and that of the dispatch) invites the TypeScript SDK to send some.
    `defers` are what the run has deferred, and whether that can still be dropped.
    """
    # The URL and a header name the step that is called; `step_id` was recorded as "step" in every call.
    invitation = f'"fn_id":{_text(checkpoints[0])},"qi_id":{_text(checkpoints[1])},' if checkpoints else ""
    context = (
        f'{{{invitation}"attempt":{attempt},"disable_immediate_execution":{_flag(plan_only)},"env":"","generation_id":{generation},'
        f'"job_id":{_text(job_id)},"max_attempts":{max_attempts},"run_id":{_text(run_id)},'
        f'"stack":{{"current":{current},"stack":[{state.stack}]}},"step_id":"{TOP}","use_api":{_flag(use_api)}}}'
    )
    deferred = ",".join(f'{_text(it)}:{{"abortable":{_flag(still)}}}' for it, still in (defers or {}).items())
    events, steps = ("", "") if use_api else (state.events, state.steps)
    return (
        f'{{"ctx":{context},"defers":{{{deferred}}},"event":{state.first_event},"events":[{events}],"steps":{{{steps}}},'
        f'"use_api":{_flag(use_api)},"version":{request_version}}}'
    )


def memo_of_inputs(inputs: Mapping[str, str]) -> dict[str, str]:
    """What stands in the place of an outcome, for steps that are to run with another input (JSON arrays)."""
    return {step_id: f'{{"input":{value}}}' for step_id, value in inputs.items()}


def request_url(url: str, target: str | None) -> str:
    """Set `stepId` in a function's registered URL; everything else in it stays as it is."""
    address, hash_mark, fragment = url.partition("#")
    path, _, query = address.partition("?")
    kept = [part for part in query.split("&") if part and part.partition("=")[0] != _STEP_PARAMETER]
    kept.append(f"{_STEP_PARAMETER}={quote(target or TOP, safe='')}")
    return f"{path}?{'&'.join(kept)}{hash_mark}{fragment}"


def request_headers(
    *,
    run_id: str,
    target: str | None,
    request_version: int,
    job_id: str,
    generation: int,
    request_id: str | None = None,
    signature: str | None = None,
) -> dict[str, str]:
    """Name the headers of a call; `request_id` is one per dispatch, `signature` comes from `protocol.signature`."""
    headers = {
        names.CONTENT_TYPE: names.JSON,
        names.RUN_ID: run_id,
        names.STEP_ID: target or TOP,
        names.REQUEST_VERSION: str(request_version),
        names.JOB_ID: job_id,
    }
    if generation > 0:
        headers[names.GENERATION_ID] = str(generation)
    if request_id is not None:
        headers[names.REQUEST_ID] = request_id
    if signature is not None:
        headers[names.SIGNATURE] = signature
    return headers


def state_size(events: Iterable[str], memo: Mapping[str, str]) -> int:
    """Count the bytes that events and memos would add to a body."""
    return sum(map(_size, events)) + sum(_size(key) + _size(value) + 4 for key, value in memo.items())


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


# Made once: `json.dumps` would make one for every id of a long memo.
_text = json.JSONEncoder(ensure_ascii=False).encode


def _flag(value: bool) -> str:
    return "true" if value else "false"
