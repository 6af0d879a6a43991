"""Apps that live in the process: their modules, and making their functions known."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator import __version__, log
from orchestrator.engine.declare import declare
from orchestrator.engine.parts import Parts
from orchestrator.errors import BrokenModuleError, ConfigError
from orchestrator.sdk.function import Registry

_log = log.get(__name__)

#: Frames of Python's own import.
_MACHINERY = ("<frozen importlib", importlib.__file__ or "importlib")


def import_modules(modules: Sequence[str]) -> None:
    """Import the modules that hold apps, as seen from the working directory.

    Raises `ConfigError` for a module that is not there, or that raises, with its traceback.
    """
    here = str(Path.cwd())
    if modules and here not in sys.path:
        sys.path.insert(0, here)
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            if missing is not None and f"{module}.".startswith(f"{missing}."):
                raise ConfigError(f"apps: there is no module {module} as seen from {here}") from None
            raise BrokenModuleError(f"apps: the module {module} cannot be imported\n\n{_traceback(error)}") from error


def declare_all(parts: Parts, apps: Mapping[str, Registry]) -> None:
    """Make the functions of all apps of this process known.

    An app without functions is left as it is: the process does not import the modules that declare them.
    """
    for registry in apps.values():
        if registry.empty:
            _log.info("no functions here", app=registry.app, way_out="name their modules in ORCHESTRATOR_APPS")
        else:
            declare(parts, registry, __version__)


def _traceback(error: Exception) -> str:
    """The traceback of the module's own code."""
    told = traceback.TracebackException.from_exception(error)
    own = [frame for frame in told.stack if not frame.filename.startswith((*_MACHINERY, __file__))]
    told.stack = traceback.StackSummary.from_list(own)
    return "".join(told.format()).rstrip()
