"""What the documents say is what the code has: settings, limits, log events and commands; and links lead somewhere."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from orchestrator.cli.main import COMMANDS, cli
from orchestrator.config import PREFIX, Config
from orchestrator.config.kinds import HOUR, MINUTE, SECOND, show
from orchestrator.core import durations, function, retry
from orchestrator.drivers import curl, follow
from orchestrator.engine import bulk, defer
from orchestrator.engine.parts import Settings
from orchestrator.expressions import parse
from orchestrator.protocol import ops, request, sync_limits
from orchestrator.protocol.events import EventLimits
from orchestrator.queue import announce, local, sweep
from orchestrator.store import keys

ROOT = Path(__file__).parents[2].resolve()
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")],
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`]+`", re.DOTALL)
COMMAND = re.compile(r"(?<![\w./-])(?<!-A )(?<!from )orchestrator ([a-z]+)\b(?: ([a-z]+)\b)?")
METHODS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}


def _rows(page: str) -> list[list[str]]:
    """The rows of a page's tables, without their heads."""
    lines = (ROOT / "docs" / page).read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    heads = {at - 1 for at, row in enumerate(rows) if set("".join(row)) <= {"-"} and "".join(row)}
    return [row for at, row in enumerate(rows) if at not in heads and at - 1 not in heads]


def _codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# Settings.


def _setting_rows() -> dict[str, tuple[list[str], str, str]]:
    """Each setting with its variables, its default, and what it may be."""
    rows = {}
    for item in fields(Config):
        if "setting" not in item.metadata:
            continue
        setting = item.metadata["setting"]
        ours = [PREFIX + name.lstrip("!") for name in (item.name.upper(), *setting.aliases)]
        theirs = ["INNGEST_" + name.lstrip("!") for name in setting.inngest]
        wish = setting.may_be.partition(", such as")[0].replace("<env>", "ENV")
        default = show(item.default, size="a size" in setting.may_be)
        rows[item.name] = ([*ours, *theirs, *setting.platform], default, wish)
    return rows


def test_every_setting_is_on_its_page_with_variables_default_and_kind_and_no_other_is() -> None:
    told = {_codes(row[0])[0]: (_codes(row[1]), row[2], row[3]) for row in _rows("configuration.md")}

    assert _setting_rows() == told


# Limits.


def _limits() -> dict[str, str]:
    """Some of the page's rows, as the constants would have them written."""
    config, events = Config(), EventLimits()
    return {
        "one event": show(config.max_event_bytes, size=True),
        "one request": show(config.max_request_bytes, size=True),
        "events in one request": _number(config.max_events_per_request),
        "name": f"{events.name} characters",
        "id": f"{events.id} characters",
        "nesting": f"{events.depth} levels",
        "a sender's id is remembered for": f"{keys.WINDOW // HOUR} h",
        "steps of one run": _number(config.max_steps),
        "steps reported by one answer": _number(ops.MAX_OPS),
        "output of a step, input of a step": f"{show(ops.MAX_STEP_VALUE, size=True)} each",
        "one answer of an app, so also the output of a function": "8 MiB",
        "data of an invoke, of a signal": show(ops.MAX_STEP_VALUE, size=True),
        "condition of a wait": f"{_number(parse.MAX_SOURCE)} characters, {parse.MAX_NESTING} levels",
        "id of a step as the SDK hashes it": f"{ops.MAX_STEP_ID} characters",
        "events and memo sent with a call": f"{round(request.MAX_INLINE_STATE / 2**20)} MiB",
        "one call": show(config.call_timeout),
        "a sleep, a wait": f"{durations.MAX_WAIT.days} days",
        "functions deferred by one run": str(defer.MOST_DEFERRED),
        "one request made for an app": show(config.fetch_timeout),
        "redirects of such a request": str(follow.MOST_REDIRECTS),
        "retries of a function": str(sync_limits.MAX_RETRIES),
        "`RetryAfterError`": f"from {retry.RETRY_AFTER_MIN.seconds} s to {retry.RETRY_AFTER_MAX // HOUR} h",
        "lost workers of one job": str(Settings().max_crashes),
        "name of an event waited for": f"{ops.MAX_AWAITED} characters",
        "name of a signal": f"{_number(ops.MAX_SIGNAL)} characters",
        "steps shown with a name of": f"{ops.MAX_NAME} characters",
        "functions of an app": _number(sync_limits.MAX_FUNCTIONS),
        "a cron line": f"{sync_limits.MAX_CRON} characters",
        "triggers of a function": str(sync_limits.MAX_TRIGGERS),
        "cancelling events of a function": str(sync_limits.MAX_CANCELS),
        "name, slug, event name in a trigger": f"{sync_limits.MAX_NAME} characters",
        "limits on concurrency of a function": str(sync_limits.MAX_CONCURRENCY),
        "URL": f"{_number(sync_limits.MAX_URL)} characters",
        "expression in a declaration": f"{_number(sync_limits.MAX_EXPRESSION)} characters, {parse.MAX_NESTING} levels",
        "calls at once in a worker": str(config.queue_workers),
        "timers held in memory by a worker": _number(local.MOST_TIMERS),
        "hints that wait for the broker in a process": _number(announce.MOST_WAITING),
        "hints announced by one sweep": str(sweep.MOST),
        "runs that one transaction of an order cancels or runs again": str(bulk.BATCH),
    }


def _number(value: int) -> str:
    return f"{value:,}".replace(",", " ")


def test_the_limits_on_their_page_are_those_of_the_code() -> None:
    told = {row[0]: row[1] for row in _rows("concepts/limits.md")}

    expected = _limits()

    assert expected == {what: told.get(what, "is not told") for what in expected}
    assert 8 * curl.MEBIBYTE == inspect.signature(curl.CurlClient).parameters["body_limit"].default


def test_the_settings_named_among_the_limits_exist() -> None:
    named = {name for row in _rows("concepts/limits.md") for name in _codes(row[-1])}

    assert set() == {name for name in named if name.islower()} - set(_setting_rows())


def test_the_waits_between_attempts_are_those_of_the_code() -> None:
    [waits] = [row[1:] for row in _rows("concepts/retries.md") if row[0] == "the next one comes in"]

    units = {"s": SECOND, "min": MINUTE, "h": HOUR}
    told = [int(wait.split()[0]) * units[wait.split()[1]] for wait in waits]

    assert list(retry.BACKOFF) == told
    assert f"has {function.DEFAULT_RETRIES} retries" in (ROOT / "docs/concepts/retries.md").read_text()


# Log events.


def _logged() -> dict[str, tuple[str, set[str]]]:
    """Each constant text that goes to a method of a logger, with its level and the keywords written beside it."""
    found: dict[str, tuple[str, set[str]]] = {}
    for room in ("orchestrator", "api", "workers"):
        for path in (ROOT / room).rglob("*.py"):
            for text, level, keywords in _records(ast.parse(path.read_text())):
                found[text] = (level, keywords | found.get(text, ("", set()))[1])
    return found


def _records(tree: ast.Module) -> Iterator[tuple[str, str, set[str]]]:
    for holder in ast.walk(tree):
        if not isinstance(holder, ast.FunctionDef):
            continue
        for call in _calls_of_loggers(holder):
            keywords = {word.arg for word in call.keywords if word.arg not in (None, "exc_info")}
            level = METHODS[call.func.attr]  # type: ignore[attr-defined]
            for text in _texts(tree, holder, call.args[0]):
                yield text, level, {str(word) for word in keywords}


def _calls_of_loggers(holder: ast.FunctionDef) -> Iterator[ast.Call]:
    for node in ast.walk(holder):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            logger = node.func.value
            if isinstance(logger, ast.Name) and logger.id in ("_log", "log", "logger") and node.args:
                yield node


def _texts(tree: ast.Module, holder: ast.FunctionDef, text: ast.expr) -> list[str]:
    """The text itself; or, for a parameter of the function, what the module's calls of it give."""
    if isinstance(text, ast.Constant):
        return [str(text.value)]
    assert isinstance(text, ast.Name), f"{ast.unparse(text)} is no constant text"
    names = [argument.arg for argument in holder.args.args if argument.arg != "self"]
    at = names.index(text.id)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    given = [call.args[at] for call in calls if ast.unparse(call.func).split(".")[-1] == holder.name]
    return [str(value.value) for value in given if isinstance(value, ast.Constant)]


def test_every_log_event_is_on_its_page_with_level_and_keywords_and_no_other_is() -> None:
    told = {_codes(row[0])[0]: (row[1], set(_codes(row[2]))) for row in _rows("log-events.md")}
    logged = _logged()

    assert {text: level for text, (level, _) in logged.items()} == {text: level for text, (level, _) in told.items()}
    assert {} == {text: words - told[text][1] for text, (_, words) in logged.items() if words - told[text][1]}


# Commands and links.


def _commands(page: Path) -> set[tuple[str, str]]:
    codes = CODE.findall(page.read_text())
    return {(name, below) for code in codes for name, below in COMMAND.findall(re.sub(r"\s+", " ", code))}


def _exists(name: str, below: str) -> bool:
    if name not in COMMANDS:
        return False
    command = cli.get_command(click.Context(cli), name)
    return not (below and isinstance(command, click.Group)) or below in command.commands


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_in_a_document_exists(page: Path) -> None:
    assert set() == {f"{name} {below}".strip() for name, below in _commands(page) if not _exists(name, below)}


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def _broken(page: Path) -> Iterator[str]:
    for link in LINK.findall(CODE.sub("", page.read_text())):
        address, _, anchor = link.partition("#")
        if "://" in address:
            continue
        target = (page.parent / unquote(address)).resolve() if address else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_in_a_document_leads_somewhere(page: Path) -> None:
    assert [] == list(_broken(page))


def test_the_table_of_decisions_lists_every_decision() -> None:
    folder = ROOT / "docs" / "decisions"
    table = (folder / "README.md").read_text()

    listed = dict(re.findall(r"\[(\d{4})\]\((\d{4}-[\w-]+\.md)\)", table))

    assert {path.name[:4]: path.name for path in folder.glob("[0-9]*.md")} == listed
