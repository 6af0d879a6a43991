"""The queue: what there is to do, why it waits, who works, and how database and broker are."""

from __future__ import annotations

from flask import Response

from orchestrator.api.access import needs
from orchestrator.api.answers import envelope
from orchestrator.api.current import current_server
from orchestrator.api.queue_shapes import QueueShape, queue_shape
from orchestrator.api.routing import blueprint
from orchestrator.api.schemas import enveloped
from orchestrator.core.scope import Scope

routes = blueprint("queue", "What there is to do, and why it waits.")


@routes.route("/v1/queue")
@needs(Scope.READ)
@routes.response(200, enveloped(QueueShape))
def get_queue() -> Response:
    """Tell what is to be done now and later, why it waits, who works, and how database and broker are.

    Of each state at most 5 000 jobs are counted; `exact` is false where there are more.
    """
    return envelope(queue_shape(current_server().surveyor.survey()))
