"""Where a setting comes from, what it may be, and that no secret of it is ever shown."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator import config
from orchestrator.config import Config, load
from orchestrator.errors import ConfigError


def written(folder: Path, content: str, name: str = "orchestrator.toml") -> Path:
    """A settings file with this content."""
    file = folder / name
    file.write_text(content)
    return file


def test_without_any_source_every_setting_has_its_default():
    assert Config(host="0.0.0.0") == load({}, {})


PORT_SOURCES = [
    ("flag", {"flag": 1, "ours": "2", "inngest": "3", "platform": "4", "file": 5}, 1),
    ("ORCHESTRATOR_PORT", {"ours": "2", "inngest": "3", "platform": "4", "file": 5}, 2),
    ("INNGEST_PORT", {"inngest": "3", "platform": "4", "file": 5}, 3),
    ("PORT", {"platform": "4", "file": 5}, 4),
    ("file", {"file": 5}, 5),
    ("default", {}, 8288),
]


@pytest.mark.parametrize(("source", "given", "port"), PORT_SOURCES, ids=[row[0] for row in PORT_SOURCES])
def test_the_first_source_that_is_there_wins(source: str, given: dict[str, object], port: int, tmp_path: Path):
    names = {"ours": "ORCHESTRATOR_PORT", "inngest": "INNGEST_PORT", "platform": "PORT"}
    env = {name: str(given[key]) for key, name in names.items() if key in given}
    flags = {"port": given.get("flag")}
    file = written(tmp_path, f"port = {given['file']}") if "file" in given else None

    loaded = load(env, flags, file)

    assert port == loaded.port
    assert loaded.sources.get("port", "default").startswith(source)


ENV_ROWS = [
    ("INNGEST_HOST", "::1", "host", "::1"),
    ("INNGEST_POSTGRES_URI", "postgres://h/x", "database_url", "postgresql+psycopg://h/x"),
    ("DATABASE_URL", "postgresql://u:p@h/x?a=b", "database_url", "postgresql+psycopg://u:p@h/x?a=b"),
    ("DATABASE_URL", "postgresql+psycopg2://h/x", "database_url", "postgresql+psycopg2://h/x"),
    ("DATABASE_URL", "mysql://h/x", "database_url", "mysql+pymysql://h/x"),
    ("DATABASE_URL", "sqlite:///x.db", "database_url", "sqlite:///x.db"),
    ("REDIS_URL", "redis://h:6379/0", "broker_url", "redis://h:6379/0"),
    ("CLOUDAMQP_URL", "amqp://u:p@h/v", "broker_url", "amqp://u:p@h/v"),
    ("INNGEST_PERSIST", "1", "persist", True),
    ("ORCHESTRATOR_STATE_DIR", "/var/lib/x", "state_dir", Path("/var/lib/x")),
    ("ORCHESTRATOR_EVENT_KEYS", "a, b,a,", "event_keys", ("a", "b")),
    ("ORCHESTRATOR_EVENT_KEY", "a", "event_keys", ("a",)),
    ("INNGEST_EVENT_KEY", "a,b", "event_keys", ("a", "b")),
    ("INNGEST_SIGNING_KEY", "signkey-test-00ff", "signing_key", "signkey-test-00ff"),
    ("INNGEST_SIGNING_KEY_FALLBACK", "00ff", "signing_key_fallback", "00ff"),
    ("ORCHESTRATOR_ALLOWED_NETWORKS", "10.1.2.3/8, ::1", "allowed_networks", ("10.0.0.0/8", "::1/128")),
    ("INNGEST_SDK_URL", "http://a:1,https://b/x", "sdk_urls", ("http://a:1", "https://b/x")),
    ("INNGEST_NO_DISCOVERY", "true", "discovery", False),
    ("INNGEST_NO_POLL", "0", "poll", True),
    ("ORCHESTRATOR_POLL", "off", "poll", False),
    ("INNGEST_POLL_INTERVAL", "7", "poll_interval", timedelta(seconds=7)),
    ("INNGEST_POLL_INTERVAL", "0", "poll_interval", timedelta(seconds=5)),
    ("INNGEST_RETRY_INTERVAL", "1", "retry_interval", timedelta(seconds=1)),
    ("ORCHESTRATOR_RETRY_INTERVAL", "250ms", "retry_interval", timedelta(milliseconds=250)),
    ("INNGEST_QUEUE_WORKERS", "7", "queue_workers", 7),
    ("INNGEST_JSON", "true", "log_json", True),
    ("INNGEST_LOG_LEVEL", "WARN", "log_level", "warning"),
    ("ORCHESTRATOR_MAX_EVENT_BYTES", "3MiB", "max_event_bytes", 3 * 1024 * 1024),
    ("ORCHESTRATOR_MAX_REQUEST_BYTES", "1 MB", "max_request_bytes", 1024 * 1024),
    ("ORCHESTRATOR_CALL_TIMEOUT", "1.5h", "call_timeout", timedelta(minutes=90)),
    ("ORCHESTRATOR_GRACE", "0", "grace", timedelta(0)),
]


@pytest.mark.parametrize(("variable", "text", "name", "value"), ENV_ROWS)
def test_a_variable_means(variable: str, text: str, name: str, value: object):
    loaded = load({variable: text}, {})

    assert value == getattr(loaded, name)
    assert variable == loaded.sources[name]


def test_dev_leaves_what_platforms_name_to_the_application_under_development():
    platform = {"DATABASE_URL": "postgres://h/shop", "REDIS_URL": "redis://h", "CLOUDAMQP_URL": "amqp://h", "PORT": "1"}

    loaded = load(platform, {"mode": "dev"})

    assert (None, None, 8288) == (loaded.database_url, loaded.broker_url, loaded.port)
    assert {"mode": "flag"} == loaded.sources


def test_dev_takes_our_own_names_and_those_of_inngest():
    env = {"ORCHESTRATOR_MODE": "dev", "INNGEST_PORT": "3", "ORCHESTRATOR_DATABASE_URL": "sqlite:///x.db"}

    loaded = load(env, {})

    assert ("dev", 3, "sqlite:///x.db") == (loaded.mode, loaded.port, loaded.database_url)


def test_an_amqp_add_on_is_the_broker_before_a_redis_that_may_be_a_cache():
    loaded = load({"REDIS_URL": "redis://r", "CLOUDAMQP_URL": "amqp://a"}, {})

    assert "amqp://a" == loaded.broker_url


def test_an_empty_variable_and_a_flag_that_was_not_given_count_as_absent():
    loaded = load({"ORCHESTRATOR_PORT": " ", "INNGEST_PORT": "3"}, {"port": None, "sdk_urls": ()})

    assert (3, ()) == (loaded.port, loaded.sdk_urls)


def test_the_port_variable_that_kubernetes_makes_for_a_service_is_not_ours():
    loaded = load({"ORCHESTRATOR_PORT": "tcp://10.0.0.1:8288"}, {})

    assert 8288 == loaded.port


@pytest.mark.parametrize(("mode", "host"), [("dev", "127.0.0.1"), ("start", "0.0.0.0")])
def test_dev_listens_to_this_machine_only(mode: str, host: str):
    assert host == load({}, {"mode": mode}).host


def test_a_file_may_use_our_names_or_the_long_flags(tmp_path: Path):
    toml = written(tmp_path, 'port = 1\nmax-steps = 7\nlease = "1m"\nevent_keys = ["a", "b"]\nno-poll = true')
    json = written(tmp_path, '{"urls": ["http://a"], "no-discovery": true, "tick": 9}', "inngest.json")

    from_toml, from_json = load({}, {}, toml), load({}, {}, json)

    assert (1, 7, timedelta(minutes=1), ("a", "b"), False) == (
        from_toml.port,
        from_toml.max_steps,
        from_toml.lease,
        from_toml.event_keys,
        from_toml.poll,
    )
    assert (("http://a",), False) == (from_json.sdk_urls, from_json.discovery)


REFUSED = [
    ("mode", "prod", "one of dev, start"),
    ("host", "a/b", "a host name or address"),
    ("port", "65536", "a port from 0 to 65535"),
    ("port", True, "a port from 0 to 65535"),
    ("database_url", "oracle://h", "a URL such as postgresql://"),
    ("database_url", "shop", "a URL such as postgresql://"),
    ("broker_url", "localhost", "a URL such as amqp://"),
    ("broker_options", "region=eu", "a JSON object"),
    ("broker_options", ["region"], "a JSON object"),
    ("broker_queue_type", "stream", "one of classic, quorum"),
    ("persist", "maybe", "true or false"),
    ("state_dir", " ", "a directory"),
    ("event_keys", "a b", "keys of letters"),
    ("event_keys", {"a": 1}, "keys of letters"),
    ("signing_key", "abc", "hexadecimal digits"),
    ("signing_key_fallback", "signkey-prod-xy", "hexadecimal digits"),
    ("allowed_networks", "10.0.0.0/8,inside", "networks or addresses such as 10.0.0.0/8"),
    ("sdk_urls", "localhost:3000", "URLs that start with http://"),
    ("apps", "shop/functions.py", "modules such as shop.functions"),
    ("discovery", 2, "true or false"),
    ("poll", "", "true or false"),
    ("poll_interval", "-1", "a time from 1s to 1d"),
    ("poll_interval", "10ms", "a time from 1s to 1d"),
    ("retry_interval", "soon", "a time from 0s to 1d"),
    ("queue_workers", 0, "a whole number from 1 to 10000"),
    ("dashboard", "x", "true or false"),
    ("session_span", "8d", "a time from 1m to 7d"),
    ("log_json", "x", "true or false"),
    ("log_level", "loud", "one of debug, info, warning, error"),
    ("max_event_bytes", "17MiB", "a size from 1 KiB to 16 MiB"),
    ("max_event_bytes", "1.5MiB", "a size from 1 KiB to 16 MiB"),
    ("max_request_bytes", "1", "a size from 1 KiB to 256 MiB"),
    ("max_events_per_request", 1.5, "a whole number from 1 to 100000"),
    ("max_state_bytes", "2000MiB", "a size from 1 KiB to 1024 MiB"),
    ("max_steps", "many", "a whole number from 1 to 1000000"),
    ("call_timeout", "2 weeks", "a time from 1s to 1d"),
    ("fetch_timeout", "0s", "a time from 1s to 1d"),
    ("endpoint_silence", "0s", "a time from 1s to 1d"),
    ("lease", "0", "a time from 1s to 1h"),
    ("continue_calls", -1, "a whole number from 0 to 10000"),
    ("continue_span", "2h", "a time from 0s to 1h"),
    ("cron_catch_up", "twice", "one of once, skip, all"),
    ("cron_catch_up_window", "8d", "a time from 1m to 7d"),
    *((f"retention_{kind}", "3651d", "a time from 0s to 3650d") for kind in ("runs", "events", "dead_jobs", "audit")),
    ("grace", "9" * 400, "a time from 0s to 1h"),
]


@pytest.mark.parametrize(("name", "value", "may_be"), REFUSED)
def test_a_value_that_cannot_be_is_refused_with_name_source_and_what_it_may_be(name: str, value: object, may_be: str):
    with pytest.raises(ConfigError) as refusal:
        load({}, {name: value})

    assert refusal.value.message.startswith(f"{name} (from flag) must be {may_be}")


def test_every_setting_has_a_value_it_refuses():
    assert {name for name, _, _ in config.describe(Config())} == {row[0] for row in REFUSED}


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        (
            {"MAX_REQUEST_BYTES": "64KiB"},
            "max_event_bytes (from default) is 512 KiB but must be at most max_request_bytes, which is 64 KiB",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(env: dict[str, str], sentence: str):
    with pytest.raises(ConfigError) as refusal:
        load({f"ORCHESTRATOR_{name}": text for name, text in env.items()}, {})

    assert refusal.value.message.startswith(sentence)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("orchestrator.toml", "prot = 1", "sets prot, which is no setting; did you mean port?"),
        ("orchestrator.toml", "port = ", "is not valid TOML"),
        ("orchestrator.json", "{", "is not valid JSON"),
        ("orchestrator.json", "[]", "must hold one object of settings"),
        ("inngest.yaml", "port: 1", "must be a .toml or .json file"),
        ("orchestrator.toml", "port = 1.5", "must be a port"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(name: str, content: str, sentence: str, tmp_path: Path):
    file = written(tmp_path, content, name)

    with pytest.raises(ConfigError) as refusal:
        load({}, {}, file)

    assert str(file) in refusal.value.message
    assert sentence in refusal.value.message


def test_a_file_that_was_named_must_be_there(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load({}, {}, tmp_path / "orchestrator.toml")


def test_the_nearest_file_upward_is_found_unless_one_is_named(tmp_path: Path):
    file = written(tmp_path, "")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)

    assert file == config.find_file({}, below)
    assert Path("x.toml") == config.find_file({"ORCHESTRATOR_CONFIG": "x.toml"}, below)


def test_start_needs_its_keys_and_dev_does_not():
    config.require_secrets(load({}, {"mode": "dev"}))
    config.require_secrets(load({}, {"signing_key": "00", "event_keys": "a"}))
    with pytest.raises(ConfigError, match="`orchestrator keys new` makes a pair; set ORCHESTRATOR_SIGNING_KEY here"):
        config.require_secrets(load({}, {"event_keys": "a"}))
    with pytest.raises(ConfigError, match="ORCHESTRATOR_EVENT_KEYS"):
        config.require_secrets(load({}, {"signing_key": "00"}))
    with pytest.raises(ConfigError, match="signing_key and event_keys are not set"):
        config.require_secrets(load({}, {}))


SECRETS = {
    "ORCHESTRATOR_DATABASE_URL": "postgres://shop:hunter2@h/x?sslpassword=hunter3",
    "ORCHESTRATOR_BROKER_URL": "amqp://shop:hunter4@sl/ash@h",
    "ORCHESTRATOR_EVENT_KEYS": "hunter5,hunter6",
    "ORCHESTRATOR_BROKER_OPTIONS": '{"predefined_queues": {"q": {"secret_access_key": "hunter7"}}}',
    "ORCHESTRATOR_SIGNING_KEY": "signkey-prod-decade",
    "ORCHESTRATOR_SIGNING_KEY_FALLBACK": "facade",
}


def test_no_secret_is_shown_or_printed():
    loaded = load(SECRETS, {})

    shown = {name: value for name, value, _ in config.describe(loaded)}

    everything = repr(shown) + repr(loaded)
    assert [] == [word for word in ("hunter", "decade", "facade", "ash@h") if word in everything]
    assert "postgresql+psycopg://shop:***@h/x?sslpassword=***" == shown["database_url"]
    assert "2 set (hidden)" == shown["event_keys"]
    assert "set (hidden)" == shown["signing_key"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("signing_key", "hunter2"),
        ("broker_options", "hunter2"),
        ("event_keys", "hunter 2"),
        ("database_url", "u:hunter2@h/x"),
    ],
)
def test_a_refusal_does_not_repeat_a_secret(name: str, value: str):
    with pytest.raises(ConfigError) as refusal:
        load({}, {name: value})

    assert "hunter" not in refusal.value.message


def test_what_is_shown_can_be_written_back():
    loaded = load({}, {"mode": "dev", "lease": "45s", "max_event_bytes": "600KiB", "grace": "1500ms"})
    env = {f"ORCHESTRATOR_{name.upper()}": value for name, value, _ in config.describe(loaded) if value != "not set"}

    assert loaded == load(env, {})


def test_an_unknown_flag_is_a_bug_that_is_named():
    with pytest.raises(ConfigError, match="no setting named prot"):
        load({}, {"prot": 1})


def test_it_imports_no_heavy_package():
    code = "import orchestrator.config, sys; print(*sys.modules)"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert set() == set(printed.split()) & {"pydantic", "yaml", "sqlalchemy", "logging", "tomllib"}
