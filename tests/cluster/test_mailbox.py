"""Celery's mailbox of a worker on RabbitMQ: one for each node name, and no hindrance to who comes after a death."""

from __future__ import annotations

import os

import kombu
import pytest

from orchestrator.celery import make_app
from orchestrator.config import load
from tests.services import require

pytestmark = pytest.mark.services


def test_a_worker_begins_while_the_broker_still_has_the_connection_of_the_one_killed_under_its_name():
    url = require("rabbitmq")
    node = f"worker{os.getpid()}@here"
    mailbox = make_app(load({}, {"mode": "start", "broker_url": url})).control.mailbox

    with kombu.Connection(url) as killed, kombu.Connection(url) as restarted:
        mailbox.get_queue(node)(killed.channel()).declare()
        mailbox.get_queue(node)(restarted.channel()).declare()

        mailbox.get_queue(node)(restarted.channel()).delete()
