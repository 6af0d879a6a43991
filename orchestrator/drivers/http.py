"""The driver for apps behind an HTTP endpoint: one request for a call, and whatever comes of it is a reply.

A call is a POST to what the app serves for that; a run of a durable endpoint is called by repeating its own request.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from orchestrator.clock import Clock
from orchestrator.core.message import Asked, Op, Returned, StepDone, StepErrored, Threw
from orchestrator.drivers.base import Answer, Call, HttpClient
from orchestrator.drivers.signed import request_signed
from orchestrator.errors import TransportError
from orchestrator.ids import new_ulid
from orchestrator.protocol import headers as names
from orchestrator.protocol.checkpoint import Dispatch, dispatch_text
from orchestrator.protocol.endpoint import endpoint_headers, is_endpoint, original_of
from orchestrator.protocol.reply import parse_reply, transport_failure
from orchestrator.protocol.request import MAX_INLINE_STATE, State, request_body, request_headers, request_url


class HttpDriver:
    """Call functions over HTTP; with a signing key every request carries its proof, made anew for each attempt."""

    def __init__(
        self,
        client: HttpClient,
        *,
        clock: Clock,
        signing_key: str | None = None,
        signing_key_fallback: str | None = None,
        server_kind: str = names.KIND_DEV,
    ) -> None:
        self._client = client
        self._clock = clock
        self._keys = tuple(key for key in (signing_key, signing_key_fallback) if key)
        self._server_kind = server_kind

    def call(self, call: Call) -> Answer:
        """Make one call and wait for its answer; a failure on the way is a `Threw` that may be retried."""
        method, url, body, headers = self._request(call)
        began = self._clock.now()
        try:
            response = request_signed(
                self._client,
                method,
                url,
                headers=headers,
                body=body,
                timeout=call.timeout,
                keys=self._keys,
                clock=self._clock,
            )
        except TransportError as error:
            return Answer(transport_failure(error.code, error.message, call.target, call.attempt))
        parsed = parse_reply(
            response.status,
            response.headers,
            response.body,
            target=call.target,
            attempt=call.attempt,
            now=self._clock.now(),
        )
        return Answer(_timed(parsed.reply, began), parsed.request_version, parsed.sdk)

    def _request(self, call: Call) -> tuple[str, str, bytes, dict[str, str]]:
        headers = self._headers(call)
        if not is_endpoint(call.url):
            return "POST", request_url(call.url, call.target), _body(call), headers
        original = original_of(call.events[0])
        headers |= endpoint_headers(original, target=call.target, plan_only=call.plan_only)
        return original.method, original.url, original.body, headers

    def _headers(self, call: Call) -> dict[str, str]:
        headers = request_headers(
            run_id=call.run_id,
            target=call.target,
            request_version=call.request_version,
            job_id=call.job_id,
            generation=call.generation,
            request_id=new_ulid(),
        )
        headers[names.SERVER_KIND] = self._server_kind
        return headers


def _body(call: Call) -> bytes:
    state = _state(call)
    return request_body(
        state,
        run_id=call.run_id,
        attempt=call.attempt,
        max_attempts=call.max_attempts,
        current=call.current,
        plan_only=call.plan_only,
        request_version=call.request_version,
        job_id=call.job_id,
        generation=call.generation,
        use_api=state.size > MAX_INLINE_STATE,
        checkpoints=_checkpoints(call),
        defers=call.defers,
    ).encode()


def _state(call: Call) -> State:
    if call.shared is None:
        return State.of(call.events, call.memo, call.inputs)
    if not isinstance(call.shared.made, State):
        call.shared.made = State.of(call.events, call.memo, call.inputs)
    return call.shared.made


def _checkpoints(call: Call) -> tuple[str, str] | None:
    if call.checkpoints_of is None:
        return None
    return call.checkpoints_of, dispatch_text(Dispatch(int(call.job_id), call.generation))


def _timed(reply: Returned | Threw | Asked, began: datetime) -> Returned | Threw | Asked:
    """A step that ran in this call, and whose SDK does not say when, began with it at the earliest."""
    if not isinstance(reply, Asked):
        return reply
    return replace(reply, ops=tuple(_with_start(op, began) for op in reply.ops))


def _with_start(op: Op, began: datetime) -> Op:
    if isinstance(op, StepDone | StepErrored) and op.started_at is None:
        return replace(op, started_at=began)
    return op
