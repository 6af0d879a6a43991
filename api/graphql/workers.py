"""Workers that connect by themselves: this server has no gateway for them, so that there are none."""

from __future__ import annotations

from ariadne import ObjectType

from orchestrator.api.graphql.fields import Info
from orchestrator.api.graphql.pages import check_first, connection
from orchestrator.store.filters import Page

query = ObjectType("Query")


@query.field("workerConnections")
def _worker_connections(
    _root: object, _info: Info, first: int, after: str | None = None, **_filters: object
) -> dict[str, object]:
    check_first(first)
    none: Page[object] = Page((), (), has_next=False, end_cursor=None)
    return connection(none, after, lambda: 0)


@query.field("workerConnection")
def _worker_connection(_root: object, _info: Info, **_given: object) -> None:
    return None
