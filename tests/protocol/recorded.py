"""Recorded traffic between the official SDKs and the server they were made for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "captures"
NAMES = ("python-sdk", "typescript-sdk-checkpointing", "typescript-sdk-no-checkpointing")


@dataclass(frozen=True)
class Exchange:
    """One recorded exchange; `request` is None where it was not kept."""

    source: str
    label: str
    kind: str
    query: str
    request_headers: dict[str, str]
    request: Any
    status: int
    headers: dict[str, str]
    answer: Any

    @property
    def target(self) -> str | None:
        """The step the call was for."""
        step = self.query.partition("stepId=")[2]
        return None if step == "step" else step

    @property
    def answer_body(self) -> bytes:
        """The answer's body, as compact JSON."""
        return json.dumps(self.answer, separators=(",", ":")).encode()


def exchanges(kind: str) -> Iterator[Exchange]:
    """Give all recorded exchanges of a kind (`call`, `register`)."""
    for name in NAMES:
        for line in (_FOLDER / f"{name}.jsonl").read_text().splitlines():
            fields = json.loads(line)
            if fields["kind"] == kind:
                yield Exchange(
                    source=name,
                    label=fields["label"],
                    kind=kind,
                    query=fields.get("query", ""),
                    request_headers=fields["request_headers"],
                    request=(fields.get("request") or {}).get("json"),
                    status=fields.get("status", 0),
                    headers=fields.get("headers", {}),
                    answer=fields["answer"]["json"],
                )
