"""The flags that start a server, under the names people know from Inngest's command line, as one decorator."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from orchestrator import config as settings
from orchestrator.config import Config

Flags = Mapping[str, object]
Command = TypeVar("Command", bound=Callable[..., Any])

#: Flags of Inngest's server that have no meaning here, and whether they take a value.
FOREIGN: Mapping[str, bool] = {
    "--tick": True,
    "--redis-uri": True,
    "--sqlite-dir": True,
    "--connect-gateway-port": True,
    "--connect-gateway-host": True,
    "--connect-gateway-grpc-port": True,
    "--connect-gateway-grpc-ip": True,
    "--connect-executor-grpc-port": True,
    "--connect-executor-grpc-ip": True,
    "--postgres-max-idle-conns": True,
    "--postgres-max-open-conns": True,
    "--postgres-conn-max-idle-time": True,
    "--postgres-conn-max-lifetime": True,
    "--debug-api-port": True,
}

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("-u", "--sdk-url", "sdk_urls", multiple=True, metavar="URL", help="URL of an app; may be repeated."),
    click.option("--app", "apps", multiple=True, metavar="MODULE", help="Module with functions to run in process."),
    click.option("--host", metavar="HOST", help="Address to listen on."),
    click.option("-p", "--port", metavar="PORT", help="Port to listen on; 0 picks a free one.  [default: 8288]"),
    click.option("--allowed-networks", metavar="CIDR,...", help="Networks inside where `start` may call apps."),
    click.option("--persist", is_flag=True, help="Keep the state in --state-dir when the server ends."),
    click.option("--state-dir", metavar="DIR", help="Where kept state lives.  [default: .orchestrator]"),
    click.option("--no-discovery", is_flag=True, help="Do not look for apps on the usual ports."),
    click.option("--no-poll", is_flag=True, help="Do not ask the apps again whether they changed."),
    click.option("--no-ui", "no_dashboard", is_flag=True, help="Serve no dashboard."),
    click.option("--poll-interval", metavar="TIME", help="Time between two such questions.  [default: 5s]"),
    click.option("--retry-interval", metavar="TIME", help="Time between attempts.  [default: growing intervals]"),
    click.option("--queue-workers", metavar="N", help="Calls that may be under way at once.  [default: 100]"),
    click.option("--json", "log_json", is_flag=True, help="Print records as lines of JSON."),
    click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [default: info]"),
    click.option("--config", metavar="FILE", help="Settings in a .toml or .json file."),
    click.option("--postgres-uri", "database_url", metavar="URL", hidden=True),
    # Hidden, for whoever lists the processes of the machine reads them, too; the environment is the place for keys.
    click.option("--event-key", "event_keys", multiple=True, metavar="KEY", hidden=True),
    click.option("--signing-key", metavar="KEY", hidden=True),
)


def server_options(command: Command) -> Command:
    """Give a command the server's flags; it gets those that were given as `flags`, keyed by setting, and `config`.

    Foreign flags are accepted and named in one line on standard error.
    """

    @functools.wraps(command)
    def wrapped(**options: Any) -> Any:
        ignored = [flag for flag in FOREIGN if options.pop(_foreign_name(flag))]
        if ignored:
            click.echo(f"ignored, for they have no meaning here: {', '.join(ignored)}", err=True)
        flags = {name: options.pop(name) for name in _FLAG_NAMES}
        return command(flags=_as_settings(flags), **options)

    for flag, takes_value in FOREIGN.items():
        click.option(flag, _foreign_name(flag), is_flag=not takes_value, hidden=True)(wrapped)
    for option in reversed(_OPTIONS):
        option(wrapped)
    return wrapped  # type: ignore[return-value]  # click passes by keyword whatever `command` names.


def read_config(flags: Flags, mode: str | None = None) -> Config:
    """The settings of a command from its `flags`, the environment and the file; a `mode` counts as a flag."""
    named = flags.get("config")
    file = Path(str(named)) if named else settings.find_file(os.environ, Path.cwd())
    given = {name: value for name, value in flags.items() if name != "config"}
    return settings.load(os.environ, {"mode": mode, **given}, file)


_FLAG_NAMES = (
    "sdk_urls",
    "apps",
    "host",
    "port",
    "allowed_networks",
    "persist",
    "state_dir",
    "no_discovery",
    "no_poll",
    "no_dashboard",
    "poll_interval",
    "retry_interval",
    "queue_workers",
    "log_json",
    "log_level",
    "config",
    "database_url",
    "event_keys",
    "signing_key",
)


def _foreign_name(flag: str) -> str:
    return "foreign_" + flag.lstrip("-").replace("-", "_")


def _as_settings(options: Mapping[str, Any]) -> dict[str, object]:
    """What was given, by name of setting; a switch that was not given says nothing, so that a variable can."""
    given = {name: value for name, value in options.items() if value not in (None, (), False)}
    return {name.removeprefix("no_"): not value if name.startswith("no_") else value for name, value in given.items()}
