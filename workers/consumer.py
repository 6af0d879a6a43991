"""Celery's consumer without its delayed delivery.

Where a queue is a quorum queue, Celery makes 28 queues and exchanges in which messages wait for their time.  Our
messages carry their times themselves and are never delayed by the broker.
"""

from __future__ import annotations

from celery.worker.consumer import consumer

#: As `module:Class.name` of Celery, by which its blueprints name their steps.
_DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class Consumer(consumer.Consumer):
    """What the setting `worker_consumer` names."""

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc, valid-type]
        """The steps."""

        default_steps = [  # noqa: RUF012
            step for step in consumer.Consumer.Blueprint.default_steps if step != _DELAYED_DELIVERY
        ]
