"""A process that begins waits for a database that is away, and for nothing else."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from orchestrator.errors import ConfigError
from orchestrator.store import schema
from orchestrator.store.patience import patiently
from tests.cluster.link import Network
from tests.services import own_database
from tests.wire.harness import until

LONG = timedelta(seconds=60)


def test_a_check_of_the_schema_outlasts_a_database_that_is_away():
    network = Network()
    with own_database("postgresql") as url:
        schema.upgrade(url)
        whole = make_url(url)
        link = network.link(whole.port or 5432)
        by_link = whole.set(host="127.0.0.1", port=link.port).render_as_string(hide_password=False)
        tries: list[int] = []

        def check() -> None:
            tries.append(1)
            schema.check(by_link)

        link.refuse()
        checking = threading.Thread(target=lambda: patiently(check, LONG))
        checking.start()
        until(lambda: len(tries) > 1, "a second try")
        assert checking.is_alive()
        link.allow()

        checking.join(30)
        assert not checking.is_alive()
    network.stop()


def test_what_is_wrong_with_the_database_is_told_at_once():
    with own_database("postgresql") as url, pytest.raises(ConfigError, match="no tables yet"):
        patiently(lambda: schema.check(url), LONG)


def test_patience_ends():
    with pytest.raises(OperationalError):
        patiently(lambda: schema.check("postgresql+psycopg://root@127.0.0.1:1/none"), timedelta(seconds=1))
