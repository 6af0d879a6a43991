"""Debug sessions: this server has none, and says so."""

from __future__ import annotations

from typing import NoReturn

from ariadne import MutationType, ObjectType

from orchestrator.api.graphql.fields import Info
from orchestrator.errors import RequestError

query = ObjectType("Query")
mutation = MutationType()


class NoDebugSessionsError(RequestError):
    """There are no debug sessions on this server: run a run again, from a step if need be, with `rerun`."""

    code = "not_supported"


@query.field("debugRun")
@query.field("debugSession")
@mutation.field("createDebugSession")
def _refuse(_root: object, _info: Info, **_given: object) -> NoReturn:
    raise NoDebugSessionsError


def refuse_session(session: str | None, run: str | None) -> None:
    """Raise `NoDebugSessionsError` for whoever wants something to be part of one."""
    if session is not None or run is not None:
        raise NoDebugSessionsError
