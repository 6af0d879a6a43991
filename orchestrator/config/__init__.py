"""Every setting of the server: one frozen dataclass, read once at start, each value knowing where it came from.

A setting is looked for under its flag, `ORCHESTRATOR_<NAME>`, the `INNGEST_*` variable that means the same, the name
that hosting platforms use, and the file, in this order: the first that is there wins.  An empty variable is absent.
Whatever the place, a value passes the same parser, so `"30s"` in a file means what it means in a variable.  In `dev`
the names of platforms mean nothing: a developer's DATABASE_URL is that of the application under development.
"""

# `_setting` makes a dataclass field, and what it holds is immutable.
# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.config.kinds import (
    APPS,
    BROKER,
    DATABASE,
    DAY,
    DIRECTORY,
    HOST,
    HOUR,
    KEYS,
    KIB,
    LEVELS,
    MIB,
    MINUTE,
    MODULES,
    NETWORKS,
    OBJECT,
    PORT,
    SECOND,
    SIGNING,
    TRUTH,
    Kind,
    choice,
    show,
    size,
    span,
    whole,
)
from orchestrator.errors import ConfigError
from orchestrator.masking import mask_urls

PREFIX = "ORCHESTRATOR_"
FILE_NAMES = ("orchestrator.toml", "inngest.json")


@dataclass(frozen=True, slots=True)
class _Setting:
    """How one setting is read: `parse` raises `ValueError` for what it does not take, `may_be` says what it does.

    Names in `inngest` and `platform` that start with `!` carry the opposite truth (`NO_POLL` for `poll`).
    """

    parse: Callable[[Any], Any]
    may_be: str
    aliases: tuple[str, ...] = ()
    inngest: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    secret: bool = False


def _setting(default: object, kind: Kind[Any], **names: Any) -> Any:
    parse, may_be = kind
    setting = _Setting(parse, may_be, **names)
    hidden = setting.secret or may_be.startswith("a URL")
    return field(default=default, metadata={"setting": setting}, repr=not hidden)


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one process."""

    #: `dev` trusts everybody and keeps nothing; `start` is production.
    mode: str = _setting("start", choice("dev", "start"))
    host: str = _setting("127.0.0.1", HOST, inngest=("HOST",))
    port: int = _setting(8288, PORT, inngest=("PORT",), platform=("PORT",))

    #: None: a SQLite file of our own.
    database_url: str | None = _setting(None, DATABASE, inngest=("POSTGRES_URI",), platform=("DATABASE_URL",))
    #: None: hints stay in the process, or the sweeper finds the work.
    broker_url: str | None = _setting(None, BROKER, platform=("CLOUDAMQP_URL", "REDIS_URL"))
    #: Told to Kombu's transport beside our own options, such as the region and queues of SQS.
    broker_options: Mapping[str, Any] | None = _setting(None, OBJECT, secret=True)
    #: RabbitMQ's kinds of queues.
    broker_queue_type: str = _setting("classic", choice("classic", "quorum"))
    persist: bool = _setting(False, TRUTH, inngest=("PERSIST",))
    state_dir: Path = _setting(Path(".orchestrator"), DIRECTORY)

    event_keys: tuple[str, ...] = _setting((), KEYS, aliases=("EVENT_KEY",), inngest=("EVENT_KEY",), secret=True)
    signing_key: str | None = _setting(None, SIGNING, inngest=("SIGNING_KEY",), secret=True)
    #: The former key, while it is exchanged: taken from whoever has it still, and used where the new one is refused.
    signing_key_fallback: str | None = _setting(None, SIGNING, inngest=("SIGNING_KEY_FALLBACK",), secret=True)
    #: Networks inside that apps may be called in (`start` only; `dev` calls everywhere).
    allowed_networks: tuple[str, ...] = _setting((), NETWORKS)

    sdk_urls: tuple[str, ...] = _setting((), APPS, aliases=("SDK_URL",), inngest=("SDK_URL",))
    #: Modules that hold functions to be run in the process.
    apps: tuple[str, ...] = _setting((), MODULES)
    #: Look for apps on the usual ports and paths of this machine (`dev` only).
    discovery: bool = _setting(True, TRUTH, aliases=("!NO_DISCOVERY",), inngest=("!NO_DISCOVERY",))
    #: Ask the known apps again and again whether they changed.
    poll: bool = _setting(True, TRUTH, aliases=("!NO_POLL",), inngest=("!NO_POLL",))
    poll_interval: timedelta = _setting(5 * SECOND, span(SECOND, DAY, zero=5 * SECOND), inngest=("POLL_INTERVAL",))
    #: Zero: the growing intervals of the SDK protocol.
    retry_interval: timedelta = _setting(0 * SECOND, span(0 * SECOND, DAY), inngest=("RETRY_INTERVAL",))
    queue_workers: int = _setting(100, whole(1, 10_000), inngest=("QUEUE_WORKERS",))

    #: Serve pages for people, too.
    dashboard: bool = _setting(True, TRUTH, inngest=("!NO_UI",))
    #: How long somebody who signed in stays so without doing anything; a week at most.
    session_span: timedelta = _setting(12 * HOUR, span(MINUTE, 7 * DAY))

    log_json: bool = _setting(False, TRUTH, aliases=("JSON",), inngest=("JSON",))
    log_level: str = _setting("info", LEVELS, inngest=("LOG_LEVEL",))

    max_event_bytes: int = _setting(512 * KIB, size(KIB, 16 * MIB))
    max_request_bytes: int = _setting(16 * MIB, size(KIB, 256 * MIB))
    max_events_per_request: int = _setting(5_000, whole(1, 100_000))
    #: All memoised outcomes of one run together.
    max_state_bytes: int = _setting(32 * MIB, size(KIB, 1024 * MIB))
    max_steps: int = _setting(10_000, whole(1, 1_000_000))

    #: The longest one request to an app may last.
    call_timeout: timedelta = _setting(2 * HOUR, span(SECOND, DAY))
    #: The longest one request for an app (`step.fetch`, `step.ai.infer`) may last, with its redirects.
    fetch_timeout: timedelta = _setting(10 * MINUTE, span(SECOND, DAY))
    #: A durable endpoint may go on without a word for this long before the server takes its run over.
    endpoint_silence: timedelta = _setting(5 * MINUTE, span(SECOND, DAY))
    lease: timedelta = _setting(30 * SECOND, span(SECOND, HOUR))
    #: How many calls, and for how long, a worker goes on with one run before it announces the rest.
    continue_calls: int = _setting(50, whole(0, 10_000))
    continue_span: timedelta = _setting(5 * SECOND, span(0 * SECOND, HOUR))
    #: What becomes of cron ticks that came while nothing ran: see `core.cron.CatchUp`.
    cron_catch_up: str = _setting("once", choice("once", "skip", "all"))
    cron_catch_up_window: timedelta = _setting(1 * HOUR, span(MINUTE, 7 * DAY))
    #: How long what is over is kept; zero: for ever.  An event stays as long as a run of it.
    retention_runs: timedelta = _setting(30 * DAY, span(0 * SECOND, 3650 * DAY))
    retention_events: timedelta = _setting(30 * DAY, span(0 * SECOND, 3650 * DAY))
    #: Dead jobs that no run goes with.
    retention_dead_jobs: timedelta = _setting(30 * DAY, span(0 * SECOND, 3650 * DAY))
    retention_audit: timedelta = _setting(365 * DAY, span(0 * SECOND, 3650 * DAY))
    #: What calls in flight are given to end after TERM.
    grace: timedelta = _setting(8 * SECOND, span(0 * SECOND, HOUR))

    #: Where each value came from, by name; a name that is absent has its default.
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


_SETTINGS: dict[str, _Setting] = {f.name: f.metadata["setting"] for f in fields(Config) if "setting" in f.metadata}


def load(env: Mapping[str, str], flags: Mapping[str, object], file: Path | None = None) -> Config:
    """Read the settings; raise `ConfigError` that names the setting, its source and what it may be.

    `flags` is keyed by the names of `Config`; a flag that is None or an empty tuple was not given.
    """
    if unknown := sorted(set(flags) - set(_SETTINGS)):
        raise ConfigError(f"there is no setting named {unknown[0]}")
    in_file = _read_file(file) if file is not None else {}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, setting in _SETTINGS.items():  # `mode` comes first
        heard = _without_platform(env) if values.get("mode") == "dev" else env
        found = _find(name, setting, heard, flags, in_file, file)
        if found is not None:
            values[name], sources[name] = _parsed(name, setting, *found), found[1]
    if values.get("mode", "start") == "start":
        values.setdefault("host", "0.0.0.0")
    config = Config(**values, sources=sources)
    _fit_together(config)
    return config


def find_file(env: Mapping[str, str], start: Path) -> Path | None:
    """The file named by ORCHESTRATOR_CONFIG or INNGEST_CONFIG, else the nearest one from `start` upward, else None."""
    named = env.get(f"{PREFIX}CONFIG") or env.get("INNGEST_CONFIG")
    if named:
        return Path(named)
    candidates = (folder / name for folder in (start, *start.parents) for name in FILE_NAMES)
    return next((file for file in candidates if file.is_file()), None)


def require_secrets(config: Config) -> None:
    """Raise `ConfigError` that says how to make the keys when anything but `dev` would serve without them."""
    if config.mode == "dev":
        return
    missing = [name for name in ("signing_key", "event_keys") if not getattr(config, name)]
    if missing:
        variables = " and ".join(PREFIX + name.upper() for name in missing)
        raise ConfigError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set, and only `orchestrator dev` runs "
            f"without: `orchestrator keys new` makes a pair; set {variables} here, and give the apps the same"
        )


def describe(config: Config) -> list[tuple[str, str, str]]:
    """Each setting as (name, value with secrets masked, source), in the order of `Config`."""
    return [
        (name, _shown(setting, getattr(config, name)), config.sources.get(name, "default"))
        for name, setting in _SETTINGS.items()
    ]


def _find(
    name: str,
    setting: _Setting,
    env: Mapping[str, str],
    flags: Mapping[str, object],
    in_file: Mapping[str, tuple[Any, bool]],
    file: Path | None,
) -> tuple[Any, str, bool] | None:
    """The first (value, source, whether it says the opposite) by precedence."""
    flag = flags.get(name)
    if flag is not None and flag != ():
        return flag, "flag", False
    ours = (name.upper(), *setting.aliases)
    for prefix, names in ((PREFIX, ours), ("INNGEST_", setting.inngest), ("", setting.platform)):
        for known in names:
            variable = prefix + known.lstrip("!")
            if _is_given(variable, env.get(variable, "")):
                return env[variable], variable, known.startswith("!")
    if name in in_file:
        value, opposite = in_file[name]
        return value, f"file {file}", opposite
    return None


def _without_platform(env: Mapping[str, str]) -> Mapping[str, str]:
    foreign = {name for setting in _SETTINGS.values() for name in setting.platform}
    return {name: text for name, text in env.items() if name not in foreign}


def _is_given(variable: str, text: str) -> bool:
    # Kubernetes gives every pod next to a service called "orchestrator" ORCHESTRATOR_PORT=tcp://10.0.0.1:80.
    return bool(text.strip()) and not (variable == f"{PREFIX}PORT" and text.startswith("tcp://"))


def _parsed(name: str, setting: _Setting, value: Any, source: str, opposite: bool) -> Any:
    try:
        parsed = setting.parse(value)
    except (TypeError, LookupError, ValueError, OverflowError):
        got = "what was given" if setting.secret or "@" in str(value) else repr(value)
        raise ConfigError(f"{name} (from {source}) must be {setting.may_be}; {got} is not") from None
    return not parsed if opposite else parsed


def _fit_together(config: Config) -> None:
    def refuse(name: str, other: str, rule: str, size: bool = False) -> None:
        at, limit = show(getattr(config, name), size=size), show(getattr(config, other), size=size)
        source = config.sources.get(name, "default")
        raise ConfigError(f"{name} (from {source}) is {at} but must be {rule} {other}, which is {limit}")

    if config.max_event_bytes > config.max_request_bytes:
        refuse("max_event_bytes", "max_request_bytes", "at most", size=True)


def _read_file(file: Path) -> dict[str, tuple[Any, bool]]:
    """The values of a file as name -> (value, opposite)."""
    known = {"urls": ("sdk_urls", False)}
    for name, setting in _SETTINGS.items():
        for spelling in (name.upper(), *setting.aliases, *setting.inngest):
            known[spelling.lstrip("!").lower()] = (name, spelling.startswith("!"))
    found: dict[str, tuple[Any, bool]] = {}
    for key, value in _parse_file(file).items():
        spelling = key.replace("-", "_").lower()
        if spelling in known:
            name, opposite = known[spelling]
            found[name] = (value, opposite)
        elif file.name != "inngest.json":  # That one was written for another program and holds its settings too.
            raise ConfigError(f"file {file} sets {key}, which is no setting{_did_you_mean(spelling)}")
    return found


def _parse_file(file: Path) -> dict[str, Any]:
    import json
    import tomllib

    parsers: dict[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": json.loads}
    if file.suffix not in parsers:
        raise ConfigError(f"file {file} must be a .toml or .json file")
    try:
        content = parsers[file.suffix](file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"file {file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"file {file} is not valid {file.suffix[1:].upper()}: {error}") from None
    if isinstance(content, dict):
        return content
    raise ConfigError(f"file {file} must hold one object of settings")


def _did_you_mean(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, _SETTINGS, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _shown(setting: _Setting, value: Any) -> str:
    if setting.secret and value:
        return f"{len(value)} set (hidden)" if isinstance(value, tuple) else "set (hidden)"
    return mask_urls(show(value, size="a size" in setting.may_be))
