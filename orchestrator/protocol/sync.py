"""How an app makes itself known: what its SDK sends, and what it wants to hear."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from orchestrator.core.function import Function
from orchestrator.errors import RequestError
from orchestrator.protocol import headers as names
from orchestrator.protocol import sync_limits as limits
from orchestrator.protocol.fields import Field
from orchestrator.protocol.function_config import read_function, read_url

_OWNER = "the registration"
#: What an SDK has seen of its surroundings; it changes without anything having changed.
_OBSERVATIONS = "featureObservations"


@dataclass(frozen=True, slots=True)
class Registration:
    """An app with all of its functions.  `configs` are the functions' JSON texts as they came, in the same order."""

    app_name: str
    url: str
    sdk_language: str
    sdk_version: str
    framework: str
    app_version: str | None
    deploy_type: str
    functions: tuple[Function, ...]
    configs: tuple[str, ...]
    #: Equal for equal registrations, whatever the order of their keys.
    checksum: str


def parse_registration(body: bytes, headers: Mapping[str, str]) -> Registration:
    """Read what an SDK registers, out of band or in band; header names are lower case.  Raises `RequestError` only."""
    try:
        content, configs = _decoded(body)
        return _registration(content, configs, headers)
    except RecursionError:
        raise RequestError(f"{_OWNER} is nested too deeply") from None


def _registration(content: dict[str, object], configs: tuple[str, ...], headers: Mapping[str, str]) -> Registration:
    field = Field(_OWNER, "", content)
    items = list(field["functions"].items(limits.MAX_FUNCTIONS))
    functions = tuple(read_function(item.value, item.path) for item in items)
    _check_slugs(functions)
    language, version = _sdk(field, headers)
    app_version, framework = field["appVersion"], field["framework"]
    return Registration(
        app_name=_app_name(field),
        url=read_url(field["url"]),
        sdk_language=language,
        sdk_version=version,
        framework=framework.text(limits.MAX_NAME) if framework.present else headers.get(names.FRAMEWORK, ""),
        app_version=app_version.text(limits.MAX_NAME) if app_version.present else None,
        deploy_type=field["deployType"].text(limits.MAX_NAME) if field["deployType"].present else "ping",
        functions=functions,
        configs=configs,
        checksum=_checksum(content),
    )


def registration_answer(modified: bool, sync_id: str, app_id: str) -> bytes:
    """Write the answer to a registration that was taken."""
    return _encoded({"ok": True, "modified": modified, "sync_id": sync_id, "app_id": app_id, "status": 200})


def error_answer(error: RequestError) -> bytes:
    """Write a refusal; without the number in it the TypeScript SDK would report success."""
    return _encoded({"ok": False, "code": error.code, "error": error.message, "status": error.status, "data": None})


def ping_body(url: str) -> bytes:
    """Write the body of the PUT that asks an app to register itself."""
    return _encoded({"url": url})


def check_server_kind(headers: Mapping[str, str], kind: str) -> None:
    """Refuse a registration meant for a server of another kind (`dev`, `cloud`)."""
    expected = headers.get(names.EXPECTED_SERVER_KIND, "").strip()[: limits.MAX_NAME]
    if expected and expected != kind:
        raise RequestError(f"the app expects a server of the kind {expected}, and this one is {kind}")


def _decoded(body: bytes) -> tuple[dict[str, object], tuple[str, ...]]:
    try:
        text = body.decode()
        content = msgspec.json.decode(text)
        if not isinstance(content, dict):
            raise RequestError(f"{_OWNER} must be a JSON object")
        return content, _configs(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RequestError(f"{_OWNER} cannot be read: {error}") from None


def _configs(text: str) -> tuple[str, ...]:
    functions = Field(_OWNER, "", msgspec.json.decode(text, type=dict[str, msgspec.Raw]))["functions"].value
    if not isinstance(functions, msgspec.Raw) or not bytes(functions).startswith(b"["):
        return ()
    return tuple(bytes(raw).decode() for raw in msgspec.json.decode(functions, type=list[msgspec.Raw]))


def _app_name(field: Field) -> str:
    in_band = field["app_id"]
    return (in_band if in_band.present else field["appName"]).text(limits.MAX_NAME)


def _sdk(field: Field, headers: Mapping[str, str]) -> tuple[str, str]:
    language, version = field["sdk_language"], field["sdk_version"]
    if language.present and version.present:
        return language.text(limits.MAX_NAME), version.text(limits.MAX_NAME)
    sdk = field["sdk"]
    name = sdk.text(limits.MAX_NAME) if sdk.present else headers.get(names.SDK, "")[: limits.MAX_NAME]
    before, _, after = name.removeprefix("inngest-").partition(":")
    return before, after.removeprefix("v")


def _check_slugs(functions: tuple[Function, ...]) -> None:
    seen = set[str]()
    for function in functions:
        if function.slug in seen:
            raise RequestError(f'function "{function.slug}" is there twice')
        seen.add(function.slug)


def _checksum(content: dict[str, object]) -> str:
    lasting = {key: value for key, value in content.items() if key != _OBSERVATIONS}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _encoded(value: Mapping[str, object]) -> bytes:
    return json.dumps(value).encode()
