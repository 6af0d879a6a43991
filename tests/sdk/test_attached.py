"""A team's project where no broker is needed: in the development server, and where it cannot begin."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import schema
from tests.cluster.shop import CELERY, Shop
from tests.crash.process import free_port
from tests.wire.harness import request, until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    url = f"sqlite:///{tmp_path}/state.db"
    schema.upgrade(url)
    made = Shop(tmp_path, url, "memory://")
    yield made
    made.close()


def test_the_development_server_runs_functions_and_tasks_by_itself(shop: Shop) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    flags = ["dev", "--app", "shop.functions", "--port", str(port), "--no-discovery", "--no-poll", "--json"]
    shop.start("dev", sys.executable, "-m", "orchestrator.cli.main", *flags)
    until(lambda: "app synced" in shop.said("dev"), "the server", shop.log, deadline=60)

    def output(name: str, data: object) -> object:
        sent = request("POST", f"{url}/e/key", {"name": name, "data": data})[1]["ids"][0]

        def look() -> object:
            runs = request("GET", f"{url}/v1/events/{sent}/runs")[1]["data"]
            return runs[0] if runs and runs[0]["status"] in ("Completed", "Failed") else None

        return until(look, "the end of the run", shop.log, deadline=60)["output"]

    assert [{"cents": 250}, "a.png at 0.5"] == output("resize", {"url": "a.png"})
    assert 2 == output("do", {"task": "flaky", "args": [2]})
    assert 3 == output("do", {"task": "hasty"})
    assert "LookupError" == output("do", {"task": "broken", "args": ["no"]})["name"]
    assert [f"{at} at 1.0" for at in range(5)] == output("album", {})
    assert shop.stop("dev") < 10


@pytest.mark.parametrize("pool", ["threads", "prefork"])
@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"DATABASE_URL": ""}, "orchestrator: database_url is not set: workers"),
        ({"DATABASE_URL": "sqlite:///empty.db"}, f"this version needs {schema.head()}: run `orchestrator db upgrade`"),
        ({"ORCHESTRATOR_APPS": "shop.nothing"}, "orchestrator: apps: there is no module shop.nothing as seen from"),
        ({"ORCHESTRATOR_APPS": "shop.web,shop.odd"}, "orchestrator: apps: the module shop.odd cannot be imported"),
    ],
)
def test_what_keeps_a_worker_from_beginning_is_said_in_a_sentence(
    shop: Shop, pool: str, env: dict[str, str], sentence: str
) -> None:
    shop.write("shop/odd.py", "raise LookupError('odd')\n")
    shop.start("one", *CELERY, "-P", pool, "-c", "2", **env)

    assert 1 == shop.processes["one"].wait(60)

    assert sentence in shop.said("one")
    assert ("LookupError: odd" in shop.said("one")) == ("odd" in sentence)
    assert ("Traceback" in shop.said("one")) == ("odd" in sentence)


def test_two_apps_of_one_name_are_told_of(shop: Shop) -> None:
    shop.write("shop/functions.py", "from orchestrator import Orchestrator\ndurable = Orchestrator('shop')\n")
    shop.start("one", *CELERY)

    assert 0 != shop.processes["one"].wait(60)
    assert 'the app "shop" is there already in this process; import it instead of making it twice' in shop.said("one")
