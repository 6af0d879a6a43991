"""Apps that live in the process: their modules, and making their functions known."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from orchestrator import __version__
from orchestrator.engine.declare import declare
from orchestrator.engine.parts import Parts
from orchestrator.errors import ConfigError
from orchestrator.sdk.function import Registry


def import_modules(modules: Sequence[str]) -> None:
    """Import the modules that hold apps, as seen from the working directory.

    Raises `ConfigError` for a module that is not there; what goes wrong inside of one is its author's, and goes on up.
    """
    here = str(Path.cwd())
    if modules and here not in sys.path:
        sys.path.insert(0, here)
    for module in modules:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
                raise
            raise ConfigError(f"apps: there is no module {module} as seen from {here}") from None


def declare_all(parts: Parts, apps: Mapping[str, Registry]) -> None:
    """Make the functions of all apps of this process known."""
    for registry in apps.values():
        declare(parts, registry, __version__)
