"""A real little project of a team's, attached by one line: its own application, packages and web application."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.shop import CELERY, FILES, LINES, Shop
from tests.crash.process import free_port
from tests.wire.harness import Keys, request, until

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
#: Each pool, and each of the two brokers with and without Celery's event loop.
POOLS = [
    ("rabbitmq", "threads"),
    ("redis", "threads"),
    ("rabbitmq", "prefork"),
    ("redis", "prefork"),
    ("redis", "solo"),
    ("rabbitmq", "gevent"),
]
SEND = "from shop import tasks; tasks.resize.delay('their own')"


@pytest.fixture
def broker() -> str:
    """The broker of tests that name none."""
    return "rabbitmq"


@pytest.fixture
def shop(broker: str, tmp_path: Path) -> Iterator[Shop]:
    with Shop.made(broker, tmp_path) as made:
        yield made


@pytest.mark.parametrize(("broker", "pool"), POOLS)
def test_in_every_pool_functions_run_beside_the_teams_tasks_and_term_ends_both(shop: Shop, pool: str) -> None:
    if pool == "gevent":
        pytest.importorskip("gevent")
    shop.worker("one", pool=pool, queues="shop.tasks")
    port = free_port()
    flask = [sys.executable, "-m", "flask", "--app", "shop.web", "run", "--port", str(port)]
    shop.start("web", *flask)
    order = f"http://127.0.0.1:{port}/orders"

    answer = until(lambda: _posted(order, {"url": "b.png"}), "an answer of the shop", shop.log, deadline=60)
    shop.run(SEND)

    assert 250 == answer["price"]
    assert [{"cents": 250}, "b.png at 0.5"] == shop.output(answer["ids"][0])
    assert ["rested"] * 3 == [shop.output(event) for event in [shop.send("nap") for _ in range(3)]]
    shop.noted("resize", times=2)
    assert shop.stop("one") < 10


def test_our_own_worker_holds_the_functions_where_it_is_told_their_module(shop: Shop) -> None:
    shop.write("shop/celery.py", FILES["shop/celery.py"].replace(', "shop.functions"', ""))
    shop.worker("theirs")
    keys = Keys()
    shop.start(
        "ours",
        *[sys.executable, "-m", "celery", "-A", "orchestrator", "worker", "-l", "info", "-n", "ours@%h"],
        ORCHESTRATOR_APPS="shop.functions",
        ORCHESTRATOR_BROKER_URL=shop.broker_url,
        ORCHESTRATOR_SIGNING_KEY=keys.signing,
        ORCHESTRATOR_EVENT_KEYS=keys.event,
    )
    until(lambda: "worker ready" in shop.said("ours"), "our worker", shop.log, deadline=60)

    assert [{"cents": 250}, "a.png at 0.5"] == shop.output(shop.send("resize", url="a.png"))
    assert "no functions here" in shop.said("theirs")
    assert {line.split()[1] for line in shop.journal("resize")} == {str(shop.processes["theirs"].pid)}


def test_without_the_line_it_is_the_project_it_was(shop: Shop) -> None:
    without = FILES["shop/celery.py"].replace(LINES, "").replace(', "shop.functions"', "")
    shop.write("shop/celery.py", without)
    shop.write("shop/functions.py", "raise AssertionError('nobody imports this')")
    shop.write(
        "shop/tasks.py",
        FILES["shop/tasks.py"] + "\n@app.task(name='shop.look')\ndef look():\n    import sys\n"
        "    note('seen:' + str(sorted(m for m in sys.modules if m.split('.')[0] == 'orchestrator')).replace(' ', ''))",
    )
    shop.start("one", *CELERY, "-P", "prefork", "-c", "2", "-n", "one@%h", "-Q", "shop.tasks", plain=True)

    shop.run("from shop import tasks; tasks.resize.delay('x'); tasks.look.delay()")

    shop.noted("resize")
    shop.noted("seen")
    assert "seen:[]" == shop.journal("seen")[0].split()[0]


def _posted(url: str, body: object) -> dict[str, object] | None:
    try:
        status, answer = request("POST", url, body)
    except OSError:
        return None
    return answer if status == 200 else None
