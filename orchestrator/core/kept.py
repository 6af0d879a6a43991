"""What is kept of a request to wait, for people: the pause that stands for it is gone once it has its answer."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.core.message import InvokeAsked, SignalAsked, WaitAsked


def kept(asked: WaitAsked | InvokeAsked | SignalAsked) -> str:
    """Write it as a JSON object; the data of an invoke are in the event that it sends, and not kept twice."""
    match asked:
        case WaitAsked(event=event, expression=expression, others=others):
            about = _event(event, expression)
            if others:
                about["or"] = [_event(*other) for other in others]
        case InvokeAsked(function=function):
            about = {"function": function}
        case SignalAsked(signal=signal):
            about = {"signal": signal}
    return json.dumps(about, ensure_ascii=False)


def _event(name: str, expression: str | None) -> dict[str, Any]:
    return {"event": name} if expression is None else {"event": name, "if": expression}
