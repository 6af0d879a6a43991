"""The image and the compose file say what the Procfile and the settings say; and the image, built and run."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import fields
from typing import Any

import pytest

from orchestrator.config import PREFIX, Config
from tests.crash.process import ROOT
from tests.deploy.engine import BUILD_LIMIT, FOLDER, PYTHON, RUN_LIMIT, build, require_engine, run


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is needed: `make venv` installs what requirements-dev.txt pins")
    read: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return read


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with their arguments, lines joined."""
    text = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, re.sub(r"\s+", " ", rest).strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def final_stage() -> list[tuple[str, str]]:
    every = instructions()
    last = max(at for at, (word, _) in enumerate(every) if word == "FROM")
    return every[last:]


# The compose file.


@pytest.mark.parametrize("name", ["web", "worker"])
def test_compose_starts_what_the_procfile_starts(compose: dict[str, Any], name: str) -> None:
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())

    assert shlex.split(lines[name]) == compose["services"][name]["entrypoint"]


def test_the_release_of_compose_is_the_procfiles_and_everything_waits_for_it(compose: dict[str, Any]) -> None:
    assert ["db", "upgrade"] == compose["services"]["release"]["command"]
    for name in ("web", "worker"):
        assert "service_completed_successfully" == compose["services"][name]["depends_on"]["release"]["condition"]


def test_every_variable_that_compose_sets_is_one_that_is_read(compose: dict[str, Any]) -> None:
    known = {"WEB_CONCURRENCY"}
    for item in fields(Config):
        if "setting" in item.metadata:
            setting = item.metadata["setting"]
            known |= {PREFIX + item.name.upper(), *(PREFIX + name.lstrip("!") for name in setting.aliases)}
            known |= set(setting.platform)

    used = set().union(*(compose["services"][name]["environment"] for name in ("release", "web", "worker")))

    assert set() == used - known
    assert {"DATABASE_URL", "CLOUDAMQP_URL", "ORCHESTRATOR_SIGNING_KEY", "ORCHESTRATOR_EVENT_KEYS"} <= used


def test_compose_holds_no_key_and_gives_time_to_end(compose: dict[str, Any]) -> None:
    for name in ("release", "web", "worker"):
        service = compose["services"][name]
        assert service["environment"]["ORCHESTRATOR_SIGNING_KEY"].startswith("${ORCHESTRATOR_SIGNING_KEY:?")
        assert service["environment"]["ORCHESTRATOR_EVENT_KEYS"].startswith("${ORCHESTRATOR_EVENT_KEYS:?")
        assert int(service["stop_grace_period"].removesuffix("s")) > 10


# The Dockerfile.


def test_everything_in_the_image_is_pinned_by_hash_and_needs_no_compiler() -> None:
    installs = [
        part for word, rest in instructions() if word == "RUN" for part in rest.split("&&") if "install" in part
    ]

    for install in installs:
        assert "--no-index --no-deps" in install or "--only-binary :all: --require-hashes" in install
    assert 3 == len(installs)
    for name in ("requirements.txt", "docker/requirements-build.txt"):
        lines = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
        assert [] == [
            line
            for line in lines
            if line.strip() and not line.lstrip().startswith("#") and "--hash=sha256:" not in line
        ]


def test_the_final_stage_installs_nothing_and_is_nobody_special() -> None:
    stage = final_stage()

    assert not [rest for word, rest in stage if word == "RUN" and re.search(r"\b(pip|apt|apt-get|gcc|make)\b", rest)]
    [user] = [rest for word, rest in stage if word == "USER"]
    assert 0 < int(user.split(":")[0])
    assert ("ENTRYPOINT", '["orchestrator"]') in stage
    assert [rest for word, rest in stage if word == "COPY"] == ["--from=build /opt/orchestrator /opt/orchestrator"]


def test_what_the_image_is_made_of_is_sent_to_the_engine_and_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    wanted = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        name for word, rest in instructions() if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]
    }

    assert "*" in ignored
    assert copied == wanted
    assert all((ROOT / name).exists() for name in copied)


# The image.


@pytest.fixture(scope="module")
def engine() -> list[str]:
    """The command of an engine that can build and run here."""
    return require_engine(PYTHON)


@pytest.mark.services
@pytest.mark.timeout(BUILD_LIMIT + 4 * RUN_LIMIT)
def test_the_image_is_built_and_its_commands_run_as_nobody_special(engine: list[str]) -> None:
    tag = build(*engine)

    def begin(*words: str, entrypoint: str | None = None) -> subprocess.CompletedProcess[str]:
        chosen = ["--entrypoint", entrypoint] if entrypoint else []
        return run([*engine, "run", "--rm", "--network=host", *chosen, tag, *words])

    version = begin("version")
    assert 0 == version.returncode, version.stderr
    assert "orchestrator" in version.stdout
    looked = begin(
        "-c",
        "id -u; gunicorn --version; celery --version; touch here && echo writable; which gcc cc make",
        entrypoint="sh",
    )
    uid, gunicorn, celery, *rest = looked.stdout.splitlines()
    assert ("10001", "gunicorn", ["writable"]) == (uid, gunicorn.split()[0], rest)
    assert celery
    # Without keys it says what is missing.
    refused = begin()
    assert 3 == refused.returncode
    assert "orchestrator keys new" in refused.stderr
