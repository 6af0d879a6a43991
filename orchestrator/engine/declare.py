"""Declare the functions of this process: they become the server's, as an app's do that is synced."""

from __future__ import annotations

import hashlib
import json

from orchestrator.engine.parts import Parts
from orchestrator.engine.register import register
from orchestrator.protocol.function_config import read_function
from orchestrator.protocol.sync import Registration
from orchestrator.sdk.function import Registry


def declare(parts: Parts, registry: Registry, version: str) -> bool:
    """Make the app's functions those of the registry; returns whether anything is new.

    Raises `RequestError` for a function that cannot be, in a sentence that names it.
    """
    configs = [json.dumps(function.config(), sort_keys=True) for function in registry]
    functions = tuple(read_function(json.loads(config), "the function", ours=True) for config in configs)
    checksum = hashlib.sha256(json.dumps([version, configs]).encode()).hexdigest()
    registration = Registration(
        app_name=registry.app,
        url=registry.url,
        sdk_language="python",
        sdk_version=version,
        framework="in process",
        app_version=None,
        deploy_type="process",
        functions=functions,
        configs=tuple(configs),
        checksum=checksum,
    )
    return register(parts, registration).modified
