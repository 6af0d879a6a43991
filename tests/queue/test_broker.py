"""What Kombu and Celery are told of a broker."""

from __future__ import annotations

import pytest
from celery import Celery

from orchestrator.attach.settings import configuration
from orchestrator.celery import make_app
from orchestrator.config import load
from orchestrator.queue import broker
from orchestrator.queue.broker import EXECUTOR_QUEUE, RUNNER_QUEUE, Broker


def told(**flags: object) -> Broker:
    """The broker of a configuration that has one."""
    found = broker.of(load({}, flags))
    assert found is not None
    return found


def test_quorum_queues_have_names_of_their_own_so_that_both_kinds_can_be_there_while_one_takes_the_others_place() -> (
    None
):
    classic, quorum = told(broker_url="amqp://h"), told(broker_url="amqp://h", broker_queue_type="quorum")

    assert ["orchestrator.runner", "orchestrator.runner.quorum"] == [
        it.queue(RUNNER_QUEUE).name for it in (classic, quorum)
    ]
    assert [None, {"x-queue-type": "quorum"}] == [it.queue(RUNNER_QUEUE).queue_arguments for it in (classic, quorum)]


@pytest.mark.parametrize("url", ["redis://h:1/0", "sqs://", "memory://"])
def test_other_brokers_know_one_kind_of_queue(url: str) -> None:
    assert told(broker_url=url).queue(RUNNER_QUEUE) == told(broker_url=url, broker_queue_type="quorum").queue(
        RUNNER_QUEUE
    )


def test_options_come_before_ours_and_leave_the_rest() -> None:
    ours = told(broker_url="sqs://").transport_options
    options = '{"region": "eu-north-1", "wait_time_seconds": 20}'

    assert (
        ours | {"region": "eu-north-1", "wait_time_seconds": 20}
        == told(broker_url="sqs://", broker_options=options).transport_options
    )


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_a_worker_consumes_the_queues_that_are_announced_to(queue_type: str) -> None:
    config = load({}, {"broker_url": "amqp://h", "broker_queue_type": queue_type})
    app, found = make_app(config), broker.of(config)

    assert found is not None
    assert {found.queue_name(RUNNER_QUEUE), found.queue_name(EXECUTOR_QUEUE)} == set(app.amqp.queues)
    # Quorum queues refuse a prefetch that is set for a whole channel.
    assert (queue_type == "quorum") == app.conf.worker_detect_quorum_queues


def test_hints_go_over_an_attached_applications_broker_with_its_options() -> None:
    theirs = Celery("shop", broker="sqs://", broker_transport_options={"region": "eu-north-1"}, set_as_current=False)

    config = configuration(theirs)

    assert ("sqs://", {"region": "eu-north-1"}) == (config.broker_url, config.broker_options)
